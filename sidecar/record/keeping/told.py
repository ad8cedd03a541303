"""What the ledger records of itself: outages, what it found at its start, what it did."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from sidecar.record.canonical import Halves, split
from sidecar.record.keeping.history import CLOSED, HELD, OPENED, PRUNED, RELEASED, History
from sidecar.record.keeping.outside import Outside
from sidecar.record.limits import AHEAD_RECORDS_MAX, AHEAD_S_MAX, GROUP_RECORDS_MAX, GROUP_S_MAX
from sidecar.terms.ids import rfc3339, uuid7
from sidecar.terms.record import SCHEMA, AdminRecord, AnyRecord, GapRecord, OpsRecord

News = tuple[str, dict[str, Any]]
_GAP: Final = "ledger.gap"
_ADMIN: Final = (PRUNED, HELD, RELEASED)


class Outage(msgspec.Struct):
    """Since when writes are refused, why at first, and how many were."""

    since: str
    cause: str
    refused: int = 0

    def news(self) -> News:
        """Return what tells of it once it is over."""
        return "ledger.recovered", msgspec.to_builtins(self)


def lives(history: History, outside: Outside, *, was_in_hand: bool) -> list[News]:
    """Return what there is to tell at a start: of the last life, and of this one.

    What was written is in the hands of the machine. Where that has not ended since, a process that
    was killed has lost nothing, and there is no gap, unless it had records in hand that a failing
    disk did not keep.
    """
    window = history.open_window
    is_lost = was_in_hand or not outside.boot or outside.boot != history.open_boot
    news: list[News] = [(_GAP, dict(window))] if window is not None and is_lost else []
    if outside.durability == "group":
        # Beside what is written and not synced: what workers are ahead by.
        records = GROUP_RECORDS_MAX + outside.writers * AHEAD_RECORDS_MAX
        seconds = GROUP_S_MAX + (AHEAD_S_MAX if outside.writers else 0)
        said = {"records_max": records, "before_ms_max": round(seconds * 1000)}
        news.append(
            (OPENED, {"boot": outside.boot, "durability": outside.durability, "window": said})
        )
    elif window is not None:
        news.append((CLOSED, {}))
    return news


class Teller:
    """Makes the ledger's own records."""

    def __init__(self, now_us: Callable[[], int], random_bytes: Callable[[int], bytes]) -> None:
        self._now_us, self._random_bytes = now_us, random_bytes

    def halves(self, event: str, detail: dict[str, Any]) -> Halves:
        """Return a record that says that `event` has happened."""
        now_us = self._now_us()
        id, time = uuid7(now_us // 1000, self._random_bytes(10)), rfc3339(now_us)
        record: AnyRecord
        if event == _GAP:
            record = GapRecord(SCHEMA, id, time, "group", **detail)
        elif event in _ADMIN:
            record = AdminRecord(SCHEMA, id, time, event, detail)
        else:
            record = OpsRecord(SCHEMA, id, time, event, detail)
        return split(record)
