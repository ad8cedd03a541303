"""Two ways of writing a type: the catalogue's, and PostgreSQL's own."""

import pytest

from sidecar.domains.data.catalogue.types import is_type


@pytest.mark.parametrize(
    ("said", "now"),
    [
        (None, "text"),
        ("text", "text"),
        ("TEXT", "text"),
        ("int4", "integer"),
        ("varchar(20)", "character varying(20)"),
        ("varchar", "character varying(20)"),
        ("numeric(8, 2)", "numeric(8,2)"),
        ("timestamptz(3)", "timestamp(3) with time zone"),
        ("timestamp", "timestamp without time zone"),
        ("text[]", "text[]"),
        ("int[][]", "integer[]"),
        ("mood", "public.mood"),
        ("public.mood", "public.mood"),
        ("double  precision", "double precision"),
    ],
)
def test_a_type_is_known_however_it_is_written(said, now):
    assert is_type(said, now)


@pytest.mark.parametrize(
    ("said", "now"),
    [
        ("text", "integer"),
        ("integer", "bigint"),
        ("varchar(20)", "character varying(21)"),
        ("varchar(20)", "character varying"),
        ("timestamp", "timestamp with time zone"),
        ("text", "text[]"),
        ("hr.mood", "public.mood"),
        ("text", "public.citext"),
        ("date", "public.dated"),
    ],
)
def test_another_type_is_another(said, now):
    assert not is_type(said, now)
