"""State that is a fold of records: it changes by a record alone, and is rebuilt from them at start.

A fold is fed the durable bytes, in the order of the log, once when the ledger is opened and again
with each write: before that is acknowledged, so what a caller has been told is in force; records
that nobody obeys (`is_plain`) right after it, and before anybody reads what follows from them.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from sidecar.terms.call import Json
from sidecar.terms.record import SCHEMA, AdminRecord
from sidecar.terms.words import CallId

REVOKE: Final = "revoke"
UNREVOKE: Final = "unrevoke"


class Fold(Protocol):
    """State that is a fold of records.

    `apply` runs on the committer's thread; what readers on the loop see must change in one step.
    """

    @property
    def name(self) -> str:
        """Return the name under which a snapshot keeps its state."""
        ...

    @property
    def marks(self) -> tuple[bytes, ...]:
        """Return what its records have right before their place in the log, each one of these."""
        ...

    def state(self) -> Json:
        """Return all that `restore` needs, as JSON."""
        ...

    def restore(self, state: Json) -> None:
        """Begin with what `state` returned once, instead of with nothing."""
        ...

    def apply(self, record: Mapping[str, Json]) -> None:
        """Take one durable record into account; one that only holds the words says nothing."""
        ...


class Revocations:
    """Who is revoked: `revoke` and `unrevoke` in the order of the log. Asked before any policy."""

    name = "revocations"
    marks = (b'"kind":"admin"',)

    def __init__(self) -> None:
        # As records have them, persons as handles; and as requests have them.
        self._recorded: frozenset[str] = frozenset()
        self._revoked: frozenset[str] = frozenset()
        # Grows with each change; a lease ends when it does.
        self.epoch = 0
        self._name: Callable[[str], str] = str

    @property
    def parties(self) -> frozenset[str]:
        """Return everybody who is revoked, each `type:id`."""
        return self._revoked

    def is_revoked(self, party: str) -> bool:
        """Return whether `type:id` is revoked."""
        return party in self._revoked

    def state(self) -> Json:
        """Return who is revoked."""
        return sorted(self._recorded)

    def restore(self, state: Json) -> None:
        """Begin with those who were revoked."""
        self._put(frozenset(state))

    def apply(self, record: Mapping[str, Json]) -> None:
        """Take one admin record into account; other events say nothing of revocation."""
        if record["kind"] != "admin":
            return
        event, party = record["event"], record.get("detail", {}).get("party")
        if not isinstance(party, str) or event not in (REVOKE, UNREVOKE):
            return
        self._put(self._recorded | {party} if event == REVOKE else self._recorded - {party})

    def replace(self, parties: Iterable[str]) -> None:
        """Take over what the one who folds the log says; for processes that do not read it."""
        self._put(frozenset(parties))

    def name_with(self, name: Callable[[str], str]) -> None:
        """Let `name` say whom a party of a record stands for, now and from here on."""
        self._name = name
        self._put(self._recorded)

    def _put(self, recorded: frozenset[str]) -> None:
        self._recorded = recorded
        changed = frozenset(map(self._name, recorded))
        if changed != self._revoked:
            # INVARIANT: one reference is swapped, so a reader sees the old set or the new.
            self._revoked = changed
            self.epoch += 1


class OpenDecisions:
    """Decisions whose first outcome has not come: forwarded by the sidecar, and not yet told of."""

    name = "open_decisions"
    marks = (b'"listener_forwarded":true', b'"kind":"outcome"')

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}

    def state(self) -> Json:
        """Return the ids, oldest first."""
        return list(self.ids)

    def restore(self, state: Json) -> None:
        """Begin with these ids open."""
        self.ids = dict.fromkeys(state)

    def apply(self, record: Mapping[str, Json]) -> None:
        """Open a decision that awaits an outcome; close it with its first one."""
        if record["kind"] == "outcome":
            self.ids.pop(record["parent"], None)
        elif record["kind"] == "decision" and record.get("listener_forwarded") is True:
            self.ids[record["id"]] = None


class Gaps:
    """How often the log says that records are missing."""

    name = "gaps"
    marks = (b'"kind":"gap"',)

    def __init__(self) -> None:
        self.count = 0

    def state(self) -> Json:
        """Return how often."""
        return self.count

    def restore(self, state: Json) -> None:
        """Go on from what was counted."""
        self.count = state

    def apply(self, record: Mapping[str, Json]) -> None:
        """Count a gap."""
        self.count += record["kind"] == "gap"


class RecentIds:
    """Ids of the last records, so that what is sent twice is written once."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._ids: set[str] = set()
        # Why beside: the first of a dictionary whose first are gone is behind all their places.
        self._order: deque[str] = deque()

    def __contains__(self, id: str) -> bool:
        """Return whether the record of this id is among the last ones."""
        return id in self._ids

    def holds_none(self, ids: Iterable[str]) -> bool:
        """Return whether none of these records is among the last ones."""
        return self._ids.isdisjoint(ids)

    def add(self, id: str) -> None:
        """Take in the id of a durable record."""
        self.extend((id,))

    def extend(self, ids: Sequence[str]) -> None:
        """Take in the ids of durable records, in their order."""
        known, order = self._ids, self._order
        if not known.isdisjoint(ids):
            ids = [id for id in dict.fromkeys(ids) if id not in known]
        known.update(ids)
        order.extend(ids)
        while len(order) > self._count_max:
            known.remove(order.popleft())


def revoke(party: str, by: str, *, id: CallId, time: str) -> AdminRecord:
    """Return the record that revokes `party`, a `type:id`; it is in force once it is written."""
    return _change(REVOKE, party, by, id, time)


def unrevoke(party: str, by: str, *, id: CallId, time: str) -> AdminRecord:
    """Return the record that lifts the revocation of `party`."""
    return _change(UNREVOKE, party, by, id, time)


def _change(event: str, party: str, by: str, id: CallId, time: str) -> AdminRecord:
    # Why an assert: a record that the fold passes over would be a revocation that nobody hears.
    assert ":" in party
    return AdminRecord(SCHEMA, id, time, event, {"party": party, "by": by})
