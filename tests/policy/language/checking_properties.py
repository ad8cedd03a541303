"""Laws of the checker: it says something of every expression, and the same when asked again."""

from hypothesis import given

from sidecar.policy.language.checking.checker import check
from sidecar.policy.language.checking.names import Environment
from sidecar.policy.language.functions.standard import arithmetic, containers, relations
from sidecar.policy.language.reading.parser import parse
from sidecar.policy.language.types import DYN, Record
from tests.trees import EXPRESSIONS, shown

ENVIRONMENT = Environment(
    {"a": DYN, "b.c": DYN, "d": Record("d", {})},
    (*arithmetic.DECLARED, *containers.DECLARED, *relations.DECLARED),
    "b",
)


@given(EXPRESSIONS)
def test_every_mistake_lies_in_the_text(source):
    for problem in check(parse(source), ENVIRONMENT).problems:
        assert 0 <= problem.start < problem.end <= len(source)
        assert problem.text


@given(EXPRESSIONS)
def test_what_is_resolved_stays_resolved(source):
    once = check(parse(source), ENVIRONMENT)

    twice = check(once.tree, ENVIRONMENT)

    assert (shown(once.tree), str(once.type)) == (shown(twice.tree), str(twice.type))


@given(EXPRESSIONS)
def test_checking_keeps_every_place(source):
    parsed = parse(source)

    resolved = check(parsed, ENVIRONMENT).tree

    assert (parsed.start, parsed.end) == (resolved.start, resolved.end)
