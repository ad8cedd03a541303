"""UUIDv7 identifiers and RFC 3339 times; clock and randomness are arguments."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from sidecar.terms.words import CallId

_VARIANTS: Final = bytes.maketrans(b"0123456789abcdef", b"89ab" * 4)
# `xxx-vxxx-xxxxxxxxxxxx`: where each digit but the variant's stands, and which of twenty it is.
_TAIL_CHARS: Final = 21
_PLACES: Final = tuple(
    zip((*range(3), *range(5, 8), *range(9, 21)), (*range(3), *range(4, 19)), strict=True)
)
_LAST: Final = tuple(f"{number:03d}Z" for number in range(1000))


def uuid7(unix_ms: int, random_80: bytes) -> CallId:
    """Return a version 7 UUID as text: sortable by time, unique by its random part.

    Args:
        unix_ms: Milliseconds since the Unix epoch.
        random_80: Ten random bytes, of which 74 bits are used.

    Source: RFC 9562 §5.7.
    """
    assert len(random_80) == 10
    return CallId(uuid7_head(unix_ms) + _tail(random_80))


@lru_cache(maxsize=4)
def uuid7_head(unix_ms: int) -> str:
    """Return the part of an id that many calls share, up to its version."""
    return f"{unix_ms >> 16 & 0xFFFFFFFF:08x}-{unix_ms & 0xFFFF:04x}-7"


def uuid7_tails(random: bytes) -> list[str]:
    """Return what stands behind the version of as many ids as there are ten random bytes.

    They are cut out of their hex text, so of the bits of one id others are used than by `uuid7`.
    """
    # By columns: the digits of one place, of all ids, are one slice.
    text = random.hex().encode()
    out = bytearray(b"-" * (len(random) // 10 * _TAIL_CHARS))
    for place, digit in _PLACES:
        out[place::_TAIL_CHARS] = text[digit::20]
    # Two bits are the variant's, 10, and two are random.
    out[4::_TAIL_CHARS] = text[3::20].translate(_VARIANTS)
    tails = out.decode()
    return [tails[at : at + _TAIL_CHARS] for at in range(0, len(tails), _TAIL_CHARS)]


def _tail(random_80: bytes) -> str:
    # Six bits of the first byte are not used; two of the third stand before the variant.
    first, second, third, fourth = random_80[:4]
    return (
        f"{(first & 3) << 10 | second << 2 | third >> 6:03x}"
        f"-{0x8000 | (third & 0x3F) << 8 | fourth:04x}-{random_80[4:].hex()}"
    )


def rfc3339(unix_us: int) -> str:
    """Return UTC time with exactly six decimals, as every record carries it (RFC 3339 §5.6)."""
    unix_ms, rest_us = divmod(unix_us, 1000)
    # This is on the way of every call, and formatting a number costs more than all the rest.
    return _millisecond(unix_ms) + _LAST[rest_us]


@lru_cache(maxsize=4)
def _millisecond(unix_ms: int) -> str:
    """Return a millisecond as text, but for what ends it; many calls share one."""
    seconds, rest_ms = divmod(unix_ms, 1000)
    return f"{_second(seconds)}.{rest_ms:03d}"


@lru_cache(maxsize=4)
def _second(unix_s: int) -> str:
    """Return a second as text; many calls share one."""
    return f"{datetime.fromtimestamp(unix_s, tz=UTC):%Y-%m-%dT%H:%M:%S}"
