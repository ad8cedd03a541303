"""Which parts of a condition are clauses, and which mistakes can be put into them."""

import pytest

from sidecar.policy.explained import tree_of
from sidecar.review.coverage.clauses import clauses
from sidecar.review.mutation.edits import edits
from tests.tables import rows


@pytest.mark.parametrize("row", rows("review/clauses.yaml"))
def test_a_condition_has_clauses(row):
    found = clauses(tree_of(row.given, ()))

    assert row.want == [row.given[clause.start : clause.end] for clause in found]


@pytest.mark.parametrize("row", rows("review/edits.yaml"))
def test_mistakes_are_put_into_a_condition(row):
    found = list(edits(row.given, tree_of(row.given, ()), decides=True))

    assert row.want == [{edit.what: edit.text} for edit in found]


@pytest.mark.parametrize("row", rows("review/edits.yaml"))
def test_every_mistake_is_a_condition_again(row):
    for edit in edits(row.given, tree_of(row.given, ()), decides=True):
        assert tree_of(edit.text, ()) is not None


def test_a_variable_that_is_no_condition_has_no_clause_of_its_own():
    source = "context.a ? 'x' : 'y'"

    found = clauses(tree_of(source, ()), decides=False)

    assert [source[clause.start : clause.end] for clause in found] == ["context.a"]
