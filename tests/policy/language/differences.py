"""Where Google's cel-cpp differs from us, and the clause by which it does."""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.policy.language.oracle import ERROR


def _same_without_order(exact: Any, theirs: Any) -> bool:
    lists = exact[0] == theirs[0] == "list"
    return lists and sorted(map(repr, exact[1])) == sorted(map(repr, theirs[1]))


def _parts(exact: Any) -> Iterator[Any]:
    """Yield a value and all that it holds."""
    rest = [exact] if isinstance(exact, tuple) else []
    while rest:
        part = rest.pop()
        yield part
        if part[0] == "list":
            rest += part[1]
        elif part[0] == "map":
            rest += [value for _, value in part[1]]


def _holds_optional(exact: Any) -> bool:
    return any(kind == "optional_type" for kind, _ in _parts(exact))


def _merges_keys(exact: Any) -> bool:
    return any(kind == "map" and len(dict(held)) < len(held) for kind, held in _parts(exact))


def _reads_optionals(source: str) -> bool:
    return re.search(r"opt|\.\?|\[\?|\.(first|last)\(|\.extract\(", source) is not None


# A macro whose range is no list in brackets, and which keeps the order of its range.
_OVER_WHAT_MAY_BE_A_MAP = re.compile(
    r"(\bd(\.\w+)*|\}|\)|x\[\d\]|\b[uv]\d)\.(map|filter|transformList)\("
)


class Difference(NamedTuple):
    """The clause that we follow, an expression that shows it, and which others it explains."""

    clause: str
    witness: str
    explains: Callable[[str, Any, Any], bool]


# The clauses are of the specification (langdef.md) unless they say otherwise.
EXPLAINED: list[Difference] = [
    Difference(
        "Standard definitions, `int`: there is no conversion of a bool",
        "int(true) == 1",
        lambda source, exact, _theirs: "int(" in source and exact == "no_such_overload",
    ),
    Difference(
        "Macros: the order in which the entries of a map are visited is not defined",
        "[d.map(k, k).join()]",
        lambda source, exact, theirs: (
            _same_without_order(exact, theirs)
            or (
                isinstance(exact, tuple)
                and theirs != ERROR
                and _OVER_WHAT_MAY_BE_A_MAP.search(source) is not None
            )
        ),
    ),
    Difference(
        "The binding does not come with what two-variable `transformMap` is made of",
        "{'a': 1}.transformMap(k, v, v)",
        lambda source, _exact, theirs: "transformMap" in source and theirs == ERROR,
    ),
    Difference(
        "Bindings: beside a macro of which one name was not read cel-cpp's gives another name",
        "['a', 'b'].exists(v, true) ? cel.bind(c, 2, c + c) : 1",
        lambda source, _exact, _theirs: (
            re.search(r"\.(all|exists|transformList)\(.*(cel\.bind|opt(Flat)?Map)", source)
            is not None
        ),
    ),
    Difference(
        "Strings: `%s` writes a double with all of its digits, as `string()` does",
        "'%s'.format([9007199254740992.0])",
        lambda source, exact, theirs: (
            "%s" in source and repr(exact)[:9] == repr(theirs)[:9] and "e+" in repr(exact)
        ),
    ),
    Difference(
        "RFC 3339: a year has four digits, in `format` too",
        "'%s'.format([timestamp('0001-01-01T00:00:00Z')])",
        lambda source, exact, _theirs: "%s" in source and "0001-01-01T" in repr(exact),
    ),
    Difference(
        "Conversions: bytes that are no UTF-8 have no text, in `format` neither",
        r"'%s'.format([b'\xff']) == ''",
        lambda source, exact, _theirs: "%s" in source and exact == "bad_conversion",
    ),
    Difference(
        "Sets: beyond 2^53 numbers are told apart exactly",
        "[9007199254740992.0, 9007199254740993].distinct()",
        lambda source, _exact, _theirs: re.search(r"distinct\(|sets\.", source) is not None,
    ),
    Difference(
        "The binding hands out no optional",
        "optional.of(1)",
        lambda _source, exact, _theirs: _holds_optional(exact),
    ),
    Difference(
        "Optionals: an index of one behind a dot is an optional, none where there is no element",
        "type(optional.of(1)[0])",
        lambda source, exact, theirs: (
            _reads_optionals(source)
            and (exact == "no_such_overload" or theirs == ERROR)
            and re.search(r"[\w)\]]\[", source) is not None
        ),
    ),
    Difference(
        "Lists: an element is found by a double that is a whole number, optionally too",
        "[1][?0.0].hasValue()",
        lambda source, _exact, theirs: "[?" in source and theirs == ERROR,
    ),
    Difference(
        "Kubernetes: lists have `indexOf` and `lastIndexOf`",
        "[1].indexOf(1)",
        lambda source, _exact, theirs: "ndexOf(" in source and theirs == ERROR,
    ),
    Difference(
        "Macros: what `sortBy` cannot sort is an error where it is asked for",
        "true || 1.sortBy(e, e) == []",
        lambda source, _exact, theirs: ".sortBy(" in source and theirs == ERROR,
    ),
    Difference(
        "Logical operators: what a field was read of that has none is absorbed as other errors are",
        "optional.of(1).a == 1 || true",
        lambda source, _exact, theirs: (
            theirs == ERROR
            and _reads_optionals(source)
            and re.search(r"&&|\|\|", source) is not None
        ),
    ),
    Difference(
        "The binding hands out maps as Python's, in which `true` and 1 are one key",
        "{true: 1, 1: 2}",
        lambda _source, exact, _theirs: _merges_keys(exact),
    ),
    Difference(
        "Strings: a part may end where the text does",
        "'b.c'.substring(1, 3)",
        lambda source, _exact, theirs: "substring(" in source and theirs == ERROR,
    ),
    Difference(
        "Math: what `least` and `greatest` cannot take is an error where it is asked for",
        "true || math.least('a') == 1",
        lambda source, _exact, theirs: (
            re.search(r"math\.(least|greatest)\(", source) is not None and theirs == ERROR
        ),
    ),
    Difference(
        "Optionals: what `optFlatMap` gives is an optional",
        "optional.of(1).optFlatMap(v, v)",
        lambda source, exact, _theirs: "optFlatMap" in source and isinstance(exact, str),
    ),
    Difference(
        "Aggregate values: a key stands once, and 2 and 2u are one key",
        "{2: 1, 2u: 2}",
        lambda source, exact, _theirs: (
            ("{" in source and exact == "invalid_argument")
            or (isinstance(exact, str) and re.search(r"\{\d+: .*, \d+u: ", source) is not None)
        ),
    ),
    Difference(
        "RFC 4648, 3.5: bits left over are not read",
        "base64.decode('AB')",
        lambda source, exact, _theirs: "base64.decode" in source and exact == "invalid_argument",
    ),
]


def explained(source: str, exact: Any, theirs: Any) -> str | None:
    """Return the clause that explains a difference."""
    return next((each.clause for each in EXPLAINED if each.explains(source, exact, theirs)), None)
