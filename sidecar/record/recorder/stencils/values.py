"""The values in which records of one stencil differ, and the one form that each of them has."""

from typing import Final

from sidecar.record.recorder.wire import Made

# A hexadecimal digit is `x` in the form of a value, a decimal one `d`.
_ID_FORM: Final = b"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
_TIME_FORM: Final = b"dddd-dd-ddTdd:dd:dd.ddddddZ"
ID_BYTES: Final = len(_ID_FORM)
TIME_BYTES: Final = len(_TIME_FORM)
DIGEST_BYTES: Final = 32
# What one record takes on the way, about.
MADE_BYTES: Final = ID_BYTES + TIME_BYTES + DIGEST_BYTES


def _forms(letters: bytes, form: bytes, marks: bytes) -> bytes:
    """Return the table that brings `letters` to one, keeps `marks`, and all else to none."""
    table = bytearray(256)
    for each in letters:
        table[each] = form[0]
    for each in marks:
        table[each] = each
    return bytes(table)


_ID_FORMS: Final = _forms(b"0123456789abcdef", b"x", b"-")
_TIME_FORMS: Final = _forms(b"0123456789", b"d", b"-T:.Z")
# The first and the last of all values. Outside of a text none of the last would be JSON.
SAMPLES: Final = tuple(
    (
        _ID_FORM.replace(b"x", digit),
        _TIME_FORM.replace(b"d", b"9" if digit == b"f" else digit),
        digit * 2 * DIGEST_BYTES,
    )
    for digit in (b"0", b"f")
)


def count_of(made: Made) -> int:
    """Return how many records they are, 0 where they are not all of the one form."""
    count = len(made.ids) // ID_BYTES
    is_so = (
        made.ids.translate(_ID_FORMS) == _ID_FORM * count
        and made.times.translate(_TIME_FORMS) == _TIME_FORM * count
        and len(made.digests) == DIGEST_BYTES * count
        and (not made.texts or len(made.texts) == DIGEST_BYTES * count)
    )
    return count if is_so else 0
