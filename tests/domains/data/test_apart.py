"""Which texts of several statements are taken one after another."""

import pytest

from sidecar.domains.data.limits import APART_MAX
from sidecar.domains.data.parse.other.apart import apart
from tests.tables import Row, rows


@pytest.mark.parametrize("row", rows("data/apart.yaml"))
def test_a_text_is_cut(row: Row) -> None:
    found = apart(row.given["text"], is_open=row.given.get("open", False))

    assert list(found) == row.want


def test_a_text_of_very_many_statements_is_none_of_them() -> None:
    within = "BEGIN" + "; SAVEPOINT a" * (APART_MAX - 1)

    assert len(apart(within, is_open=False)) == APART_MAX
    assert apart(f"{within}; SAVEPOINT a", is_open=False) == ()


def test_the_statement_that_touches_data_may_be_long_and_the_others_may_not() -> None:
    long = "x" * 4096
    insert = f"INSERT INTO t VALUES ('{long}')"

    assert apart(f"BEGIN; {insert}; COMMIT", is_open=False) == ("BEGIN", insert, "COMMIT")
    assert apart(f"BEGIN; SET LOCAL jit = '{long}'; SELECT 1", is_open=False) == ()
