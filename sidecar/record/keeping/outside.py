"""What a ledger is given: the disk, clocks, randomness, and how it is kept."""

from collections.abc import Callable
from typing import Literal

import msgspec

from sidecar.record.disk import Io
from sidecar.record.keeping.upkeep import Retention
from sidecar.record.limits import (
    CHECKPOINT_EVERY_S,
    RESERVE_BYTES,
    SEGMENT_AGE_S_MAX,
    SEGMENT_BYTES_MAX,
    UPKEEP_QUIET_S,
)
from sidecar.record.segments.aside import Hire


class Outside(msgspec.Struct, frozen=True):
    """What is not the ledger's own: the disk, clocks, randomness, and the bounds of one ledger.

    Args:
        io: The disk.
        now_us: The wall clock.
        monotonic_s: A clock that nobody sets.
        random_bytes: Randomness.
        segment_bytes_max: A segment that is larger is full.
        segment_age_s_max: One that is older is full as well.
        checkpoint_every_s: What is newer than the last checkpoint can be cut off unseen.
        durability: What is promised to those who write, and recorded when the ledger is opened.
        seals: Whether full segments are compressed.
        retention: How much is kept.
        reserve_bytes: What is kept back, to record that the disk is full.
        upkeep_quiet_s: How long nobody has written when upkeep goes on.
        machine: Names the machine on which the ledger is kept; None where nobody looks where it is,
            nor what is beside it.
        boot: Names the machine's life, from its start to its end; empty where that is not known.
        aside: Makes who waits for the disk beside the thread that writes; None where that waits
            for all by itself.
        writers: How many processes may answer for records before they are here (`group`).
    """

    io: Io
    now_us: Callable[[], int]
    monotonic_s: Callable[[], float]
    random_bytes: Callable[[int], bytes]
    segment_bytes_max: int = SEGMENT_BYTES_MAX
    segment_age_s_max: float = SEGMENT_AGE_S_MAX
    checkpoint_every_s: float = CHECKPOINT_EVERY_S
    durability: Literal["strict", "group"] = "strict"
    seals: bool = True
    retention: Retention = Retention()
    reserve_bytes: int = RESERVE_BYTES
    upkeep_quiet_s: float = UPKEEP_QUIET_S
    machine: str | None = None
    boot: str = ""
    aside: Hire | None = None
    writers: int = 0
