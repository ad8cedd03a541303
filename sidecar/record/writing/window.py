"""What is written and not yet synced: in `strict` a batch, in `group` a window with bounds."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from sidecar.record.limits import GROUP_RECORDS_MAX, GROUP_S_MAX


class Synced(NamedTuple):
    """Records that have become durable: their bytes, where in each its place begins, leaves."""

    records: list[bytes]
    heads: list[int]
    leaves: list[bytes]


class Window:
    """Records in their order, and since when the first of them has been there."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self._heads: list[int] = []
        self._leaves: list[bytes] = []
        self.since_s = 0.0

    def __len__(self) -> int:
        """Return how many records there are."""
        return len(self.records)

    def add(
        self, records: list[bytes], heads: Sequence[int], leaves: list[bytes], now_s: float
    ) -> None:
        """Take in records that were written just now."""
        if not self.records:
            self.since_s = now_s
        self.records += records
        self._heads += heads
        self._leaves += leaves

    def take(self, count: int, since_s: float) -> Synced:
        """Give the first `count`; those behind have been there since `since_s` at the earliest."""
        if count == len(self.records):
            found = Synced(self.records, self._heads, self._leaves)
            self.records, self._heads, self._leaves = [], [], []
            return found
        found = Synced(self.records[:count], self._heads[:count], self._leaves[:count])
        for each in (self.records, self._heads, self._leaves):
            del each[:count]
        self.since_s = since_s
        return found

    def keep(self, count: int) -> None:
        """Let go of all but the first `count`."""
        for each in (self.records, self._heads, self._leaves):
            del each[count:]

    def due_s(self, *, may_begin: bool) -> float:
        """Return when a sync has to begin, or where none may begin, to be over; never if empty."""
        if not self.records:
            return math.inf
        if may_begin:
            is_many = 2 * len(self.records) >= GROUP_RECORDS_MAX
            return self.since_s if is_many else self.since_s + GROUP_S_MAX / 2
        return self.since_s + GROUP_S_MAX

    def is_full(self, now_s: float) -> bool:
        """Return whether it has come to its bounds."""
        count = len(self.records)
        return bool(count) and (now_s - self.since_s > GROUP_S_MAX or count >= GROUP_RECORDS_MAX)

    def is_half_full(self, now_s: float) -> bool:
        """Return whether it is time to begin a sync that is to be over before it is full."""
        return now_s >= self.due_s(may_begin=True)
