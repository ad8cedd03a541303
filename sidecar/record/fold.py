"""State that is a fold of records: it changes by a record alone, and is rebuilt from them at start.

A fold is fed the durable bytes, in the order of the log, once when the ledger is opened and again
with each write before that write is acknowledged; so what a caller has been told is in force.
"""

from collections.abc import Mapping
from typing import Final, Protocol

from sidecar.terms.call import Json
from sidecar.terms.record import SCHEMA, AdminRecord
from sidecar.terms.words import CallId

REVOKE: Final = "revoke"
UNREVOKE: Final = "unrevoke"


class Fold(Protocol):
    """State that is a fold of records of one kind.

    `apply` runs on the committer's thread; what readers on the loop see must change in one step.
    """

    @property
    def kind(self) -> str:
        """Return the only kind of record it looks at."""
        ...

    def apply(self, record: Mapping[str, Json]) -> None:
        """Take one durable record into account."""
        ...


class Revocations:
    """Who is revoked: `revoke` and `unrevoke` in the order of the log. Asked before any policy."""

    kind = "admin"

    def __init__(self) -> None:
        self._revoked: frozenset[str] = frozenset()
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """Return a number that grows with each change; a lease ends when it does."""
        return self._epoch

    @property
    def parties(self) -> frozenset[str]:
        """Return everybody who is revoked, each `type:id`."""
        return self._revoked

    def is_revoked(self, party: str) -> bool:
        """Return whether `type:id` is revoked."""
        return party in self._revoked

    def apply(self, record: Mapping[str, Json]) -> None:
        """Take one admin record into account; other events say nothing of revocation."""
        event, party = record["event"], record.get("detail", {}).get("party")
        if not isinstance(party, str) or event not in (REVOKE, UNREVOKE):
            return
        changed = self._revoked | {party} if event == REVOKE else self._revoked - {party}
        if changed != self._revoked:
            # INVARIANT: one reference is swapped, so a reader sees the old set or the new.
            self._revoked = changed
            self._epoch += 1


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
