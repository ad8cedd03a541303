"""What one frame of a worker brought, on its way to the disk."""

import time
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

import msgspec

from sidecar.record.limits import BATCH_BYTES_MAX, BATCH_RECORDS_MAX
from sidecar.record.proof.marks import Placeable
from sidecar.record.recorder.shape import WORKERS, Says, check
from sidecar.record.recorder.stencils.outlines import Outlines
from sidecar.record.recorder.wire import Garbled, Item, Write
from sidecar.terms.errors import RecordError
from sidecar.terms.record import SideObject

C = TypeVar("C")
UNWANTED: Final = "nobody waits for the record any more"
TOO_EARLY: Final = "what was sent before it is not written yet"


class Brought(msgspec.Struct):
    """One frame, looked at.

    Args:
        number: The frame's.
        until_us: When it is wanted no more, 0 for never.
        side: Objects that must be durable before its records.
        ids: Of its records.
        records: They.
        opens: Those of them that await an outcome.
        closes: The decisions whose outcomes are among them.
        is_strict: Whether one of them has to be durable, whatever the ledger promises for others.
        size: How many bytes they have, about.
    """

    number: int
    until_us: int
    side: list[SideObject] = []
    ids: list[str] = []
    records: list[Placeable] = []
    opens: list[str] = []
    closes: list[str] = []
    is_strict: bool = False
    size: int = 0

    def take(self, items: Sequence[Item], says: Says) -> None:
        """Take records that came whole. Raises Garbled."""
        for item in items:
            check(item, says)
            self.ids.append(item.id)
            self.records.append(item)
            self.size += len(item.head) + len(item.tail)
            self.is_strict = self.is_strict or item.strict
            if item.opens:
                self.opens.append(item.id)
            if item.closes is not None:
                self.closes.append(item.closes)

    def closing(self) -> list[str]:
        """Return the decisions whose outcomes are to be written."""
        items = (one for one in self.records if isinstance(one, Item))
        return [one.closes for one in items if one.closes is not None]

    def without(self, is_known: Callable[[str], bool], is_closed: Callable[[str], bool]) -> None:
        """Let go of records that are known, and of outcomes of decisions that are closed."""
        kept = [
            (id, record)
            for id, record in zip(self.ids, self.records, strict=True)
            if not is_known(id)
            and not (
                isinstance(record, Item) and record.closes is not None and is_closed(record.closes)
            )
        ]
        self.ids = [id for id, _ in kept]
        self.records = [record for _, record in kept]
        # INVARIANT: not of `closes`: what was closed by a record that is known is closed.
        self.opens = [id for id in self.opens if id in self.ids]


def brought(write: Write, outlines: Outlines, says: Says = WORKERS) -> Brought:
    """Return what a frame brings. Raises Garbled."""
    if len(write.made) == 1 and not (write.items or write.side or write.made[0].at):
        # Nothing but records of one stencil, as of most frames.
        ids, records, known = outlines.filled(write.made[0])
        opens = list(ids) if known.outline.opens else []
        size = known.size * len(ids)
        return Brought(
            write.number, write.until_us, ids=ids, records=records, opens=opens, size=size
        )
    found = Brought(write.number, write.until_us)
    if write.side:
        found.side = [SideObject(one.digest, one.data) for one in write.side]
        found.size = sum(len(one.data) for one in write.side)
    at, items = 0, write.items
    for made in write.made:
        if not at <= made.at <= len(items):
            raise Garbled("records that stand nowhere")
        found.take(items[at : made.at], says)
        at = made.at
        ids, records, known = outlines.filled(made)
        found.ids += ids
        found.records += records
        found.size += known.size * len(ids)
        if known.outline.opens:
            found.opens += ids
    found.take(items[at:], says)
    return found


class Sent(Generic[C]):
    """A batch of the ledger's.

    Args:
        connection: Brought it.
        brought: What does not stand in the log yet.
        settled: Is told what came of it.
    """

    # It is settled on the thread that has read it.
    loop: Final = None

    __slots__ = (
        "_settled",
        "_until_us",
        "closes",
        "connection",
        "halves",
        "ids",
        "is_strict",
        "number",
        "opens",
        "side",
        "size",
    )

    def __init__(
        self,
        connection: C,
        brought: Brought,
        settled: "Callable[[Sent[C], RecordError | None], None]",
    ) -> None:
        self.connection = connection
        self.number = brought.number
        self.halves: Sequence[Placeable] = brought.records
        self.ids = brought.ids
        self.opens = brought.opens
        # Of all that was sent, also of what stands in the log already.
        self.closes = brought.closes
        self.side: Sequence[SideObject] = brought.side
        self.is_strict = brought.is_strict
        self.size = brought.size
        self._until_us = brought.until_us
        self._settled = settled

    @property
    def is_owed(self) -> bool:
        """Return whether it must be written whenever it can be."""
        return not self._until_us

    def is_wanted(self) -> bool:
        """Return whether its worker still waits."""
        return not self._until_us or time.monotonic_ns() // 1000 < self._until_us

    def settle(self, error: RecordError | None) -> None:
        """Tell the recorder."""
        self._settled(self, error)


class Turn(Generic[C]):
    """What is written together."""

    def __init__(self) -> None:
        self.sent: list[Sent[C]] = []
        self.ids: set[str] = set()
        self.records = 0
        self.began_s = 0.0
        self._size = 0

    @property
    def is_full(self) -> bool:
        """Return whether it takes nothing more."""
        return self.records >= BATCH_RECORDS_MAX or self._size >= BATCH_BYTES_MAX

    def add(self, sent: Sent[C], ids: list[str]) -> None:
        """Take a frame, with the ids of all that it carries."""
        self.began_s = self.began_s or time.monotonic()
        self.sent.append(sent)
        self.ids.update(ids)
        self.records += len(ids)
        self._size += sent.size

    def opened_beside(self, connection: C) -> set[str]:
        """Return which decisions of other workers are here that await an outcome."""
        return {id for one in self.sent if one.connection is not connection for id in one.opens}
