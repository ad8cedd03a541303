"""What lint is certain of: laws of clauses and of globs, against the engine and the matcher."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.policy.cel import Compiler, EvaluationError
from sidecar.policy.explained import tree_of
from sidecar.review.clauses import (
    Written,
    conflicts,
    covers,
    formula,
    may_hold,
    meet,
    overlap,
    ways,
)
from sidecar.review.clauses.witness import witness
from sidecar.review.diff.people import put
from sidecar.syntax.glob import glob

# With thousands of examples each, at `--scale=full`.
pytestmark = pytest.mark.timeout(120)

PATTERNS = st.text("ab.*", max_size=6)
NAMES = st.text("ab.", max_size=5)
TEXTS = ("a", "b", "ab", "")
NUMBERS = (0, 1, 2, 3)
NAME = "subject.id"
LEVEL, TEAMS = "subject.properties.level", "subject.properties.teams"
MAYBE = "subject.properties.?level.orValue({})"


@given(PATTERNS, PATTERNS, NAMES)
@example("a*", "*b", "ab")
def test_a_text_of_both_patterns_is_found_where_there_is_one(one, other, text):
    found = meet(one, other)

    if found is not None:
        assert glob(one, found)
        assert glob(other, found)
    if glob(one, text) and glob(other, text):
        assert found is not None
        assert overlap(one, other)


@given(PATTERNS, PATTERNS, NAMES)
@example("a*", "ab*", "abb")
def test_what_covers_a_pattern_takes_all_of_its_texts(general, special, text):
    if covers(general, special) and glob(special, text):
        assert glob(general, text)


def atoms():
    text, number = st.sampled_from(TEXTS).map(repr), st.sampled_from(NUMBERS).map(str)
    order = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    level = st.one_of(st.just(LEVEL), number.map(MAYBE.format))
    return st.one_of(
        st.builds("{} == {}".format, st.just(NAME), text),
        st.builds("{} != {}".format, st.just(NAME), text),
        st.builds(
            "{}.{}({})".format, st.just(NAME), st.sampled_from(["startsWith", "endsWith"]), text
        ),
        st.builds("{} in [{}, {}]".format, st.just(NAME), text, text),
        st.builds("{} {} {}".format, level, order, number),
        st.builds("{1} in {0}".format, st.just(TEAMS), text),
        st.just(f"has({LEVEL})"),
        st.just(f"has({TEAMS})"),
        st.builds("size({}) {} {}".format, st.just(TEAMS), order, number),
    )


def conditions():
    def joined(inner):
        return st.one_of(
            st.builds("({}) && ({})".format, inner, inner),
            st.builds("({}) || ({})".format, inner, inner),
            st.builds("!({})".format, inner),
            st.builds("({}) ? ({}) : ({})".format, inner, inner, inner),
        )

    return st.recursive(atoms(), joined, max_leaves=5)


SUBJECTS = st.fixed_dictionaries(
    {
        "id": st.sampled_from(TEXTS),
        "properties": st.fixed_dictionaries(
            {},
            optional={
                "level": st.sampled_from(NUMBERS),
                "teams": st.lists(st.sampled_from(TEXTS), max_size=3),
            },
        ),
    }
)
COMPILER = Compiler()
NOTHING = Written({}, {})


def comes_to(text, subject):
    """Return what a condition comes to, None where it errs."""
    try:
        return COMPILER.compile(text).native({"subject": subject}, {})
    except EvaluationError:
        return None


@given(conditions(), SUBJECTS)
@example(f"{MAYBE.format(3)} > 2 && !({MAYBE.format(0)} > 2)", {"id": "a", "properties": {}})
def test_what_can_never_hold_never_does(text, subject):
    tree = tree_of(text, ())

    for positive in (True, False):
        if not may_hold(formula(tree, NOTHING, positive=positive)):
            assert comes_to(text, subject) is not positive


@given(conditions())
def test_a_witness_makes_a_condition_hold(text):
    for way in ways(formula(tree_of(text, ()), NOTHING)) or ():
        found = None if conflicts(way) else witness(way)
        if found is None:
            continue
        subject: dict[str, Any] = {"id": "other", "properties": {"level": 1, "teams": []}}
        for path in found.absent:
            subject["properties"].pop(path.rpartition(".")[2], None)
        data = {"subject": subject}
        for path, value in found.values.items():
            put(data, path, value)

        assert comes_to(text, subject) is True
