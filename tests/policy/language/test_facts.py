"""A fact function is a look-up: never called by the engine, and absorbed by nothing when absent."""

import pytest

from sidecar.policy.language import MissingFacts, compile_expression, environment
from sidecar.policy.language.facts import FACT_FUNCTIONS
from sidecar.policy.language.faults import Fault
from sidecar.policy.language.types import BOOL, DYN, STRING
from sidecar.terms.decision import Fact, FactKey

KNOWN = environment({"a": DYN, "yes": BOOL})
NAMES = [each.name for each in FACT_FUNCTIONS]


def compiled(source):
    return compile_expression(source, KNOWN)


def asked(function):
    """A call of a fact function, and the key that it asks for."""
    texts = tuple(f"t{number}" for number in range(function.arity))
    written = ", ".join(f"'{text}'" for text in texts)
    return f"{function.name}({written})", FactKey(function.name, texts)


@pytest.mark.parametrize("function", FACT_FUNCTIONS, ids=NAMES)
def test_its_implementation_refuses_to_be_called(function):
    with pytest.raises(Fault):
        function.call(*["x"] * function.arity)


@pytest.mark.parametrize("function", FACT_FUNCTIONS, ids=NAMES)
def test_its_arguments_are_strings(function):
    assert [each for each in function.signatures[0].parameters if each != STRING] == []


@pytest.mark.parametrize(
    "shape",
    [
        "{} == 1",
        "{} == 1 || true",
        "!({} == 1 && false)",
        "({} == 1 ? yes : yes)",
        "[1, 2].exists(x, x == 2 || {} == x)",
        "[1].all(x, {} == x) || yes",
        "has({}.x) || yes",
        "[{}].size() == 1 || yes",
        "cel.bind(f, {}, yes || f == 1 || true) && {} == 1",
    ],
)
@pytest.mark.parametrize("function", FACT_FUNCTIONS, ids=NAMES)
def test_one_that_is_not_in_hand_is_asked_for_and_not_absorbed(function, shape):
    call, key = asked(function)

    with pytest.raises(MissingFacts) as missing:
        compiled(shape.replace("{}", call)).value({"a": 1, "yes": False}, {})

    assert missing.value.keys == {key}


@pytest.mark.parametrize("function", FACT_FUNCTIONS, ids=NAMES)
def test_one_that_is_in_hand_has_its_value(function):
    call, key = asked(function)

    found = compiled(f"{call}.level + 1").value({}, {key: Fact({"level": 2}, "file", "1")})

    assert found == 3
