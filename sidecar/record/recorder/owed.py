"""Outcomes that are owed: a permitted call has exactly one, `unknown` where nobody is left to tell.

```
 opened ─▶ a connection's ──its outcome is written──▶ told
    │            └─ its worker is gone ─▶ due ─▶ written `unknown`
    └─ of before this recorder: unclaimed, until every living worker has said which are its own
```
A worker is gone when all that it has sent is settled: only then is a decision closed here. One that
was closed here takes no other outcome.

All of it happens on the ledger's thread.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final

from sidecar.record.canonical import Halves, split
from sidecar.record.fold import OpenDecisions, RecentIds
from sidecar.record.ledger import Ledger
from sidecar.record.limits import FRAME_RECORDS_MAX, OWED_EVERY_S, RECENT_IDS_EACH
from sidecar.terms.errors import RecordError
from sidecar.terms.record import OutcomeRecord, SideObject


class _Closing:
    """Outcomes `unknown` on their way to the disk, however long that takes."""

    is_strict: Final = False
    loop: Final = None
    side: Sequence[SideObject] = ()

    def __init__(self, owed: "Owed", ids: tuple[str, ...], halves: Sequence[Halves]) -> None:
        self.ids = ids
        self.halves = halves
        self.size = sum(one.size for one in halves)
        self._owed = owed

    def is_wanted(self) -> bool:
        """Return that it must be written whenever it can be."""
        return True

    def settle(self, error: RecordError | None) -> None:
        """Tell what came of it."""
        self._owed.closed(self.ids, error)


class Owed:
    """Who owes which outcome, and those that nobody can tell any more.

    Args:
        ledger: Is written to.
        opened: The decisions without an outcome when this recorder began.
        unknown: Returns the outcome `unknown` of a decision.
        later: Calls what it is handed after so many seconds, on the ledger's thread.
    """

    def __init__(
        self,
        ledger: Ledger,
        opened: OpenDecisions,
        unknown: Callable[[str], OutcomeRecord],
        later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self._ledger = ledger
        self._unknown = unknown
        self._later = later
        self._unclaimed = dict(opened.ids)
        self._due: dict[str, None] = {}
        self._closed = RecentIds(RECENT_IDS_EACH)
        self._is_busy = False
        self._is_stopped = False
        self._when_idle: Callable[[], None] | None = None

    def __len__(self) -> int:
        """Return how many nobody has claimed."""
        return len(self._unclaimed)

    def claimed(self, ids: Iterable[str]) -> list[str]:
        """Return which of the decisions that a worker calls its own are open in the log."""
        mine = [id for id in ids if id in self._unclaimed]
        for id in mine:
            del self._unclaimed[id]
        return mine

    def nobody_is_left(self) -> None:
        """Close what no living worker has claimed."""
        unclaimed, self._unclaimed = self._unclaimed, {}
        self.give_up(unclaimed)

    def is_closed(self, decision: str) -> bool:
        """Return whether a decision was closed as unknown: no other outcome is taken for it."""
        return decision in self._closed

    def told(self, decisions: Iterable[str]) -> None:
        """Take note that their outcomes stand in the log."""
        for id in decisions:
            self._unclaimed.pop(id, None)

    def give_up(self, decisions: Iterable[str]) -> None:
        """Close decisions whose worker is gone."""
        self._due.update((id, None) for id in decisions if id not in self._closed)
        self._close_some()

    def when_idle(self, call: Callable[[], None]) -> None:
        """Call `call` once all that is due is written."""
        if self._due:
            self._when_idle = call
        else:
            call()

    def stop(self) -> None:
        """Try no more."""
        self._is_stopped = True

    def _close_some(self) -> None:
        if not self._due or self._is_busy or self._is_stopped:
            return
        self._is_busy = True
        ids = tuple(islice(self._due, FRAME_RECORDS_MAX))
        for id in ids:
            self._closed.add(id)
        halves = [split(self._unknown(id)) for id in ids]
        try:
            self._ledger.submit(_Closing(self, ids, halves))
        except RecordError as error:
            self.closed(ids, error)

    def closed(self, ids: Iterable[str], error: RecordError | None) -> None:
        """Take note of what came of outcomes `unknown`."""
        self._is_busy = False
        if error is not None:
            self._later(OWED_EVERY_S, self._close_some)
            return
        for id in ids:
            del self._due[id]
        if self._due:
            self._close_some()
        elif self._when_idle is not None:
            self._when_idle()
