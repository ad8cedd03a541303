r"""Find persons' ids wherever they stand in the texts of a call, and put handles in their place.

An id is found as a word or a segment, in whatever case, and so when its letters are escaped:
percent-encoded any number of times, or as in JSON (`\u0040`). An id with an `@` is found inside of
words too. Ids of less than three characters would be found everywhere: they are left.

Almost no text names anybody once the handles are where they belong. So a text is first asked
whether it may; only then is it read again, and where letters are escaped also as what they mean,
with each place led back to where it was.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from itertools import islice
from typing import Final, TypeVar, cast

import msgspec

from sidecar.record.limits import (
    SEARCHED_CHARS_MIN,
    SWEPT_CHARS_MAX,
    SWEPT_COST_MAX,
    SWEPT_PLAIN_CHARS,
    SWEPT_SPAN_COST,
    SWEPT_SPANS_MAX,
    SWEPT_TEXT_COST,
)
from sidecar.terms.call import Json, Party, remembers
from sidecar.terms.decision import Obligation, RuleError
from sidecar.terms.record import PartyRecord, TargetRecord
from sidecar.terms.request import Action, ParseProblem, ParseStatus, Request, Resource, Target

MASK: Final = "***"
ID_CHARS_MIN: Final = 3
_LAYERS: Final = 3
_ESCAPED = re.compile(r"%(?:25)*([0-9a-f]{2})")
# Escaped letters of which an escape may be made, where they are read again.
_AGAIN: Final = frozenset(f"{ord(letter):02x}" for letter in "0123456789ABCDEFabcdef\\")
_ESCAPE = re.compile(
    r"%(?:25)*([0-9A-Fa-f]{2})|\\{1,8}(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|([nrtbf])|([\"/]))"
)
# A word ends where `_` begins: `users_alice` names Alice.
_BEFORE, _BEHIND = r"(?<![^\W_])", r"(?![^\W_])"
# What of each struct is a caller's to say. The rest are words of ours, or of the policy.
_TEXTS: Final[Mapping[type, tuple[str, ...]]] = {
    Party: ("id", "properties"),
    PartyRecord: ("id",),
    Action: ("name", "properties"),
    Resource: ("type", "id", "upstream", "labels", "properties"),
    Target: ("action", "resource"),
    TargetRecord: ("action", "resource", "upstream", "labels", "at"),
    ParseStatus: ("parser", "missing", "ambiguities", "error"),
    ParseProblem: ("text",),
    RuleError: ("resource", "text"),
    Obligation: ("target", "values"),
    Request: (
        "upstream", "protocol", "subject", "actors", "targets", "context", "request", "parse",
        "parts", "at",
    ),
}  # fmt: skip
_Span = tuple[int, int, str]
_Any = TypeVar("_Any")
# The patterns that are made of ids are remembered where all patterns are.
remembers(re.purge)


class Sweep:
    """The ids of the persons of one call.

    Args:
        handles: Id → handle; all of at least `ID_CHARS_MIN` characters.
    """

    def __init__(self, handles: Mapping[str, str]) -> None:
        self._ids = sorted(handles, key=len, reverse=True)
        self._handles = handles
        needles = {id_.casefold(): None for id_ in self._ids}
        for id_ in self._ids:
            # As it stands in JSON, and in a form that was sent.
            needles[msgspec.json.encode(_sendable(id_)).decode()[1:-1].casefold()] = None
            needles[id_.casefold().replace(" ", "+")] = None
        self._needles = tuple(needles)
        self._escapes = _AGAIN.union(
            f"{byte:02x}"
            for id_ in self._ids
            for form in (id_, id_.lower(), id_.upper())
            for byte in _sendable(form).encode()
        )
        self.begin()
        self._is_odd = any(letter in '"\\' or letter < " " for id_ in self._ids for letter in id_)

    def begin(self) -> None:
        """Begin with another call: how much is looked through is bounded for each."""
        self._left = SWEPT_COST_MAX

    def is_near(self, text: str) -> bool:
        """Return whether `text`, which may be JSON, may name somebody; most do not."""
        folded = text.casefold()
        for needle in self._needles:
            if needle in folded:
                return True
        if "%" in folded and ("25" in self._escapes or self._is_escaped(folded)):
            return True
        return "\\" in folded and (self._is_odd or "\\u" in folded or "\\x" in folded)

    def _is_escaped(self, folded: str) -> bool:
        """Return whether a letter of an id may stand in `folded` percent-encoded."""
        if len(folded) < SEARCHED_CHARS_MIN:
            return not self._escapes.isdisjoint(_ESCAPED.findall(folded))
        return self._escape.search(folded) is not None

    def text(self, text: str) -> str:
        """Return `text` with handles for whoever is named in it; the very same where nobody is."""
        if not self.is_near(text):
            return text
        is_escaped = "%" in text or "\\" in text
        self._left -= SWEPT_TEXT_COST + len(text) // (1 if is_escaped else SWEPT_PLAIN_CHARS)
        if self._left < 0:
            return MASK
        if is_escaped and len(text) > SWEPT_CHARS_MAX:
            return MASK if self._is_named(text, _LAYERS) else text
        spans = self._spans(text, _LAYERS)
        self._left -= SWEPT_SPAN_COST * len(spans)
        if len(spans) > SWEPT_SPANS_MAX:
            return MASK
        return _replaced(text, spans) if spans else text

    def value(self, value: _Any) -> _Any:
        """Return a value, a struct of the above or a list of them, with handles in its texts."""
        return cast(_Any, self._value(value))

    def _value(self, value: Json) -> Json:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {
                self.text(name) if isinstance(name, str) else name: self._value(member)
                for name, member in value.items()
            }
        if isinstance(value, list):
            return [self._value(member) for member in value]
        if isinstance(value, tuple):
            return tuple([self._value(member) for member in value])
        names = _TEXTS.get(type(value))
        if names is None:
            return value
        found = {name: self._value(getattr(value, name)) for name in names}
        if isinstance(value, Request) and "time" in value.context:
            # The sidecar's own, and what equal calls differ in.
            found["context"]["time"] = value.context["time"]
        return msgspec.structs.replace(value, **found)

    @cached_property
    def _escape(self) -> re.Pattern[str]:
        """Return what finds the first escape of a letter of an id."""
        return re.compile(f"%(?:25)*(?:{'|'.join(sorted(self._escapes))})")

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Return what finds each id; its group says which."""
        return re.compile("|".join(map(_either, self._ids)), re.IGNORECASE)

    def _spans(self, text: str, layers: int) -> list[_Span]:
        """Return where ids stand in `text`, also those that stand there escaped."""
        spans = []
        for found in islice(self._pattern.finditer(text), SWEPT_SPANS_MAX + 1):
            assert found.lastindex is not None
            handle = self._handles[self._ids[found.lastindex - 1]]
            spans.append((found.start(), found.end(), handle))
        if layers and ("%" in text or "\\" in text):
            told, place = _placed(text)
            if told != text:
                below = self._spans(told, layers - 1)
                spans += [(place(start), place(end), handle) for start, end, handle in below]
        return spans

    def _is_named(self, text: str, layers: int) -> bool:
        """Return whether an id stands in `text`, wherever that is."""
        if self._pattern.search(text):
            return True
        told = _ESCAPE.sub(_meant, text) if layers else text
        return told != text and self._is_named(told, layers - 1)


def _either(id: str) -> str:
    """Return what matches `id` in each of its forms, as one group."""
    cases = (id, id.lower(), id.upper())
    # Escapes are read byte by byte, or in the halves that JSON has.
    escaped = [_sendable(case).encode().decode("latin-1") for case in cases]
    forms = dict.fromkeys((*cases, *escaped, "".join(map(_halves, id)), id.replace(" ", "+")))
    if id.isascii():
        forms = dict.fromkeys((id, id.replace(" ", "+")))
    if "@" in id:
        return f"({'|'.join(map(re.escape, forms))})"
    return f"({'|'.join(map(_word, forms))})"


def _word(form: str) -> str:
    before = _BEFORE if form[0].isalnum() else ""
    return f"{before}{re.escape(form)}{_BEHIND if form[-1].isalnum() else ''}"


def _halves(letter: str) -> str:
    code = ord(letter) - 0x10000
    return letter if code < 0 else chr(0xD800 + (code >> 10)) + chr(0xDC00 + (code & 0x3FF))


def _sendable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _meant(found: re.Match[str]) -> str:
    """Return what an escape stands for."""
    percent, four, two, blank, itself = found.groups()
    if blank or itself:
        return itself or " "
    return chr(int(percent or four or two, 16))


def _placed(text: str) -> tuple[str, Callable[[int], int]]:
    """Return `text` with its escapes read, and what leads a place in that back to `text`."""
    pieces: list[str] = []
    mine: list[int] = []
    theirs: list[int] = []
    at = length = 0
    for found in _ESCAPE.finditer(text):
        run = text[at : found.start()]
        mine += (length, length + len(run))
        theirs += (at, found.start())
        pieces += (run, _meant(found))
        length += len(run) + 1
        at = found.end()
    mine.append(length)
    theirs.append(at)
    pieces.append(text[at:])

    def place(index: int) -> int:
        nth = bisect_right(mine, index) - 1
        return theirs[nth] + index - mine[nth]

    return "".join(pieces), place


def _replaced(text: str, spans: Iterable[_Span]) -> str:
    """Return `text` with a handle for each span; where some overlap, for all that they cover."""
    pieces: list[str] = []
    at = 0
    for start, end, handle in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start >= at:
            pieces += (text[at:start], handle)
        at = max(at, end)
    return "".join((*pieces, text[at:]))
