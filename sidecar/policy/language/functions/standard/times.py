"""Timestamps and durations: read from text, and taken apart, in UTC or another zone.

Zones come from the `tzdata` package, never from the machine: two machines with one bundle and one
lock file must decide alike. A zone is a name that the package lists, or `+05:30`.

Source: RFC 3339; https://github.com/google/cel-spec/blob/master/doc/langdef.md#timezones
"""

import datetime as dt
import re
from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from typing import Final
from zoneinfo import ZoneInfo

from sidecar.policy.language.faults import BadConversion, InvalidArgument, NoSuchOverload, Overflow
from sidecar.policy.language.functions.signature import Function, function, member
from sidecar.policy.language.values.kinds import (
    DURATION_MAX,
    NANOS,
    Duration,
    Timestamp,
    instant,
)
from sidecar.policy.language.values.limits import SCALAR_CHARS_MAX
from sidecar.policy.language.values.texts import DAY_S, date_of

_RFC3339: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_PART: Final = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|ms|s|m|h)")
_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": NANOS,
    "m": 60 * NANOS,
    "h": 3_600 * NANOS,
}
_OFFSET: Final = re.compile(r"([+-]?)([0-9]{1,2}):([0-9]{2})")
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_EPOCH_ORDINAL: Final = dt.date(1970, 1, 1).toordinal()
# Told apart from every value, null included.
_NO_ZONE: Final = object()
# Two days inside of what Python's datetime can shift; no zone changes so near the ends of time.
_SHIFT_MIN_S: Final = -62_135_596_800 + 2 * DAY_S
_SHIFT_MAX_S: Final = 253_402_300_800 - 2 * DAY_S


def to_timestamp(value: object) -> Timestamp:
    """Return an instant: of a string RFC 3339, of an int seconds since 1970."""
    if type(value) is Timestamp:
        return value
    if type(value) is int:
        return instant(value * NANOS)
    if type(value) is str:
        return _read_timestamp(value)
    raise NoSuchOverload


def _read_timestamp(text: str) -> Timestamp:
    read = _RFC3339.fullmatch(text) if len(text) <= SCALAR_CHARS_MAX else None
    if read is None:
        raise BadConversion
    year, month, day, hour, minute, second = (int(read[group]) for group in range(1, 7))
    if not year:
        raise Overflow
    # A leap second has no instant of its own, so its text names none.
    if hour > 23 or minute > 59 or second > 59:
        raise BadConversion
    try:
        days = dt.date(year, month, day).toordinal() - _EPOCH_ORDINAL
    except ValueError:
        raise BadConversion from None
    seconds = days * DAY_S + hour * 3600 + minute * 60 + second
    if read[8]:
        seconds -= _offset_s(read[8], int(read[9]), int(read[10]), BadConversion)
    return instant(seconds * NANOS + int((read[7] or "")[:9].ljust(9, "0")))


def _offset_s(sign: str, hours: int, minutes: int, fault: type[Exception]) -> int:
    if hours > 23 or minutes > 59:
        raise fault
    offset_s = hours * 3600 + minutes * 60
    return -offset_s if sign == "-" else offset_s


def to_duration(value: object) -> Duration:
    """Return a span: of a string such as `1h30m`, `-1.5s`, `0`."""
    if type(value) is Duration:
        return value
    if type(value) is not str:
        raise NoSuchOverload
    if not value or len(value) > SCALAR_CHARS_MAX:
        raise BadConversion
    body = value[1:] if value[0] in "+-" else value
    nanos = 0 if body == "0" else _sum_of_parts(body)
    if nanos > DURATION_MAX:
        raise Overflow
    return Duration(-nanos if value[0] == "-" else nanos)


def _sum_of_parts(body: str) -> int:
    at, nanos = 0, 0
    while part := _PART.match(body, at):
        whole, fraction, unit = part[1], part[2] or "", _UNITS[part[3]]
        if not whole and not fraction:
            raise BadConversion
        nanos += int(whole or "0") * unit + int(fraction or "0") * unit // 10 ** len(fraction)
        at = part.end()
    if at != len(body) or not body:
        raise BadConversion
    return nanos


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    try:
        listed = resources.files("tzdata").joinpath("zones").read_text("ascii")
    except (ModuleNotFoundError, OSError):
        raise InvalidArgument from None
    return frozenset(listed.split())


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    # The package's own list decides, so that no file system is asked for a name of the caller's.
    if name not in _zone_names():
        raise InvalidArgument
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, name)


def _shift_s(seconds: int, zone: object) -> int:
    """Return how many seconds a zone's clock is ahead of UTC at an instant."""
    if zone is _NO_ZONE:
        return 0
    if type(zone) is not str:
        raise NoSuchOverload
    if zone in {"", "UTC"}:
        return 0
    if len(zone) > SCALAR_CHARS_MAX:
        raise InvalidArgument
    if read := _OFFSET.fullmatch(zone):
        return _offset_s(read[1], int(read[2]), int(read[3]), InvalidArgument)
    near = min(max(seconds, _SHIFT_MIN_S), _SHIFT_MAX_S)
    offset = (_EPOCH + dt.timedelta(seconds=near)).astimezone(_zone(zone)).utcoffset()
    assert offset is not None
    return offset.days * DAY_S + offset.seconds


def _full_year(seconds: int) -> int:
    return date_of(seconds // DAY_S)[0]


def _month(seconds: int) -> int:
    return date_of(seconds // DAY_S)[1] - 1


def _day_of_month(seconds: int) -> int:
    return date_of(seconds // DAY_S)[2]


def _day_of_week(seconds: int) -> int:
    return (seconds // DAY_S + 4) % 7


def _day_of_year(seconds: int) -> int:
    days = seconds // DAY_S
    year = date_of(days)[0]
    before = year - 1
    # Leap days since 1970, of which 477 came before.
    leaps = before // 4 - before // 100 + before // 400 - 477
    return days - 365 * (year - 1970) - leaps


_ON_CLOCK: Final[dict[str, Callable[[int], int]]] = {
    "getFullYear": _full_year,
    "getMonth": _month,
    "getDate": _day_of_month,
    "getDayOfMonth": lambda seconds: _day_of_month(seconds) - 1,
    "getDayOfWeek": _day_of_week,
    "getDayOfYear": _day_of_year,
    "getHours": lambda seconds: seconds // 3600 % 24,
    "getMinutes": lambda seconds: seconds // 60 % 60,
    "getSeconds": lambda seconds: seconds % 60,
}
_ON_SPAN: Final = {
    "getHours": 3_600 * NANOS,
    "getMinutes": 60 * NANOS,
    "getSeconds": NANOS,
}


def _getter(name: str) -> Callable[..., int]:
    read, unit = _ON_CLOCK[name], _ON_SPAN.get(name)

    def get(time: object, zone: object = _NO_ZONE) -> int:
        if type(time) is Timestamp:
            seconds = time.nanos // NANOS
            return read(seconds + _shift_s(seconds, zone))
        if type(time) is Duration and unit and zone is _NO_ZONE:
            return _cut(time.nanos, unit)
        raise NoSuchOverload

    return get


def _cut(nanos: int, unit: int) -> int:
    whole = abs(nanos) // unit
    return -whole if nanos < 0 else whole


def milliseconds(time: object, zone: object = _NO_ZONE) -> int:
    """Return the milliseconds within the second; of a negative span they are negative."""
    if type(time) is Timestamp:
        _shift_s(0, zone)
        return time.nanos % NANOS // 1_000_000
    if type(time) is Duration and zone is _NO_ZONE:
        within = _cut(abs(time.nanos) % NANOS, 1_000_000)
        return -within if time.nanos < 0 else within
    raise NoSuchOverload


def _getters() -> list[Function]:
    made: list[Function] = []
    for name in (*_ON_CLOCK, "getMilliseconds"):
        call = milliseconds if name == "getMilliseconds" else _getter(name)
        is_span = name in _ON_SPAN or call is milliseconds
        taken = ("timestamp -> int", "duration -> int") if is_span else ("timestamp -> int",)
        made += [member(name, call, *taken), member(name, call, "timestamp, string -> int")]
    return made


DECLARED: Final = (
    function(
        "timestamp",
        to_timestamp,
        "timestamp -> timestamp",
        "string -> timestamp",
        "int -> timestamp",
    ),
    function("duration", to_duration, "duration -> duration", "string -> duration"),
    *_getters(),
)
