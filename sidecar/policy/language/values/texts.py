"""How values are written as text: doubles, times, addresses; what `string()` and JSON show."""

import ipaddress
import math
from decimal import Decimal

from sidecar.policy.language.values.kinds import NANOS, Cidr, Duration, Ip, Timestamp

DAY_S = 86_400
# Days from 0000-03-01 to 1970-01-01, and the days of 400 years, after which the calendar repeats.
_EPOCH_DAYS = 719_468
_ERA_DAYS = 146_097


def double_text(number: float) -> str:
    """Return the shortest text that reads back as `number`, as C's `%g` would lay it out.

    An exponent is written below 10^-4 and from 10^6: `1e+06`, `0.0001`, `123456`.
    """
    if not math.isfinite(number):
        return "nan" if math.isnan(number) else "inf" if number > 0 else "-inf"
    is_negative, digits, exponent = Decimal(repr(number)).as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits)).lstrip("0")
    sign = "-" if is_negative else ""
    # The place of the decimal point, counted from the first digit.
    point = len(text) + exponent
    text = text.rstrip("0")
    if not text:
        return f"{sign}0"
    if not -4 <= point - 1 < 6:
        rest = f".{text[1:]}" if text[1:] else ""
        return f"{sign}{text[0]}{rest}e{point - 1:+03d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{text}"
    whole, fraction = text[:point].ljust(point, "0"), text[point:]
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def date_of(days: int) -> tuple[int, int, int]:
    """Return year, month and day of the day so many days after 1970-01-01, in any year.

    The year is counted from March, so that the leap day is its last.
    Source: H. Hinnant, chrono-Compatible Low-Level Date Algorithms.
    """
    era, day_of_era = divmod(days + _EPOCH_DAYS, _ERA_DAYS)
    year_of_era = (
        day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (month <= 2)
    return year, month, day_of_year - (153 * shifted + 2) // 5 + 1


def grouped(nanos: int) -> str:
    """Return a fraction of a second in 0, 3, 6 or 9 digits, with its point."""
    if not nanos:
        return ""
    digits = f"{nanos:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f".{digits}"


def trimmed(nanos: int) -> str:
    """Return a fraction of a second in as few digits as it has, with its point."""
    return f".{nanos:09d}".rstrip("0") if nanos else ""


def timestamp_text(time: Timestamp, *, is_trimmed: bool = False) -> str:
    """Return an instant as RFC 3339 has it, in UTC."""
    seconds, nanos = divmod(time.nanos, NANOS)
    days, second = divmod(seconds, DAY_S)
    year, month, day = date_of(days)
    clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    fraction = trimmed(nanos) if is_trimmed else grouped(nanos)
    return f"{year:04d}-{month:02d}-{day:02d}T{clock}{fraction}Z"


def duration_text(duration: Duration) -> str:
    """Return a span in seconds: `5400s`, `-1.500s`."""
    seconds, nanos = divmod(abs(duration.nanos), NANOS)
    return f"{'-' if duration.nanos < 0 else ''}{seconds}{grouped(nanos)}s"


def ip_text(ip: Ip) -> str:
    """Return an address in its one canonical form (RFC 5952)."""
    if ip.version == 4:
        return str(ipaddress.IPv4Address(ip.number))
    return str(ipaddress.IPv6Address(ip.number))


def cidr_text(cidr: Cidr) -> str:
    """Return an address with the length of its prefix."""
    return f"{ip_text(cidr.ip)}/{cidr.prefix}"
