r"""Patterns: `matches`, `find` and the regex extension on RE2, and our own `glob`.

RE2 never backtracks: a search takes at most as many steps as the pattern has instructions for each
byte of the text. That product is bounded before the search, and their sum where one call searches
many times, for each match starts anew. Patterns are sought anywhere in the text; `^` and `$` are
its ends. Everything runs on UTF-8 bytes: for texts the binding counts code points, at twice the
cost.

Source: https://github.com/google/re2/wiki/Syntax; https://swtch.com/~rsc/regexp/regexp3.html
"""

import re
from functools import lru_cache
from typing import Final, Protocol, cast

import re2  # type: ignore[import-untyped]  # it says nothing of its types

from sidecar.policy.language.faults import BudgetExceeded, InvalidArgument, NoSuchOverload
from sidecar.policy.language.functions.signature import function, member
from sidecar.policy.language.functions.standard.conversions import encoded
from sidecar.policy.language.values.kinds import NONE, Maybe
from sidecar.policy.language.values.limits import (
    ITEMS_MAX,
    PATTERN_CHARS_MAX,
    PATTERN_MEMORY_MAX,
    PATTERN_STEPS_ALL_MAX,
    PATTERN_STEPS_MAX,
    TEXT_CHARS_MAX,
)
from sidecar.syntax.glob import glob as glob_matches

_REWRITE: Final = re.compile(rb"\\(?:([0-9])|(\\))")
_CONTINUES: Final = range(0x80, 0xC0)


class _Match(Protocol):
    """What is used of RE2's matches."""

    def span(self) -> tuple[int, int]: ...

    def end(self) -> int: ...

    def group(self, number: int) -> bytes | None: ...


class _Program(Protocol):
    """What is used of RE2's patterns."""

    programsize: int
    groups: int

    def search(self, text: bytes, start: int) -> _Match | None: ...


def _options() -> object:
    options = re2.Options()
    # Its errors quote the pattern, on standard error.
    options.log_errors = False
    options.max_mem = PATTERN_MEMORY_MAX
    return options


@lru_cache(maxsize=512)
def compiled(pattern: str) -> _Program:
    """Return `pattern` ready to search bytes.

    Raises:
        InvalidArgument: RE2 cannot read it, or it is too large.
    """
    if len(pattern) > PATTERN_CHARS_MAX:
        raise InvalidArgument
    try:
        return cast("_Program", re2.compile(encoded(pattern), _options()))
    except re2.error:
        raise InvalidArgument from None


def _search(pattern: _Program, text: bytes, start: int = 0) -> _Match | None:
    if pattern.programsize * len(text) > PATTERN_STEPS_MAX:
        raise BudgetExceeded
    return pattern.search(text, start)


def matches(text: object, pattern: object) -> bool:
    """Return whether `pattern` is found somewhere in `text`."""
    if type(text) is str and type(pattern) is str:
        return _search(compiled(pattern), encoded(text)) is not None
    raise NoSuchOverload


def _each(pattern: _Program, text: bytes, most: int) -> list[_Match]:
    """Return the first `most` matches from left to right, none inside of another."""
    found: list[_Match] = []
    at, steps = 0, PATTERN_STEPS_ALL_MAX
    while at <= len(text) and len(found) < most:
        steps -= pattern.programsize * (len(text) - at)
        if steps < 0 or len(found) > ITEMS_MAX:
            raise BudgetExceeded
        match = _search(pattern, text, at)
        if match is None:
            break
        start, end = match.span()
        # Behind the last match an empty one is none of its own.
        if not (found and start == end == found[-1].end()):
            found.append(match)
        at = end if end > at and end > start else _next(text, end)
    return found


def _next(text: bytes, at: int) -> int:
    at += 1
    while at < len(text) and text[at] in _CONTINUES:
        at += 1
    return at


def replace(text: object, pattern: object, new: object) -> str:
    r"""Return `text` with every match replaced; `\1` in `new` is the first group."""
    return replace_some(text, pattern, new, -1)


def replace_some(text: object, pattern: object, new: object, count: object) -> str:
    """Return `text` with the first `count` matches replaced; all if it is negative."""
    if not (type(text) is str and type(pattern) is str and type(new) is str):
        raise NoSuchOverload
    if type(count) is not int:
        raise NoSuchOverload
    program, data = compiled(pattern), encoded(text)
    pieces = _rewrite(encoded(new), program.groups)
    out: list[bytes] = []
    at, room = 0, TEXT_CHARS_MAX * 4
    for match in _each(program, data, ITEMS_MAX + 2 if count < 0 else count):
        start, end = match.span()
        added = [data[at:start], *_filled(pieces, match)]
        room -= sum(map(len, added))
        if room < 0:
            raise BudgetExceeded
        out += added
        at = end
    if len(data) - at > room:
        raise BudgetExceeded
    return b"".join([*out, data[at:]]).decode()


def _rewrite(new: bytes, groups: int) -> list[bytes | int]:
    """Return a replacement as the texts and group numbers that it is made of."""
    pieces: list[bytes | int] = []
    at = 0
    while (start := new.find(b"\\", at)) >= 0:
        pieces.append(new[at:start])
        escape = _REWRITE.match(new, start)
        if escape is None or (escape[1] and int(escape[1]) > groups):
            raise InvalidArgument
        pieces.append(int(escape[1]) if escape[1] else b"\\")
        at = escape.end()
    pieces.append(new[at:])
    return pieces


def _filled(pieces: list[bytes | int], match: _Match) -> list[bytes]:
    return [piece if isinstance(piece, bytes) else match.group(piece) or b"" for piece in pieces]


def _one_group(text: object, pattern: object) -> tuple[_Program, bytes, int]:
    if type(text) is not str or type(pattern) is not str:
        raise NoSuchOverload
    program = compiled(pattern)
    if program.groups > 1:
        raise InvalidArgument
    return program, encoded(text), program.groups


def find(text: object, pattern: object) -> str:
    """Return the first match as a whole, or an empty text."""
    if type(text) is not str or type(pattern) is not str:
        raise NoSuchOverload
    match = _search(compiled(pattern), encoded(text))
    return (match.group(0) or b"").decode() if match else ""


def find_all(text: object, pattern: object, count: object = -1) -> list[object]:
    """Return the first `count` matches as wholes; all, the empty ones too, if it is negative."""
    if type(text) is not str or type(pattern) is not str or type(count) is not int:
        raise NoSuchOverload
    most = ITEMS_MAX + 2 if count < 0 else count
    found = _each(compiled(pattern), encoded(text), most)
    return [(match.group(0) or b"").decode() for match in found]


def extract(text: object, pattern: object) -> Maybe:
    """Return the first match, or its one group, optionally."""
    program, data, group = _one_group(text, pattern)
    match = _search(program, data)
    return Maybe((match.group(group) or b"").decode(), has=True) if match else NONE


def extract_all(text: object, pattern: object) -> list[object]:
    """Return all matches, or their one group each, without the empty ones."""
    program, data, group = _one_group(text, pattern)
    found = [match.group(group) for match in _each(program, data, ITEMS_MAX + 2)]
    return [part.decode() for part in found if part]


def glob(pattern: object, text: object) -> bool:
    """Return whether `text` is as `pattern` says, where `*` is any run of characters."""
    if type(pattern) is not str or type(text) is not str:
        raise NoSuchOverload
    if len(pattern) > PATTERN_CHARS_MAX:
        raise InvalidArgument
    try:
        return glob_matches(pattern, text)
    except ValueError:
        raise InvalidArgument from None


DECLARED: Final = (
    function("matches", matches, "string, string -> bool"),
    member("matches", matches, "string, string -> bool"),
    member("find", find, "string, string -> string"),
    member("findAll", find_all, "string, string -> list(string)"),
    member("findAll", find_all, "string, string, int -> list(string)"),
    function("regex.replace", replace, "string, string, string -> string"),
    function("regex.replace", replace_some, "string, string, string, int -> string"),
    function("regex.extract", extract, "string, string -> optional(string)"),
    function("regex.extractAll", extract_all, "string, string -> list(string)"),
    function("glob", glob, "string, string -> bool"),
)
