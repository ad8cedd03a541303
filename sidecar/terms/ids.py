"""UUIDv7 identifiers and RFC 3339 times; clock and randomness are arguments."""

from datetime import UTC, datetime

from sidecar.terms.words import CallId


def uuid7(unix_ms: int, random_80: bytes) -> CallId:
    """Return a version 7 UUID as text: sortable by time, unique by its random part.

    Args:
        unix_ms: Milliseconds since the Unix epoch.
        random_80: Ten random bytes, of which 74 bits are used.

    Source: RFC 9562 §5.7.
    """
    assert len(random_80) == 10
    tail = int.from_bytes(random_80, "big")
    value = (unix_ms & ((1 << 48) - 1)) << 80
    value |= 0x7 << 76
    value |= ((tail >> 62) & 0xFFF) << 64
    value |= 0x2 << 62
    value |= tail & ((1 << 62) - 1)
    digits = f"{value:032x}"
    return CallId("-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])))


def rfc3339(unix_us: int) -> str:
    """Return UTC time with exactly six decimals, as every record carries it (RFC 3339 §5.6)."""
    moment = datetime.fromtimestamp(unix_us // 1_000_000, tz=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{unix_us % 1_000_000:06d}Z"
