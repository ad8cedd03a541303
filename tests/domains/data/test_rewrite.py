"""What is sent in the place of a statement with obligations; the rows are in tests/cases/data."""

import time

import msgspec
import pytest

from sidecar.domains.data import DOMAIN
from sidecar.domains.data.enforce.rewriting.fragment import literal
from sidecar.terms.decision import Obligation
from sidecar.terms.domain import Needs
from sidecar.terms.errors import EnforceError
from tests.domains.data.test_sql import call_of, catalogue_of, decision_of, request_of
from tests.tables import rows


def payload_of(text, obligations, spec, **payload):
    """Return the payload that is forwarded, and the one that came."""
    call, catalogue = call_of(text, **payload), catalogue_of(spec)
    request = request_of(call, DOMAIN.parse(call, catalogue, Needs()))
    decision = decision_of(outcome="modify", obligations=tuple(obligations))
    return DOMAIN.rewrite(call, request, decision, catalogue), call.payload


def obligations_of(names, table):
    return [msgspec.convert(table["due"][name], Obligation) for name in names]


def rewritten(text, names, table):
    try:
        return payload_of(text, obligations_of(names, table), table["catalog"])[0]["text"]
    except EnforceError as error:
        return f"refused: {error}" if error.reason == "obligation.unsupported" else error.reason


@pytest.mark.parametrize("row", rows("data/rewrite.yaml"))
def test_rewritten(row):
    assert rewritten(row.given["text"], row.given["due"], row.table) == row.want


TABLE = rows("data/rewrite.yaml")[0].values[0].table
ON = "column:public.people.ssn"
FOUND = {"type": "filter_rows", "target": "table:other.people", "values": {"where": ["id > 1"]}}


def test_what_nothing_is_due_on_goes_on_as_it_came():
    forwarded, came = payload_of("SELECT id FROM people", [], TABLE["catalog"])

    assert forwarded is came


def test_what_need_not_be_changed_goes_on_as_it_came():
    due = obligations_of(["closed", "limit"], TABLE)

    forwarded, came = payload_of("SELECT ssn FROM people LIMIT 5", due, TABLE["catalog"])

    assert forwarded is came


def test_all_but_the_text_of_the_payload_stays():
    due = obligations_of(["limit"], TABLE)

    forwarded, came = payload_of(
        "SELECT id FROM people WHERE id = $1", due, TABLE["catalog"], params=[7]
    )

    assert forwarded == {**came, "text": "SELECT id FROM people WHERE id = $1 LIMIT 100"}


def test_tables_are_found_where_the_call_says():
    due = obligations_of(["elsewhere_people"], {"due": {"elsewhere_people": FOUND}})

    forwarded, _ = payload_of(
        "SELECT what FROM people", due, TABLE["catalog"], search_path=["other"]
    )

    assert '"other"."people"' in forwarded["text"]


def test_a_statement_is_rewritten_anew_for_other_values():
    first, other = (
        Obligation(
            "filter_rows",
            "table:public.people",
            {"where": [{"text": "dept = ${0}", "values": [value]}]},
        )
        for value in ("sales", "finance")
    )

    texts = [
        payload_of("SELECT id FROM people", [due], TABLE["catalog"])[0]["text"]
        for due in (first, other, first)
    ]

    assert ["'finance'" in text for text in texts] == [False, True, False]
    assert texts[0] == texts[2]


def test_what_runs_by_name_was_rewritten_when_it_was_named():
    session = {"prepared": {"p": "SELECT id FROM people"}}

    forwarded, came = payload_of(
        "EXECUTE p(1)", obligations_of(["filter"], TABLE), TABLE["catalog"], session=session
    )

    assert forwarded is came


def test_what_runs_by_name_calls_no_function_that_reads():
    session = {"prepared": {"p": "SELECT id FROM people"}}

    with pytest.raises(EnforceError):
        payload_of(
            "EXECUTE p(of_people())",
            obligations_of(["filter"], TABLE),
            TABLE["catalog"],
            session=session,
        )


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, float("nan"), float("inf"), None, [], {}])
def test_a_value_that_has_no_sql_is_refused(value):
    with pytest.raises(EnforceError):
        literal(value)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (2**63 - 1, "9223372036854775807"),
        (-1, "(-1)"),
        (False, "false"),
        (0.1, "CAST('0.1' AS double precision)"),
        ("", "''"),
        ("'", "''''"),
        ("\\", "E'\\\\'"),
        ("\\'; --", "E'\\\\''; --'"),
    ],
)
def test_a_value_is_written_so_that_it_can_be_read_in_one_way(value, written):
    assert literal(value) == written


@pytest.mark.parametrize(
    ("obligation", "told"),
    [
        ({"with": "expression", "expression": "left(ssn", "on": ON}, "`expression` cannot be read"),
        ({"with": "expression", "expression": "nothing", "on": ON}, "`expression` cannot be read"),
        ({"with": "expression", "expression": "1; 2", "on": ON}, "is one condition"),
        ({"with": "expression", "expression": "left(ssn, 2)", "on": ON}, ""),
        ({"with": "expression", "expression": "left(anything, 2)"}, ""),
    ],
)
def test_a_masks_expression_is_read_when_the_bundle_is_loaded(obligation, told):
    problems = DOMAIN.check({"type": "mask", **obligation}, catalogue_of(TABLE["catalog"]))

    assert [told in problem for problem in problems] == ([True] if told else [])


def test_many_columns_with_their_schema_take_no_time_by_their_square():
    columns = ", ".join(["public.people.id"] * 800)
    started = time.process_time()

    sent = rewritten(f"SELECT {columns} FROM public.people", ["filter"], TABLE)

    assert sent.count("people.id") == 800
    # By the square it were a quarter of a minute.
    assert time.process_time() - started < 4
