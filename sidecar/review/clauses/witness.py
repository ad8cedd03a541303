"""Values that make clauses hold: what a field would have to be, so that a request can be made up.

Where clauses go through functions (`size`, `lowerAscii`, `timestamp`) the way back is taken. A
witness is a proposal: who uses it asks the engine whether it does what was hoped for.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from sidecar.review.clauses.conflict import Closed, satisfies
from sidecar.review.clauses.formula import ABSENT, Clause, Instant, Way
from sidecar.review.clauses.patterns import meet
from sidecar.terms.call import Json

_OTHER: Final = "other"
_CALLED: Final = re.compile(r"(\w+)\((.+)\)\Z")
# A Monday; CEL counts the days of a week from Sunday, which is 0.
_DAY: Final = datetime.fromisoformat("2026-01-05T12:00:00+00:00")
_CLOCK: Final = frozenset({"getHours", "getMinutes", "getDayOfWeek"})
_LITERAL: Final = re.compile(r"[\w@ /:,=-]+\Z")


class Witness(msgspec.Struct, frozen=True):
    """A value for each field that some clause asks about, and the fields that must not be there."""

    values: Mapping[str, Json]
    absent: frozenset[str]


class _Unsolved(Exception):
    """No value was found for a field."""


def witness(way: Way, closed: Closed | None = None) -> Witness | None:
    """Return values that make all of these clauses hold, None where none were found."""
    by_field: dict[str, list[Clause]] = defaultdict(list)
    for clause in way:
        if clause.kind != "opaque":
            by_field[clause.field].append(clause)
    found = _Found()
    try:
        for field, clauses in by_field.items():
            found.set(field, _value(clauses, (closed or {}).get(field)))
        for clause in way:
            found.join(clause)
    except _Unsolved:
        return None
    return found.witness()


def fits(value: object, clause: Clause) -> bool:
    """Return whether a field of this value makes a clause come out as it must; ABSENT is none."""
    if clause.kind in {"opaque", "same", "among"}:
        return True
    if clause.kind == "has":
        return (value is not ABSENT) is clause.positive
    if value is ABSENT:
        return clause.default is not ABSENT and fits(clause.default, clause)
    if clause.kind == "true":
        return value is clause.positive
    if clause.kind == "matches":
        return isinstance(value, str) and _matches(str(clause.value), value) is clause.positive
    if isinstance(clause.value, Instant):
        return isinstance(value, Instant) and _ordered(value, clause)
    return _is_of_kind(value, clause) and satisfies(_hashed(value), clause)


def _is_of_kind(value: object, clause: Clause) -> bool:
    """Return whether a clause can be asked of such a value without an error."""
    if clause.kind == "member":
        return isinstance(value, list | tuple | dict)
    if clause.kind in {"less", "most"} and not isinstance(clause.value, str):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if clause.kind in {"less", "most"}:
        return isinstance(value, str) and _texts_ordered(value, clause)
    return clause.kind not in {"starts", "ends", "contains", "glob"} or isinstance(value, str)


def _texts_ordered(value: str, clause: Clause) -> bool:
    bound = str(clause.value)
    return (value < bound if clause.kind == "less" else value <= bound) is clause.positive


def _hashed(value: object) -> object:
    return tuple(value) if isinstance(value, list | dict) else value


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return False


def _ordered(value: Instant, clause: Clause) -> bool:
    one, other = _instant(value), _instant(clause.value)
    if one is None or other is None:
        return True
    tests = {"less": one < other, "most": one <= other, "equal": one == other}
    return tests.get(clause.kind, True) is clause.positive


def _instant(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(value.text) if isinstance(value, Instant) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def _value(clauses: list[Clause], words: frozenset[str] | None) -> object:
    """Return a value that all clauses about one field take."""
    offered = sorted(words) if words is not None else _candidates(clauses)
    is_size = clauses[0].field.startswith("size(")
    for value in offered:
        is_possible = not (is_size and isinstance(value, int) and value < 0)
        if is_possible and all(fits(value, clause) for clause in clauses):
            return value
    raise _Unsolved


def _candidates(clauses: list[Clause]) -> Iterator[object]:
    for clause in clauses:
        yield from _near(clause)
    members = tuple(
        dict.fromkeys(one.value for one in clauses if one.kind == "member" and one.positive)
    )
    if any(clause.kind == "member" for clause in clauses):
        yield members
        yield (*members, _OTHER)
    texts = {
        kind: next((str(c.value) for c in clauses if c.kind == kind and c.positive), "")
        for kind in ("starts", "contains", "ends")
    }
    yield "".join(texts.values())
    yield f"{texts['starts']}x{texts['contains']}x{texts['ends']}"
    yield from (True, False, _OTHER, 0, 1, (), ABSENT)


def _near(clause: Clause) -> Iterator[object]:
    """Yield the value that a clause names, and those next to it."""
    value = clause.value
    if clause.kind == "glob" and isinstance(value, str):
        yield meet(value, "*")
    elif clause.kind == "matches" and isinstance(value, str):
        bare = value.removeprefix("^").removesuffix("$").replace("\\.", ".")
        yield from (part for part in bare.split("|") if _LITERAL.match(part.replace(".", "")))
    elif clause.kind in {"equal", "less", "most", "starts", "ends", "contains"}:
        if clause.positive or clause.kind in {"less", "most"}:
            yield value
        yield from _beside(value)


def _beside(value: object) -> Iterator[object]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield from (value - 1, value + 1)
    elif isinstance(value, Instant):
        instant = _instant(value)
        if instant is not None:
            for step in (timedelta(seconds=-1), timedelta(seconds=1)):
                yield Instant((instant + step).isoformat().replace("+00:00", "Z"))
    elif isinstance(value, str) and re.match(r"\d{4}-\d\d", value):
        # A time as text: the year before, the century after.
        yield from ("2000-01-01T00:00:00Z", "2099-01-01T00:00:00Z")


class _Found:
    """Collects values by path."""

    def __init__(self) -> None:
        self._values: dict[str, Json] = {}
        self._absent: set[str] = set()
        self._clock: dict[str, dict[str, int]] = defaultdict(dict)
        self._zones: dict[str, str] = {}

    def set(self, field: str, value: object) -> None:
        """Let a field have a value; a field seen through a function is given what makes it so."""
        called = _CALLED.match(field)
        if called is None or called[1] == "entity":
            self._put(field, value)
        elif called[1] in _CLOCK and isinstance(value, int):
            path, _, zone = called[2].partition(", ")
            path = path.removeprefix("timestamp(").removesuffix(")")
            self._clock[path][called[1]] = value
            self._zones[path] = zone.strip("'") or "UTC"
        elif called[1] == "size" and isinstance(value, int):
            self.set(called[2], tuple(f"x{number}" for number in range(min(max(value, 0), 100))))
        else:
            self.set(called[2], value)

    def _put(self, field: str, value: object) -> None:
        if value is ABSENT:
            self._absent.add(field)
            if field in self._values:
                raise _Unsolved
            return
        told = value.text if isinstance(value, Instant) else _json(value)
        if self._values.setdefault(field, told) != told or field in self._absent:
            raise _Unsolved

    def join(self, clause: Clause) -> None:
        """Make two fields equal, or different; put one into the list that another is."""
        other = str(clause.value)
        if clause.kind == "same" and clause.positive:
            known = self._values.get(clause.field, self._values.get(other, "same"))
            self._put(clause.field, known)
            self._put(other, known)
        elif clause.kind == "same":
            self._values.setdefault(clause.field, "one")
            self._values.setdefault(other, "two")
        elif clause.kind == "among":
            self._values.setdefault(clause.field, "one")
            listed = self._values.get(other, [])
            inside = [self._values[clause.field]] if clause.positive else []
            self._values[other] = [*(listed if isinstance(listed, list) else []), *inside]

    def witness(self) -> Witness:
        """Return all that was found."""
        for path, parts in self._clock.items():
            day = _DAY + timedelta(days=parts.get("getDayOfWeek", 1) - 1)
            time = day.replace(hour=parts.get("getHours", 12), minute=parts.get("getMinutes", 0))
            local = time.replace(tzinfo=_zone(self._zones[path])).astimezone(UTC)
            self._values[path] = local.isoformat().replace("+00:00", "Z")
        return Witness(self._values, frozenset(self._absent))


def _zone(name: str) -> tzinfo:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def _json(value: object) -> Json:
    return [_json(one) for one in value] if isinstance(value, tuple) else value
