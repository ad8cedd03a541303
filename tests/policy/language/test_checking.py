"""An expression is checked against what is declared, and every mistake says where it is."""

import pytest

from sidecar.policy.language.checking.checker import check
from sidecar.policy.language.checking.names import Environment
from sidecar.policy.language.checking.reads import paths
from sidecar.policy.language.functions.signature import function, member
from sidecar.policy.language.functions.standard import (
    arithmetic,
    containers,
    conversions,
    relations,
)
from sidecar.policy.language.reading.lexer import place
from sidecar.policy.language.reading.parser import parse
from sidecar.policy.language.types import (
    BOOL,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Bindings,
    Record,
    Signature,
    fits,
    join,
    list_of,
    read_types,
    signature,
)
from tests.tables import rows
from tests.trees import shown


def _nothing(*args):
    return args


FUNCTIONS = (
    *(*arithmetic.DECLARED, *containers.DECLARED, *conversions.DECLARED, *relations.DECLARED),
    function("math.abs", _nothing, "int -> int", "double -> double"),
    function("optional.of", _nothing, "A -> optional(A)"),
    function("lists.@sortByAssociatedKeys", _nothing, "list(A), list(B) -> list(A)"),
    member("startsWith", _nothing, "string, string -> bool"),
    member("orValue", _nothing, "optional(A), A -> A"),
)
USER = Record(
    "user", {"role": STRING, "age": INT, "active": BOOL, "groups": list_of(STRING)}, is_open=False
)
ENVIRONMENT = Environment(
    {
        "user": USER,
        "claims": Record("claims", {"level": INT}, is_open=True),
        "context": Record("context", {"time": TIMESTAMP}),
        "request": DYN,
        "variables.finance": BOOL,
    },
    FUNCTIONS,
)


@pytest.mark.parametrize("row", rows("policy/language/names.yaml"))
def test_a_name_means(row):
    given = row.given if isinstance(row.given, dict) else {"expr": row.given}
    variables = dict.fromkeys(row.table["variables"], DYN)
    environment = Environment(variables, FUNCTIONS, given.get("container", ""))

    checked = check(parse(given["expr"]), environment)

    assert row.want == shown(checked.tree)


@pytest.mark.parametrize("row", rows("policy/language/types.yaml"))
def test_the_type_of(row):
    checked = check(parse(row.given), ENVIRONMENT)

    assert row.want == str(checked.type)


@pytest.mark.parametrize("row", rows("policy/language/type_errors.yaml"))
def test_a_mistake(row):
    said = []

    for problem in check(parse(row.given), ENVIRONMENT).problems:
        line, column = place(row.given, problem.start)
        said.append(f"{line}:{column} «{row.given[problem.start : problem.end]}» {problem.text}")

    assert row.want == said


@pytest.mark.parametrize("row", rows("policy/language/reads.yaml"))
def test_what_is_read_by(row):
    environment = Environment(dict.fromkeys(row.table["variables"], DYN), FUNCTIONS)

    checked = check(parse(row.given), environment)

    assert frozenset(row.want) == paths(checked.tree)


def test_what_has_a_type_has_no_problem():
    wrong = {
        row.values[0].given: problems
        for row in rows("policy/language/types.yaml")
        if "error" not in str(row.values[0].source)
        and (problems := check(parse(row.values[0].given), ENVIRONMENT).problems)
    }

    assert wrong == {}


def test_a_signature_is_read_as_it_is_written():
    read = signature("list(A), map(string, optional(A)) -> A")

    assert str(read) == "(list(A), map(string, optional(A))) -> A"
    assert signature("-> bool") == Signature((), BOOL)


@pytest.mark.parametrize("text", ["integer", "list", "list(int, int)", "map(int", "int int", "?"])
def test_a_misspelt_signature_is_our_mistake(text):
    with pytest.raises((AssertionError, IndexError)):
        read_types(text)


def test_a_letter_is_one_type_wherever_it_stands():
    letter, listed = read_types("A, list(A)")
    bound: Bindings = {}

    assert fits(STRING, letter, bound)
    assert fits(list_of(STRING), listed, bound)
    assert not fits(list_of(INT), listed, bound)


def test_what_is_not_known_of_the_whole_is_not_known_of_its_parts():
    letter, listed = read_types("A, list(A)")
    bound: Bindings = {}

    assert fits(DYN, listed, bound)
    assert fits(INT, letter, bound)
    assert bound == {"A": DYN}


def test_what_may_be_either_keeps_what_both_are():
    assert join(list_of(INT), list_of(INT)) == list_of(INT)
    assert join(list_of(INT), list_of(STRING)) == list_of(DYN)
    assert join(INT, STRING) == DYN
