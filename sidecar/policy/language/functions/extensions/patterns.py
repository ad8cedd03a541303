r"""Patterns: `matches`, `find` and the regex extension on RE2, and our own `glob`.

RE2 never backtracks: a search takes at most as many steps as the pattern has instructions for each
byte of the text. That product is bounded before the search, and their sum where one call searches
many times, for each match starts anew. Patterns are sought anywhere in the text; `^` and `$` are
its ends. Everything runs on UTF-8 bytes: for texts the binding counts code points, at twice the
cost.

Source: https://github.com/google/re2/wiki/Syntax; https://swtch.com/~rsc/regexp/regexp3.html
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol, cast

import re2  # type: ignore[import-untyped]  # it says nothing of its types

from sidecar.policy.language.faults import BudgetExceeded, InvalidArgument, NoSuchOverload
from sidecar.policy.language.functions.signature import function, member, metered
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
from sidecar.terms.call import remembers

_REWRITE: Final = re.compile(rb"\\(?:([0-9])|(\\))")
_CONTINUES: Final = range(0x80, 0xC0)
# Instructions times bytes that are one step's work, at RE2's slowest; less is free.
SEARCH_STEP: Final = 2_048
# What a pattern comes to that is too large: compiling it ends where the memory does.
_TOO_LARGE: Final = 32_000
# What a match costs beside the search for it.
_MATCHED: Final = 1.5


class _Match(Protocol):
    """What is used of RE2's matches."""

    def span(self) -> tuple[int, int]: ...

    def end(self) -> int: ...

    def group(self, number: int) -> bytes | None: ...


class Program(Protocol):
    """What is used of RE2's patterns."""

    programsize: int
    groups: int

    def search(self, text: bytes, start: int) -> _Match | None:
        """Return the first match from `start` on."""


class Meter(Protocol):
    """Who provides programs and is told of the work, in steps, before it is done."""

    def program(self, pattern: str) -> Program:
        """Return `pattern` compiled. Raises InvalidArgument."""

    def spend(self, steps: float) -> None:
        """Pay. Raises BudgetExceeded."""


class _Unmetered:
    """Outside of macros nothing is paid."""

    def program(self, pattern: str) -> Program:
        return compiled(pattern)

    def spend(self, steps: float) -> None:
        pass


_UNMETERED: Final = _Unmetered()


def _options() -> object:
    options = re2.Options()
    # Its errors quote the pattern, on standard error.
    options.log_errors = False
    options.max_mem = PATTERN_MEMORY_MAX
    return options


@lru_cache(maxsize=512)
def _read(pattern: str) -> tuple[Program | None, int]:
    """Return `pattern` ready to search bytes, if it can be, and what compiling it came to."""
    if len(pattern) > PATTERN_CHARS_MAX:
        return None, 0
    try:
        program = cast("Program", re2.compile(encoded(pattern), _options()))
    except re2.error as error:
        return None, _TOO_LARGE if b"too large" in error.args[0] else 0
    return program, program.programsize


remembers(_read.cache_clear)
# It remembers patterns of its own accord.
remembers(re2.purge)


def compiled(pattern: str) -> Program:
    """Return `pattern` ready to search bytes.

    Raises:
        InvalidArgument: RE2 cannot read it, or it is too large.
    """
    program, _ = _read(pattern)
    if program is None:
        raise InvalidArgument
    return program


def compiled_for(pattern: str, spend: Callable[[float], None]) -> Program:
    """Return `pattern` ready to search bytes, and have it paid for, in steps, as if it were new.

    A class of Unicode's is hundreds of ranges, read anew wherever it stands.

    Raises:
        InvalidArgument: RE2 cannot read it, or it is too large.
        BudgetExceeded: There is not enough left.
    """
    classes = pattern.count("\\p") + pattern.count("\\P")
    spend(4 + len(pattern) / 32 + 32 * classes)
    spend(_read(pattern)[1] / 8)
    return compiled(pattern)


def searching(program: Program, count: int) -> float:
    """Return the steps that one search of `count` bytes costs; a short one is free."""
    size = program.programsize * count
    return size / SEARCH_STEP if size >= SEARCH_STEP else 0


def _search(pattern: Program, text: bytes, meter: Meter) -> _Match | None:
    if pattern.programsize * len(text) > PATTERN_STEPS_MAX:
        raise BudgetExceeded
    meter.spend(searching(pattern, len(text)))
    return pattern.search(text, 0)


def matches(text: object, pattern: object, *, meter: Meter = _UNMETERED) -> bool:
    """Return whether `pattern` is found somewhere in `text`."""
    if type(text) is str and type(pattern) is str:
        return _search(meter.program(pattern), encoded(text), meter) is not None
    raise NoSuchOverload


def _each(pattern: Program, text: bytes, most: int, meter: Meter) -> list[_Match]:
    """Return the first `most` matches from left to right, none inside of another."""
    found: list[_Match] = []
    at, steps = 0, PATTERN_STEPS_ALL_MAX
    while at <= len(text) and len(found) < most:
        steps -= pattern.programsize * (len(text) - at)
        if steps < 0 or len(found) > ITEMS_MAX:
            raise BudgetExceeded
        meter.spend(searching(pattern, len(text) - at) + (_MATCHED if found else 0))
        match = pattern.search(text, at)
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


def replace(
    text: object, pattern: object, new: object, count: object = -1, *, meter: Meter = _UNMETERED
) -> str:
    r"""Return `text` with the first `count` matches replaced; all if it is negative.

    `\1` in `new` is the first group.
    """
    if not (type(text) is str and type(pattern) is str and type(new) is str):
        raise NoSuchOverload
    if type(count) is not int:
        raise NoSuchOverload
    program, data = meter.program(pattern), encoded(text)
    pieces = _rewrite(encoded(new), program.groups)
    out: list[bytes] = []
    at, room = 0, TEXT_CHARS_MAX * 4
    for match in _each(program, data, ITEMS_MAX + 2 if count < 0 else count, meter):
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


def _one_group(text: object, pattern: object, meter: Meter) -> tuple[Program, bytes, int]:
    if type(text) is not str or type(pattern) is not str:
        raise NoSuchOverload
    program = meter.program(pattern)
    if program.groups > 1:
        raise InvalidArgument
    return program, encoded(text), program.groups


def find(text: object, pattern: object, *, meter: Meter = _UNMETERED) -> str:
    """Return the first match as a whole, or an empty text."""
    if type(text) is not str or type(pattern) is not str:
        raise NoSuchOverload
    match = _search(meter.program(pattern), encoded(text), meter)
    return (match.group(0) or b"").decode() if match else ""


def find_all(
    text: object, pattern: object, count: object = -1, *, meter: Meter = _UNMETERED
) -> list[object]:
    """Return the first `count` matches as wholes; all, the empty ones too, if it is negative."""
    if type(text) is not str or type(pattern) is not str or type(count) is not int:
        raise NoSuchOverload
    most = ITEMS_MAX + 2 if count < 0 else count
    found = _each(meter.program(pattern), encoded(text), most, meter)
    return [(match.group(0) or b"").decode() for match in found]


def extract(text: object, pattern: object, *, meter: Meter = _UNMETERED) -> Maybe:
    """Return the first match, or its one group, optionally."""
    program, data, group = _one_group(text, pattern, meter)
    match = _search(program, data, meter)
    return Maybe((match.group(group) or b"").decode(), has=True) if match else NONE


def extract_all(text: object, pattern: object, *, meter: Meter = _UNMETERED) -> list[object]:
    """Return all matches, or their one group each, without the empty ones."""
    program, data, group = _one_group(text, pattern, meter)
    found = [match.group(group) for match in _each(program, data, ITEMS_MAX + 2, meter)]
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
    metered(function("matches", matches, "string, string -> bool")),
    metered(member("matches", matches, "string, string -> bool")),
    metered(member("find", find, "string, string -> string")),
    metered(member("findAll", find_all, "string, string -> list(string)")),
    metered(member("findAll", find_all, "string, string, int -> list(string)")),
    metered(function("regex.replace", replace, "string, string, string -> string")),
    metered(function("regex.replace", replace, "string, string, string, int -> string")),
    metered(function("regex.extract", extract, "string, string -> optional(string)")),
    metered(function("regex.extractAll", extract_all, "string, string -> list(string)")),
    function("glob", glob, "string, string -> bool"),
)
