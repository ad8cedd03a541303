"""At the recorder: stencils that a worker has said, and the records that are made of them."""

import re
from struct import Struct
from typing import ClassVar, Final

import msgspec

from sidecar.record.keeping.obeyed import is_obeyed
from sidecar.record.limits import STENCILS_MAX
from sidecar.record.proof.marks import Placeable
from sidecar.record.recorder.shape import check, ends_in_escape
from sidecar.record.recorder.stencils.values import (
    DIGEST_BYTES,
    ID_BYTES,
    SAMPLES,
    TIME_BYTES,
    count_of,
)
from sidecar.record.recorder.wire import Garbled, Item, Made, Outline
from sidecar.terms.record import Hole

# These cut what came in one piece.
_ids: Final = Struct(f"{ID_BYTES}s").iter_unpack
_times: Final = Struct(f"{TIME_BYTES}s").iter_unpack
_digests: Final = Struct(f"{2 * DIGEST_BYTES}s").iter_unpack
# The last of all values, and behind it the end of its text and a colon.
_IN_NAME: Final = re.compile(rb'(?:%b)(?:[^"\\]|\\.)*+":' % b"|".join(map(re.escape, SAMPLES[-1])))


class Filled(msgspec.Struct, frozen=True, gc=False):
    """A decision's record: an outline, and the values of one of its records, the digest in hex."""

    outline: Outline
    head_size: int
    id: bytes
    time: bytes
    digest: bytes

    # A decision is obeyed by nobody.
    is_plain: ClassVar[bool] = True

    @property
    def head(self) -> bytes:
        """Return what stands before its place."""
        one, two, three, four, five, six = self.outline.head
        id, time = self.id, self.time
        return b"".join((one, id, two, self.digest, three, id, four, time, five, time, six))

    def placed(self, place: bytes) -> bytes:
        """Return the record with `place`, and the commas around it."""
        # One copy instead of two: this is on the way of every record.
        one, two, three, four, five, six = self.outline.head
        before, behind = self.outline.tail
        id, time = self.id, self.time
        return b"".join((
            one, id, two, self.digest, three, id, four, time, five, time, six,
            place, before, time, behind,
        ))  # fmt: skip


class _Known(msgspec.Struct, frozen=True):
    """An outline, and how many bytes its records have: before their place, and in all."""

    outline: Outline
    head_size: int
    size: int


class Outlines:
    """Those of one connection, by their numbers."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._known)

    def take(self, said: Outline) -> None:
        """Take what a worker says from here on. Raises Garbled where it makes no records."""
        if not 0 <= said.number < STENCILS_MAX:
            raise Garbled("a stencil without a number")
        if said.hole is not None:
            _check_hole(said.head, said.hole)
        size = head_size = 0
        for id, time, digest in SAMPLES:
            told = said if said.hole is None else _of_text(said, said.hole, digest)
            if any(map(ends_in_escape, (*told.head[:-1], told.tail[0]))):
                raise Garbled("a stencil that ends within a letter")
            head, tail = Filled(told, 0, id, time, digest).head, time.join(said.tail)
            check(Item(id.decode(), head, tail, said.opens))
            if _IN_NAME.search(head) or _IN_NAME.search(tail):
                # Names are sorted, and none stands twice: that hangs on the values.
                raise Garbled("a stencil with a value in a name")
            if is_obeyed(head):
                # A start would ask for its signature, and nobody signs it: decisions are obeyed by
                # nobody.
                raise Garbled("a stencil that looks like a record that is obeyed")
            head_size, size = len(head), len(head) + len(tail) + 1
        self._known[said.number] = _Known(said, head_size, size)

    def forget(self) -> None:
        """Forget all of them."""
        self._known.clear()

    def filled(self, made: Made) -> tuple[list[str], list[Placeable], _Known]:
        """Return ids and records, and what they have in common. Raises Garbled."""
        known = self._known.get(made.number)
        count = count_of(made)
        if known is None or not count or bool(made.texts) is (known.outline.hole is None):
            raise Garbled("records of no stencil")
        ids, times, digests = made.ids, made.times, made.digests.hex().encode()
        outline, head_size = known.outline, known.head_size
        letters = ids.decode("ascii")
        if outline.hole is not None:
            texts = made.texts.hex().encode()
            of_each = [_of_text(outline, outline.hole, text) for (text,) in _digests(texts)]
        elif count == 1:
            return [letters], [Filled(outline, head_size, ids, times, digests)], known
        else:
            of_each = [outline] * count
        # INVARIANT: as many of each, so said `count_of`.
        values = zip(of_each, _ids(ids), _times(times), _digests(digests), strict=True)
        filled: list[Placeable] = [
            Filled(its, head_size, id, time, digest) for its, (id,), (time,), (digest,) in values
        ]
        told = [letters[at : at + ID_BYTES] for at in range(0, len(letters), ID_BYTES)]
        return told, filled, known


def _check_hole(head: tuple[bytes, ...], hole: Hole) -> None:
    """Refuse one that is not within a piece, or begins within a letter."""
    at, begin = hole
    is_within = 0 <= at < len(head) and 0 <= begin <= len(head[at]) - 2 * DIGEST_BYTES
    if not is_within or ends_in_escape(head[at][:begin]):
        raise Garbled("a stencil with a hole that is none")


def _of_text(outline: Outline, hole: Hole, text: bytes) -> Outline:
    """Return an outline of the one text with this digest, in hexadecimal digits."""
    one, two, three, four, five, six = hole.filled(outline.head, text)
    return Outline(outline.number, (one, two, three, four, five, six), outline.tail, outline.opens)
