"""Writes `JSON_TABLE(…)` and `XMLTABLE(…)` in FROM as a call with a list of its columns.

`XMLTABLE('/r' PASSING d COLUMNS a int PATH 'x' DEFAULT b, n FOR ORDINALITY) AS t` reads `d`
and `b`, and is written as `XMLTABLE('/r', d, b) AS t (a, n)`. Types have to be built in: the input
of another may run any code. What stands otherwise than is known here is refused.

Source: PostgreSQL 18, src/backend/parser/gram.y, `xmltable`, `json_table`; a level's own columns
come before those of the levels nested in it (parse_jsontable.c).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from sidecar.domains.data.parse.text.casts import plain_type_end
from sidecar.domains.data.parse.text.grammar import BARE
from sidecar.domains.data.parse.text.lexer import Token
from sidecar.domains.data.parse.text.shapes.edit import AS, CLOSE, COMMA, DOT, OPEN, Edit, marked
from sidecar.domains.data.parse.text.shapes.worded import json_tail
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

TABLES: Final = frozenset(("json_table", "xmltable"))
_CONSTANTS: Final = ("string", "number", "param")
_WORDS: Final = frozenset(("null", "true", "false"))
_ORDINALITY: Final = (Token("word", "for"), Token("word", "ordinality"))


class _Listed(NamedTuple):
    """The columns of a level, and what is read for them: where each begins and ends."""

    names: list[Token]
    read: list[tuple[int, int]]


def tabled(edit: Edit, at: int) -> None:
    """Write the table that begins at `at`; leave what is none."""
    if not edit.is_at(at + 1, OPEN) or edit.is_at(at - 1, DOT) or edit.is_at(at - 1, AS):
        return
    end = edit.closing[at + 1]
    columns = _columns_at(edit, at + 2, end)
    if not columns:
        return
    is_json = edit.text(at) == "json_table"
    if is_json:
        if not edit.is_at(columns + 1, OPEN):
            raise _unread()
        close = edit.closing[columns + 1]
        listed = _levels(edit, columns + 2, close)
        if close + 1 + json_tail(edit.tokens, close + 1) != end:
            raise _unread()
    else:
        listed = _listed(edit, columns + 1, end, is_json=False)
    _write_arguments(edit, at + 2, columns, is_json=is_json)
    read = [piece for start, stop in listed.read for piece in (COMMA, *edit.tokens[start:stop])]
    edit.drop(columns, end)
    edit.add(end, *read)
    _write_alias(edit, end + 1, listed.names)


def _columns_at(edit: Edit, start: int, end: int) -> int:
    """Return where the word COLUMNS stands behind what is passed, 0 for none."""
    for at in edit.level(start + 1, end):
        if edit.text(at) == "columns" and _ends_value(edit, at - 1):
            return at
    return 0


def _ends_value(edit: Edit, at: int) -> bool:
    """Return whether a value may end at `at`: then no name of a column begins behind it."""
    kind, text = edit.tokens[at]
    return (
        kind in (*_CONSTANTS, "quoted")
        or text in (")", "]")
        or (kind == "word" and text not in BARE and text not in ("zone", "local", "passing", "ref"))
    )


def _write_arguments(edit: Edit, start: int, end: int, *, is_json: bool) -> None:
    """Write `x PASSING y AS z` as `x, y`, and the values of XMLNAMESPACES alone."""
    if edit.text(start) == "xmlnamespaces" and edit.is_at(start + 1, OPEN) and not is_json:
        edit.drop(start, start + 1)
        for at in edit.level(start + 2, edit.closing[start + 1]):
            if edit.text(at) == "as" or _begins_default(edit, at):
                edit.drop(at, at + (2 if edit.text(at) == "as" else 1))
    for at in edit.level(start + 1, end):
        word = edit.text(at)
        if word == "passing" and _ends_value(edit, at - 1):
            is_by = edit.text(at + 1) == "by" and edit.text(at + 2) in ("ref", "value")
            edit.drop(at, at + (3 if is_by else 1))
            edit.add(at, COMMA)
        elif word == "by" and edit.text(at - 1) != "passing" and at + 2 == end:
            edit.drop(at, end)
        elif is_json and (word == "as" or (word, edit.text(at + 1)) == ("format", "json")):
            edit.drop(at, at + 2)


def _begins_default(edit: Edit, at: int) -> bool:
    before = edit.tokens[at - 1]
    return edit.text(at) == "default" and before in (OPEN, COMMA)


def _levels(edit: Edit, start: int, end: int) -> _Listed:
    """Return the columns of JSON_TABLE, those of nested levels behind the others."""
    found = _listed(edit, start, end, is_json=True)
    for first, last in _items(edit, start, end):
        if edit.text(first) != "nested" or edit.tokens[first + 1].kind not in ("word", "string"):
            continue
        at = first + 1 + (edit.text(first + 1) == "path")
        if edit.tokens[at].kind != "string":
            # A column of that name.
            continue
        at += 3 if edit.is_at(at + 1, AS) else 1
        is_list = edit.text(at) == "columns" and edit.is_at(at + 1, OPEN)
        if not is_list or edit.closing[at + 1] + 1 != last:
            raise _unread()
        inner = _levels(edit, at + 2, last - 1)
        found = _Listed(found.names + inner.names, found.read + inner.read)
    return found


def _items(edit: Edit, start: int, end: int) -> Iterator[tuple[int, int]]:
    commas = [at for at in edit.level(start, end) if edit.is_at(at, COMMA)]
    yield from zip([start, *(at + 1 for at in commas)], [*commas, end], strict=True)


def _listed(edit: Edit, start: int, end: int, *, is_json: bool) -> _Listed:
    """Return the columns that are defined there, those of nested levels left out."""
    found = _Listed([], [])
    for first, last in _items(edit, start, end):
        is_path = edit.text(first + 1) == "path" or edit.tokens[first + 1].kind == "string"
        if is_json and edit.text(first) == "nested" and is_path:
            continue
        if not edit.is_name(first) or first + 1 >= last:
            raise _unread()
        found.names.append(Token("quoted", edit.tokens[first].text))
        if tuple(edit.tokens[first + 1 : last]) != _ORDINALITY:
            at = plain_type_end(edit.tokens, first + 1, edit.closing)
            if at < 0:
                raise ParseError(reason("parse.unsupported"), "a type that is not built in")
            _options(edit, at, last, found, is_json=is_json)
    return found


def _options(edit: Edit, at: int, end: int, found: _Listed, *, is_json: bool) -> None:
    """Note what the options of a column read."""
    while at < end:
        word = edit.text(at)
        taken = json_tail(edit.tokens, at) if is_json else 0
        if taken:
            at += taken
        elif word in ("path", "default"):
            stop = _value_end(edit, at + 1, end)
            found.read.append((at + 1, stop))
            at = stop
        elif word == "exists" and is_json:
            at += 1
        elif not is_json and word in ("not", "null"):
            at += 2 if word == "not" and edit.text(at + 1) == "null" else 1
        else:
            raise _unread()
    if at != end:
        raise _unread()


def _value_end(edit: Edit, at: int, end: int) -> int:
    """Return where a constant, a name, a call or a value in brackets ends."""
    if at >= end:
        raise _unread()
    if edit.tokens[at].text == "-" and at + 1 < end and edit.tokens[at + 1].kind == "number":
        return at + 2
    if edit.tokens[at].kind in _CONSTANTS or edit.text(at) in _WORDS:
        return at + 1
    if edit.is_at(at, OPEN):
        return edit.closing[at] + 1
    if not edit.is_name(at) or edit.text(at) in BARE:
        raise _unread()
    while edit.is_at(at + 1, DOT) and edit.is_name(at + 2):
        at += 2
    return edit.closing[at + 1] + 1 if edit.is_at(at + 1, OPEN) else at + 1


def _write_alias(edit: Edit, at: int, names: list[Token]) -> None:
    """Put the columns behind the table's alias, the first ones called as that says."""
    start = at + edit.is_at(at, AS)
    if not edit.is_name(start) or edit.text(start) in BARE:
        edit.add(at, AS, marked(""), *_bracketed(names))
        return
    if start == at:
        edit.add(at, AS)
    if not edit.is_at(start + 1, OPEN):
        edit.add(start + 1, *_bracketed(names))
        return
    end = edit.closing[start + 1]
    count = sum(edit.is_at(i, COMMA) for i in edit.level(start + 2, end)) + 1
    if count > len(names):
        raise _unread()
    edit.add(end, *(piece for name in names[count:] for piece in (COMMA, name)))


def _bracketed(names: list[Token]) -> list[Token]:
    listed = [piece for name in names for piece in (COMMA, name)]
    return [OPEN, *listed[1:], CLOSE]


def _unread() -> ParseError:
    return ParseError(reason("parse.unsupported"), "a part of a table of JSON or XML")
