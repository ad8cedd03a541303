"""Takes casts to built-in types out of the tokens: they read nothing beyond their operand.

`CAST(x AS type)` becomes `(x)`, `x::type` becomes `x`, `type 'text'` becomes the string. A cast to
any other type is refused: a domain's checks and a type's input function may run anybody's code.
`regclass` and its kin look a name up, which is noted (`lookups`).
"""

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from sidecar.domains.data.catalogue.owned import Castable, Key
from sidecar.domains.data.parse.text import lookups
from sidecar.domains.data.parse.text.functions import ARRAYS, STANDARD_DOMAINS, TYPES
from sidecar.domains.data.parse.text.lexer import Token, marks_of
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

# Parts the schema of a type from its name where a statement keeps its casts; stands behind the name
# where an array is meant.
BETWEEN: Final = "\x1f"
# What stands there for one of PostgreSQL's own, none of which has fields.
_BUILT_IN: Final = "pg_catalog"
_ZONED: Final = (("with", "time", "zone"), ("without", "time", "zone"))
_VARYING: Final = (("varying",),)
_TAILS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "national": (("character", "varying"), ("char", "varying"), ("character",), ("char",)),
    "double": (("precision",),),
    "character": _VARYING,
    "char": _VARYING,
    "nchar": _VARYING,
    "bit": _VARYING,
    "time": _ZONED,
    "timestamp": _ZONED,
}
_UNITS: Final = frozenset(("year", "month", "day", "hour", "minute", "second"))
# A word behind one of these is a label, a column or a relation, not a type.
_NOT_BEFORE_TYPE: Final = (Token("punct", "."), Token("word", "as"))
_DOT: Final = Token("punct", ".")
_STAR: Final = Token("op", "*")
_TABLEOID: Final = Token("word", "tableoid")
_OPENING: Final = Token("punct", "(")
_CLOSING: Final = Token("punct", ")")
# Without one of these nothing is taken away from around a name.
_UNWRAPPING: Final = frozenset(("::", "[", "collate", "cast"))
_CLOSED: Final = Token("punct", "]")
_ARRAY: Final = Token("word", "array")
_CAST: Final = Token("punct", "::")
_AS_ONE: Final = (Token("word", "is"), Token("word", "null"), _CLOSING)
# How a token was left out: as a type whose name counts, or otherwise.
_TYPE, _SEEN = 1, 2
_KNOWN: Final = TYPES | lookups.TYPES.keys()
# By these PostgreSQL keeps them; the others are words of its grammar alone, and no names in quotes.
KEPT_AS: Final = frozenset(name for name in TYPES if f"_{name}" in ARRAYS) | ARRAYS
_KEPT_AS: Final = KEPT_AS | lookups.TYPES.keys()


def closers(statement: list[Token]) -> dict[int, int]:
    """Return where each opening bracket closes; the lexer has seen that they match."""
    opened: list[int] = []
    found: dict[int, int] = {}
    for at, (kind, text) in enumerate(statement):
        if kind != "punct":
            continue
        if text in ("(", "["):
            opened.append(at)
        elif text in (")", "]"):
            found[opened.pop()] = at
    return found


def enclosing(statement: list[Token], closing: dict[int, int]) -> list[int]:
    """Return for each token where the innermost bracket around it closes, -1 outside of any."""
    around = [-1]
    found: list[int] = []
    for at in range(len(statement)):
        if around[-1] == at:
            around.pop()
        found.append(around[-1])
        if at in closing:
            around.append(closing[at])
    return found


def unwrapped(statement: list[Token]) -> frozenset[str]:
    """Return the names that stand alone where a cast, a collation or a subscript is taken away.

    In a key of ORDER BY or DISTINCT ON a name alone is an output column; `name::text` is an
    expression, in which PostgreSQL takes the input column (SELECT, "ORDER BY Clause").
    """
    if _UNWRAPPING.isdisjoint(marks_of(statement)):
        return frozenset()
    has_cast = ("word", "cast") in statement
    found: set[str] = set()
    for at, (kind, text) in enumerate(statement):
        is_wrapped = (kind == "punct" and text in ("::", "[")) or (
            kind == "word" and (text == "collate" or (text == "as" and has_cast))
        )
        if is_wrapped:
            before = at - 1
            while before > 0 and statement[before] == _CLOSING:
                before -= 1
            found.add(statement[before].text)
    return frozenset(found)


class Casts(NamedTuple):
    """What casts there were.

    Args:
        lookups: The system catalogues that they look into.
        own_types: The names of somebody's own types that are cast to.
    """

    lookups: frozenset[str] = frozenset()
    own_types: frozenset[str] = frozenset()


_NO_CASTS: Final = Casts()


def without_casts(
    statement: list[Token], types: Castable | None, marks: Collection[str], *, has_fields: bool
) -> tuple[list[Token], Casts]:
    """Return the tokens without casts and types of literals, and what these were.

    Args:
        statement: The tokens.
        types: Those of somebody's own that may be cast to.
        marks: The texts of all tokens.
        has_fields: What a value is cast to decides which fields it has: casts are kept, of one's
            own types with their names, as `::"…"`.

    Raises:
        ParseError: `parse.unsupported` for a type that may not be cast to.
    """
    if "::" not in marks and "cast" not in marks and not ("" in marks and _has_typed(statement)):
        return statement, _NO_CASTS
    closing = closers(statement)
    dropped = bytearray(len(statement))
    own: dict[int, Key] = {}
    behind: dict[int, str] = {}
    names_partitions = _names_partitions(statement)
    for at, piece in enumerate(statement):
        if names_partitions and piece == ("punct", "::") and statement[at - 1] == _TABLEOID:
            _drop(dropped, at, at + 2, _SEEN)
            behind[at + 1] = _BUILT_IN
        elif piece == ("punct", "::"):
            end = own_type_end(statement, at + 1, closing, types, own)
            end = end or _type_end(statement, at + 1, closing)
            _drop(dropped, at, end)
            behind[end - 1] = _marked(statement, own, at + 1, end)
        elif piece.kind == "word" and (at == 0 or statement[at - 1] not in _NOT_BEFORE_TYPE):
            _drop_word(statement, at, closing, dropped, (types, own, behind))
    kept = _kept(statement, dropped, behind if has_fields else {})
    names = [token.text for at, token in enumerate(statement) if dropped[at] == _TYPE]
    if types is not None and not types.hidden.isdisjoint(names):
        raise _unread()
    looked = frozenset(lookups.TYPES[name] for name in names if name in lookups.TYPES)
    return kept, Casts(looked, frozenset(name for _, name in own.values()))


def _marked(statement: list[Token], own: Mapping[int, Key], start: int, end: int) -> str:
    """Return how the type that stands from `start` to `end` is written where casts are kept."""
    if start not in own:
        return _BUILT_IN
    schema, name = own[start]
    is_array = statement[end - 1] in (_CLOSED, _ARRAY)
    return f"{schema}{BETWEEN}{name}" + (BETWEEN if is_array else "")


def _kept(statement: list[Token], dropped: bytearray, behind: Mapping[int, str]) -> list[Token]:
    """Return the tokens that are left, where `t.*` with a cast is one value and no longer columns.

    Without its cast it would be all columns of a select list. What is read for `t.* IS NULL` is the
    same.
    """
    kept: list[Token] = []
    for at, piece in enumerate(statement):
        if not dropped[at]:
            kept.append(piece)
        if at in behind:
            kept += [_CAST, Token("quoted", behind[at])]
        if dropped[at] or piece != _STAR or statement[at - 1] != _DOT:
            continue
        start = len(kept) - 2
        while start >= 1 and kept[start] == _DOT and kept[start - 1].kind in ("word", "quoted"):
            start -= 2
        if _is_cast(statement, dropped, at + 1, kept[: start + 1]):
            if kept[start + 1] == _DOT:
                raise _unread()
            kept[start + 1 :] = [_OPENING, *kept[start + 1 :], *_AS_ONE]
    return kept


def _is_cast(statement: list[Token], dropped: bytearray, at: int, before: list[Token]) -> bool:
    """Return whether a cast stands at `at`, or behind the brackets that stand around what is cast.

    Those of a call are around its argument, which is one value in any case.
    """
    while statement[at : at + 1] == [_CLOSING] and before[-1:] == [_OPENING]:
        at += 1
        before = before[:-1]
    return at < len(statement) and bool(dropped[at])


def _has_typed(statement: list[Token]) -> bool:
    """Return whether a string stands where the end of its type may stand before it."""
    kind, text = "", ""
    for following in statement:
        if following.kind == "string" and (kind in ("word", "quoted") or text in (")", "]")):
            return True
        kind, text = following
    return False


def _drop_word(
    statement: list[Token],
    at: int,
    closing: dict[int, int],
    dropped: bytearray,
    found: tuple[Castable | None, dict[int, Key], dict[int, str]],
) -> None:
    """Drop what a CAST or the type of a literal takes, if the word at `at` begins one.

    `found` are the types that may be cast to, those of them that stand somewhere, and what stands
    behind a token in the place of its cast.
    """
    types, own, behind = found
    word = statement[at].text
    if word == "cast" and statement[at + 1 : at + 2] == [Token("punct", "(")]:
        end = closing[at + 1]
        split = _cast_split(statement, at + 2, end)
        own_end = own_type_end(statement, split + 1, closing, types, own) if split >= 0 else 0
        if split < 0 or (own_end or _type_end(statement, split + 1, closing)) != end:
            raise _unread()
        behind[end] = _marked(statement, own, split + 1, end)
        _drop(dropped, at, at + 1, _SEEN)
        _drop(dropped, split, end)
    elif word in _KNOWN:
        end = _type_end(statement, at, closing)
        if end < len(statement) and statement[end].kind == "string":
            _drop(dropped, at, end)
            last = _units_end(statement, end + 1, closing) if word == "interval" else end + 1
            _drop(dropped, end + 1, last)
            behind[last - 1] = _BUILT_IN


def _names_partitions(statement: list[Token]) -> bool:
    """Return whether each `tableoid` is cast to `regclass`: it names the partition of a row.

    Only where every one is: one that is an alias would name any relation there is.
    """
    cast = [Token("punct", "::"), Token("word", "regclass")]
    return all(
        statement[i + 1 : i + 3] == cast
        for i, token in enumerate(statement)
        if token.text == "tableoid"
    )


def _cast_split(statement: list[Token], start: int, end: int) -> int:
    """Return where the `AS` of a cast stands, -1 when there is none."""
    depth, split = 0, -1
    for at in range(start, end):
        kind, text = statement[at]
        if kind == "punct" and text in ("(", "["):
            depth += 1
        elif kind == "punct" and text in (")", "]"):
            depth -= 1
        elif depth == 0 and statement[at] == ("word", "as"):
            split = at
    return split


def _drop(dropped: bytearray, start: int, end: int, how: int = _TYPE) -> None:
    for at in range(start, end):
        dropped[at] = how


def own_type_end(
    statement: list[Token],
    at: int,
    closing: dict[int, int],
    types: Castable | None,
    own: dict[int, Key],
) -> int:
    """Return where a type of somebody's own ends that may be cast to, 0 where none begins.

    It is noted in `own`, by where it begins.
    """
    if types is None:
        return 0
    start, schema, behind = at, "", at + 1
    if statement[at + 1 : at + 2] == [_DOT]:
        schema, at, behind = statement[at].text, at + 2, at + 3
    named = statement[at : at + 1]
    if not named or named[0].kind not in ("word", "quoted"):
        return 0
    # What is built in comes before a name of the search path.
    if not schema and named[0].text in _KNOWN:
        return 0
    found = types.find(schema, named[0].text)
    if found is None:
        return 0
    own[start] = found
    return _brackets_end(statement, behind, closing)


def _type_end(statement: list[Token], at: int, closing: dict[int, int]) -> int:
    """Return where the type that begins at `at` ends."""
    schema = statement[at].text if statement[at + 1 : at + 2] == [_DOT] else ""
    known = STANDARD_DOMAINS if schema == "information_schema" else _KNOWN
    at += 2 if schema in ("pg_catalog", "information_schema") else 0
    if at < len(statement) and statement[at].kind == "quoted" and known is _KNOWN:
        return _quoted_end(statement, at, closing)
    if at >= len(statement) or statement[at].kind != "word" or statement[at].text not in known:
        raise _unread()
    name = statement[at].text
    at = _tail_end(statement, at + 1, name)
    if name == "interval":
        at = _units_end(statement, at, closing)
    if statement[at : at + 1] == [Token("punct", "(")] and _is_modifier(statement, at, closing):
        at = _tail_end(statement, closing[at] + 1, name)
    return _brackets_end(statement, at, closing)


def _quoted_end(statement: list[Token], at: int, closing: dict[int, int]) -> int:
    if statement[at].text not in _KEPT_AS or statement[at + 1 : at + 2] == [_DOT]:
        raise _unread()
    at += 1
    if statement[at : at + 1] == [_OPENING] and _is_modifier(statement, at, closing):
        at = closing[at] + 1
    return _brackets_end(statement, at, closing)


def plain_type_end(statement: list[Token], at: int, closing: dict[int, int]) -> int:
    """Return where a built-in type ends that no name is looked up for, -1 where none begins.

    `closing` is what `closers` says of the statement.
    """
    if at >= len(statement) or statement[at].text in lookups.TYPES:
        return -1
    try:
        return _type_end(statement, at, closing)
    except ParseError:
        return -1


def _tail_end(statement: list[Token], at: int, name: str) -> int:
    for words in _TAILS.get(name, ()):
        if statement[at : at + len(words)] == [Token("word", word) for word in words]:
            return at + len(words)
    return at


def _is_modifier(statement: list[Token], at: int, closing: dict[int, int]) -> bool:
    inside = statement[at + 1 : closing[at]]
    return bool(inside) and all(kind == "number" or text in (",", "-") for kind, text in inside)


def _brackets_end(statement: list[Token], at: int, closing: dict[int, int]) -> int:
    """Return where `[]`, `[3][3]`, `ARRAY` or `ARRAY[3]` end."""
    at += statement[at : at + 1] == [_ARRAY]
    while statement[at : at + 1] == [Token("punct", "[")]:
        if any(token.kind != "number" for token in statement[at + 1 : closing[at]]):
            raise _unread()
        at = closing[at] + 1
    return at


def _units_end(statement: list[Token], at: int, closing: dict[int, int]) -> int:
    """Return where `DAY`, `DAY TO SECOND(3)` end."""
    words = [token.text if token.kind == "word" else "" for token in statement[at : at + 3]]
    if not words or words[0] not in _UNITS:
        return at
    at += 1
    if words[1:2] == ["to"] and words[2:] and words[2] in _UNITS:
        at += 2
    if statement[at - 1].text == "second" and statement[at : at + 1] == [Token("punct", "(")]:
        at = closing[at] + 1
    return at


def _unread() -> ParseError:
    return ParseError(reason("parse.unsupported"), "a type that is not built in is not read")
