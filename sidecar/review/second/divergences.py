"""Where cel-python is known to differ from the specification, each once with the clause.

A difference is looked for in the smallest part that shows it, so a row names a function and the
types of what it was given. Each row has an example, which a test evaluates with both: a row that
outlives its reason would excuse what is new.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from sidecar.policy.language.tree import Call, Fold
from sidecar.policy.language.values import type_of
from sidecar.review.second.branches import Branch

_LANGUAGE: Final = "https://github.com/google/cel-spec/blob/master/doc/langdef.md"
_EQUALITY: Final = frozenset({"_==_", "_!=_", "@in"})
_ORDER: Final = frozenset({"_<_", "_<=_", "_>_", "_>=_"})
_LOGIC: Final = frozenset({"_&&_", "_||_", "!_", "_?_:_"})
_NUMBERS: Final = frozenset({"int", "uint", "double"})

Given = tuple[str, ...]


class Divergence(msgspec.Struct, frozen=True):
    """One known difference.

    Attributes:
        id: A short name.
        clause: Where the specification says what is right.
        says: What it says, and what cel-python does.
        example: An expression without variables on which the two differ so.
        functions: The functions, or macros, in which it is met.
        given: Whether it is met with arguments of these types.
    """

    id: str
    clause: str
    says: str
    example: str
    functions: frozenset[str]
    given: Callable[[Given], bool]


def _any(_types: Given) -> bool:
    return True


def _flat(types: Given) -> frozenset[str]:
    return frozenset(one for each in types for one in each.split())


def _bool_and_number(types: Given) -> bool:
    found = _flat(types)
    return "bool" in found and bool(found & _NUMBERS)


def _differ(types: Given) -> bool:
    """Return whether values of more than one type meet, or lists and maps whose parts may."""
    return len(_flat(types)) > 1


DIVERGENCES: Final = (
    Divergence(
        "bool-is-a-number",
        f"{_LANGUAGE}#equality",
        "a bool equals no number; in cel-python true equals 1",
        "dyn(true) == 1",
        _EQUALITY,
        _bool_and_number,
    ),
    Divergence(
        "unlike-types-are-unequal",
        f"{_LANGUAGE}#equality",
        "values of different types are unequal and numbers compare across theirs; "
        "cel-python has no such overload",
        "dyn('a') == 1",
        _EQUALITY,
        _differ,
    ),
    Divergence(
        "numbers-are-ordered-across-types",
        f"{_LANGUAGE}#ordering",
        "int, uint and double are ordered among each other; cel-python has no such overload",
        "dyn(1) < 1.5",
        _ORDER,
        lambda types: _flat(types) <= _NUMBERS and _differ(types),
    ),
    Divergence(
        "bools-have-no-order-among-numbers",
        f"{_LANGUAGE}#ordering",
        "a bool is ordered among bools alone; in cel-python true is one and false zero",
        "dyn(true) > 0",
        _ORDER,
        _bool_and_number,
    ),
    Divergence(
        "in-is-of-lists-and-maps",
        f"{_LANGUAGE}#list-of-standard-definitions",
        "`in` looks into lists and maps; cel-python finds a part of a text as well",
        "'b' in dyn('abc')",
        frozenset({"@in"}),
        lambda types: types[1:] == ("string",),
    ),
    Divergence(
        "nanoseconds",
        f"{_LANGUAGE}#timestamps",
        "timestamps and durations have nanoseconds; those of cel-python end at microseconds",
        "timestamp('2026-01-01T00:00:00Z') < timestamp('2026-01-01T00:00:00.000000001Z')",
        _EQUALITY | _ORDER,
        lambda types: bool(
            _flat(types) & {"google.protobuf.Timestamp", "google.protobuf.Duration"}
        ),
    ),
    Divergence(
        "logic-is-of-bools",
        f"{_LANGUAGE}#logical-operators",
        "`&&`, `||` and `!` are of bools alone; cel-python gives back whatever it was given",
        "dyn('a') && true",
        _LOGIC,
        lambda types: _flat(types) != {"bool"},
    ),
    Divergence(
        "bools-are-written-small",
        f"{_LANGUAGE}#list-of-standard-definitions",
        "string(true) is `true`; cel-python writes `True`",
        "string(true) == 'true'",
        frozenset({"string"}),
        lambda types: types == ("bool",),
    ),
    Divergence(
        "seconds-are-an-instant",
        f"{_LANGUAGE}#list-of-standard-definitions",
        "timestamp(int) counts seconds since 1970; cel-python has no such overload",
        "timestamp(0) == timestamp('1970-01-01T00:00:00Z')",
        frozenset({"timestamp"}),
        lambda types: types == ("int",),
    ),
    Divergence(
        "map-with-a-filter",
        f"{_LANGUAGE}#macros",
        "map has a form with a filter; cel-python does not have it",
        "[1, 2].map(x, x > 1, x * 2) == [4]",
        frozenset({"map"}),
        _any,
    ),
)


def known(branch: Branch) -> Divergence | None:
    """Return the row that a smallest differing part is an instance of."""
    tree = branch.part.tree
    if not isinstance(tree, Call | Fold):
        return None
    name = tree.kind if isinstance(tree, Fold) else tree.function
    types = tuple(_types(part.value) for part in branch.part.parts if part.state == "value")
    rows = (row for row in DIVERGENCES if name in row.functions and row.given(types))
    return next(rows, None)


def _types(value: object, depth: int = 3) -> str:
    """Return the type of a value, and of a list or map those of all that it holds."""
    if type(value) not in {list, dict} or depth == 0:
        return type_of(value).name
    held = value if type(value) is list else list(value.values())  # type: ignore[attr-defined]  # a dict
    inner = {one for each in held[:1_000] for one in _types(each, depth - 1).split()}
    return " ".join(sorted(inner)) or type_of(value).name
