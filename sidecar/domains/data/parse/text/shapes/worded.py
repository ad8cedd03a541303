"""The calls of SQL/JSON and of XML, whose brackets hold words: which of those are left out.

`JSON_VALUE(a, '$.x' RETURNING int DEFAULT b ON EMPTY)` reads `a` and `b`, and is written as a call
of these. A word is taken for one of the construct only where it can be nothing else: behind an
operand no name of a column may stand. What is not recognised stays, and ends as a syntax error.

Source: PostgreSQL 18, src/backend/parser/gram.y, `func_expr_common_subexpr`.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from sidecar.domains.data.parse.text.casts import plain_type_end
from sidecar.domains.data.parse.text.lexer import Token


class Written(NamedTuple):
    """What to write in the place of how many tokens, and whether it ends an operand."""

    text: str
    taken: int
    is_operand: bool = True


JSON: Final = frozenset((
    "json", "json_array", "json_arrayagg", "json_exists", "json_object", "json_objectagg",
    "json_query", "json_scalar", "json_serialize", "json_value",
))  # fmt: skip
XML: Final = frozenset(("xmlexists", "xmlparse", "xmlroot", "xmlserialize"))
OF_QUERY: Final = "json_array of a query"
WORDED: Final = JSON | XML | {"normalize", OF_QUERY}
# Calls whose bracket begins with words of their own.
_BEGUN: Final = frozenset(("xmlparse", "xmlserialize"))
_NAMED: Final = frozenset(("xmlelement", "xmlpi"))
BEGUN: Final = _BEGUN | _NAMED
# Those of them that may hold a query without brackets of its own.
_AROUND_QUERY: Final = frozenset(("json_array",))
_QUERIES: Final = frozenset(("select", "values", "with", "table"))
# What goes on with a query whose beginning stands in brackets; behind a value none of them may.
_GOING_ON: Final = frozenset(
    ("order", "limit", "offset", "fetch", "for", "union", "intersect", "except")
)
_PAIRS: Final = frozenset(("json_object", "json_objectagg"))
# They may hold no value.
_EMPTY: Final = frozenset(("json_array", "json_object"))
_BEHAVIOURS: Final = tuple(
    (*value, "on", case)
    for value in (
        ("null",), ("error",), ("true",), ("false",), ("unknown",), ("empty",), ("empty", "array"),
        ("empty", "object"),
    )
    for case in ("empty", "error")
)  # fmt: skip
_WRAPPERS: Final = tuple(
    (*head, *array, "wrapper")
    for head in (
        ("without",), ("with",), ("with", "conditional"), ("with", "unconditional"),
    )
    for array in (("array",), ())
)  # fmt: skip
_JSON_TAILS: Final[tuple[tuple[str, ...], ...]] = (
    ("format", "json", "encoding", "utf8"), ("format", "json"),
    ("null", "on", "null"), ("absent", "on", "null"),
    ("with", "unique", "keys"), ("with", "unique"), ("without", "unique", "keys"),
    ("without", "unique"), *_WRAPPERS,
    ("keep", "quotes", "on", "scalar", "string"), ("keep", "quotes"),
    ("omit", "quotes", "on", "scalar", "string"), ("omit", "quotes"),
    *_BEHAVIOURS, ("on", "empty"), ("on", "error"),
)  # fmt: skip
_JSON_COMMAS: Final = frozenset(("value", "passing", "default"))
_XML_TAILS: Final[tuple[tuple[str, ...], ...]] = (
    ("preserve", "whitespace"), ("strip", "whitespace"), ("by", "ref"), ("by", "value"),
)  # fmt: skip
_XML_COMMAS: Final[tuple[tuple[str, ...], ...]] = (
    ("passing", "by", "ref"), ("passing", "by", "value"), ("passing",),
)  # fmt: skip
_XML_PLACES: Final[tuple[tuple[str, ...], ...]] = (
    ("version", "no", "value"), ("standalone", "yes"), ("standalone", "no", "value"),
    ("standalone", "no"),
)  # fmt: skip
# What stands behind IS, where it is of this grammar, and reads what `IS NULL` reads.
_TESTS: Final[tuple[tuple[str, ...], ...]] = (
    *(
        ("json", *kind, *unique)
        for kind in (("value",), ("array",), ("object",), ("scalar",), ())
        for unique in (
            ("with", "unique", "keys"), ("with", "unique"), ("without", "unique", "keys"),
            ("without", "unique"), (),
        )
    ),
    ("document",), ("normalized",),
    *((form, "normalized") for form in ("nfc", "nfd", "nfkc", "nfkd")),
)  # fmt: skip
_FORMS: Final = frozenset(("nfc", "nfd", "nfkc", "nfkd"))
_LONGEST: Final = 6
OF_TESTS: Final = frozenset(words[0] for words in _TESTS)
_NAMES: Final = ("word", "quoted")
_DIRECTIONS: Final = (Token("word", "asc"), Token("word", "desc"))
_COMMA: Final = Token("punct", ",")


def inner(
    construct: str, tokens: Sequence[Token], at: int, closing: dict[int, int], *, operand: bool
) -> Written | None:
    """Return what to write for a word that stands in such a call, None for one of its operands.

    Args:
        construct: The call's name.
        tokens: Of the statement, and more behind it than is looked ahead.
        at: Where the word stands: in the call's own brackets, in none inside.
        closing: Where brackets close.
        operand: Whether what has been written before it ends an operand.
    """
    if construct in XML:
        return _xml(construct, tokens, at, closing, operand=operand)
    word = tokens[at].text
    if construct == "normalize":
        is_form = word in _FORMS and tokens[at - 1] == _COMMA and tokens[at + 1].text == ")"
        return Written("'1'", 1) if is_form else None
    if construct == OF_QUERY and word not in ("format", "returning"):
        return None
    is_empty = word == "returning" and construct in _EMPTY and tokens[at - 1].text == "("
    if not operand and not is_empty and not _ends_order(tokens, at):
        return None
    if word == "returning":
        end = _type_end(tokens, at + 1, closing)
        return Written("", end - at) if end > 0 else None
    if word == "as" and tokens[at + 1].kind in _NAMES:
        # The name of what is passed to a path.
        return Written("", 2)
    return _tail(tokens, at, _JSON_TAILS) or (
        Written(",", 1, is_operand=False) if word in _JSON_COMMAS else None
    )


def _ends_order(tokens: Sequence[Token], at: int) -> bool:
    """Return whether a key of ORDER BY ends before `at` with its direction."""
    before = tokens[at - 1]
    return before in _DIRECTIONS or (
        before.text in ("first", "last") and tokens[at - 2] == ("word", "nulls")
    )


def head(construct: str, tokens: Sequence[Token], at: int) -> Written | None:
    """Return what to write for the words that begin the call whose bracket opens at `at`."""
    first, second = tokens[at + 1], tokens[at + 2]
    if construct in _BEGUN and first.text in ("document", "content"):
        return Written("(", 2, is_operand=False)
    if construct in _NAMED and first == ("word", "name") and second.kind in _NAMES:
        return Written("( '1'", 3)
    return None


def holds_query(construct: str, tokens: Sequence[Token], at: int, closing: dict[int, int]) -> bool:
    """Return whether a query stands in the call whose bracket opens at `at`, and no values."""
    if construct not in _AROUND_QUERY:
        return False
    first = tokens[at + 1]
    if first == ("punct", "("):
        kind, text = tokens[closing[at + 1] + 1]
        return kind == "word" and text in _GOING_ON
    return first.kind == "word" and first.text in _QUERIES


def json_tail(tokens: Sequence[Token], at: int) -> int:
    """Return how many words at `at` say what becomes of JSON that is not so, 0 for none."""
    found = _tail([*tokens[at : at + _LONGEST], *[_COMMA] * _LONGEST], 0, _JSON_TAILS)
    return found.taken if found is not None else 0


def has_pairs(construct: str) -> bool:
    """Return whether a colon parts a key from its value in this call."""
    return construct in _PAIRS


def tested(tokens: Sequence[Token], at: int) -> int:
    """Return how many words of `IS JSON OBJECT` and its kin stand behind IS at `at`, 0 for none."""
    if not at or at + _LONGEST > len(tokens):
        tokens = [*tokens, *[_COMMA] * _LONGEST]
    before = tokens[at - 2 if tokens[at - 1] == ("word", "not") else at - 1]
    found = _tail(tokens, at, _TESTS) if before == ("word", "is") else None
    return found.taken if found is not None else 0


def _xml(
    construct: str, tokens: Sequence[Token], at: int, closing: dict[int, int], *, operand: bool
) -> Written | None:
    if not operand:
        if construct != "xmlroot" or tokens[at - 1] != _COMMA:
            return None
        place = _tail(tokens, at, _XML_PLACES)
        if place is not None:
            return Written("'1'", place.taken)
        return Written("", 1, is_operand=False) if tokens[at].text == "version" else None
    if construct == "xmlserialize" and tokens[at].text == "as":
        end = _type_end(tokens, at + 1, closing)
        if end < 0:
            return None
        end += 1 if tokens[end].text == "no" else 0
        return Written("", end + (tokens[end].text == "indent") - at)
    passing = _tail(tokens, at, _XML_COMMAS) if construct == "xmlexists" else None
    if passing is not None:
        return Written(",", passing.taken, is_operand=False)
    return _tail(tokens, at, _XML_TAILS)


def _tail(tokens: Sequence[Token], at: int, known: Sequence[tuple[str, ...]]) -> Written | None:
    for words in known:
        if all(tokens[at + i] == ("word", word) for i, word in enumerate(words)):
            return Written("", len(words))
    return None


def _type_end(tokens: Sequence[Token], at: int, closing: dict[int, int]) -> int:
    """Return where a built-in type ends, -1 where there is none: its input may run any code."""
    return plain_type_end(list(tokens), at, closing)
