"""Where a code point of a YAML scalar stands in its file, behind quotes, escapes and folds."""

import re
from typing import Final

# An escape of a double-quoted scalar, or a line end that is escaped away with what follows it.
_ESCAPE: Final = re.compile(
    r"\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|\r?\n[ \t]*|.)", re.DOTALL
)
_LINE_END: Final = re.compile(r"\\\r?\n")
_HEADER: Final = re.compile(r"[|>][^\n]*\n?")
_SPACE: Final = " \t\r\n"


def place_in(text: str, line: int, column: int, value: str, offset: int) -> tuple[int, int]:
    """Return the line and column, from 1, at which `value[offset]` is written.

    White space may be written in another way than it is read; what is not is found exactly.

    Args:
        text: The whole file.
        line: Where the scalar begins, from 1.
        column: The same.
        value: The scalar as read.
        offset: Of a code point in it; behind the last is where it ends.
    """
    at = _offset_of(text, line) + column - 1
    style = text[at : at + 1]
    if style in {"|", ">"}:
        found = _HEADER.match(text, at)
        at = found.end() if found else at
    elif style in {'"', "'"}:
        at += 1
    else:
        style = ""
    read = 0
    while read < offset:
        read, at = _step(text, at, value, read, style)
    at = _visible(text, at, value[offset : offset + 1], style)
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


def _offset_of(text: str, line: int) -> int:
    at = 0
    for _ in range(line - 1):
        at = text.find("\n", at) + 1
    return at


def _step(text: str, at: int, value: str, read: int, style: str) -> tuple[int, int]:
    """Return where the next code point of the value is, and where it is written."""
    written = text[at : at + 1]
    if written == value[read] and written != "\\" and not (style == "'" and written == "'"):
        return read + 1, at + 1
    if written and written in _SPACE:
        return read, at + 1
    if style == '"' and (escape := _ESCAPE.match(text, at)):
        is_nothing = _LINE_END.match(text, at) is not None
        return read + (not is_nothing), escape.end()
    if style == "'" and text[at : at + 2] == "''":
        return read + 1, at + 2
    # A space that was a line end, or a plain backslash.
    return read + 1, at + (value[read] not in _SPACE)


def _visible(text: str, at: int, wanted: str, style: str) -> int:
    """Pass over indentation in front of what is looked for."""
    while wanted.strip() and text[at : at + 1] and text[at] in _SPACE:
        at += 1
    if style == '"' and wanted.strip() and (gap := re.compile(r"\\\r?\n[ \t]*").match(text, at)):
        at = gap.end()
    return at
