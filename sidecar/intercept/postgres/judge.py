"""One statement's way down the path: a Call in, a Lease or a Denial out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from sidecar.flow import Path, carry
from sidecar.intercept.postgres.limits import LEASE_S_MAX
from sidecar.intercept.postgres.protocol.denial import (
    NO_RESULT_FILTER,
    NOT_RECORDABLE,
    Denial,
    refused,
)
from sidecar.intercept.postgres.protocol.naming import Turn
from sidecar.intercept.postgres.protocol.prepared import Lease, Statement, is_leasable
from sidecar.intercept.postgres.settings import PostgresSettings, Revocations
from sidecar.terms.answer import Await, Forward, Refuse
from sidecar.terms.call import Call, Identity, Json
from sidecar.terms.errors import RecordError
from sidecar.terms.record import SCHEMA, AdminRecord


@dataclass(frozen=True, slots=True)
class Judge:
    """Asks the path on behalf of one connection; `context` is what the listener itself knows."""

    settings: PostgresSettings
    path: Path
    revocations: Revocations
    clock_s: Callable[[], float]
    context: dict[str, Json]

    async def judge(self, payload: dict[str, Json], identity: Identity) -> Lease | Denial:
        """Return the lease that a permitted call gives, or what the client is told instead."""
        # Before the call: what is revoked meanwhile must end the lease, not be covered by it.
        epoch, began_s = self.revocations.epoch, self.clock_s()
        try:
            answer = await carry(self._call(payload, identity), self.path)
        except RecordError:
            return NOT_RECORDABLE
        match answer:
            case Forward():
                lease = self._lease(answer, identity, epoch, began_s)
                return lease if answer.result is None else NO_RESULT_FILTER.blocking(lease)
            case Refuse() | Await():
                return refused(answer)
            case _:
                assert_never(answer)

    async def note_turn(self, user: str, turn: Turn) -> None:
        """Put on record whom workload `user` is about to speak for. Raises RecordError."""
        subject = turn.identity.subject
        detail: dict[str, Json] = {
            "workload": user,
            "subject": f"{subject.type}:{subject.id}",
            "scope": "transaction" if turn.is_local else "session",
            "session": self.context["session"],
        }
        new_id, now = self.path.new_id(), self.path.now()
        await self.path.ledger.write(AdminRecord(SCHEMA, new_id, now, "subject_set", detail))

    def covers(self, statement: Statement, identity: Identity) -> bool:
        """Return whether `statement` may be used now without asking again."""
        digest = self.path.bundle().digest
        epoch = self.revocations.epoch
        lease = statement.lease
        return lease is None or lease.covers(identity, digest, epoch, self.clock_s())

    def _call(self, payload: dict[str, Json], identity: Identity) -> Call:
        return Call(
            id=self.path.new_id(),
            time=self.path.now(),
            listener=self.settings.name,
            upstream=self.settings.upstream,
            protocol="sql",
            payload=payload,
            identity=identity,
            context=self.context,
            is_enforced=True,
        )

    def _lease(self, answer: Forward, identity: Identity, epoch: int, began_s: float) -> Lease:
        bundle = self.path.bundle()
        # A bundle that came meanwhile may lease differently; the digest ends such a lease at once.
        until_s = began_s + LEASE_S_MAX if is_leasable(bundle.needs("sql")) else began_s
        return Lease(answer, identity, answer.decision.policy.digest, epoch, until_s)
