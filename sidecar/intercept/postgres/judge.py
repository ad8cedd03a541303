"""One statement's way down the path: a Call in, a Lease or a Denial out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import assert_never

import msgspec

from sidecar.flow import Begun, Path, begin, finish
from sidecar.intercept.known import once_more
from sidecar.intercept.postgres.limits import LEASE_S_MAX
from sidecar.intercept.postgres.protocol.denial import (
    NO_RESULT_FILTER,
    NOT_RECORDABLE,
    Denial,
    refused,
)
from sidecar.intercept.postgres.protocol.guard import is_quiet, rows_max
from sidecar.intercept.postgres.protocol.naming import Turn
from sidecar.intercept.postgres.protocol.prepared import (
    Lease,
    Statement,
    is_leasable,
    reads_digest,
)
from sidecar.intercept.postgres.protocol.session_names import NameUse, uses_of
from sidecar.intercept.postgres.settings import PostgresSettings, Revocations
from sidecar.intercept.postgres.texts import Texts
from sidecar.terms.answer import Await, Forward, Refuse
from sidecar.terms.call import Call, Identity, Json
from sidecar.terms.errors import RecordError
from sidecar.terms.record import SCHEMA, AdminRecord, Written


class Repeat(msgspec.Struct, frozen=True):
    """A statement that may be sent as it came, once `written` is done."""

    statement: Statement
    written: Written


@dataclass(frozen=True, slots=True)
class Judge:
    """Asks the path on behalf of one connection; `context` is what the listener itself knows."""

    settings: PostgresSettings
    path: Path
    revocations: Revocations
    clock_s: Callable[[], float]
    context: dict[str, Json]
    texts: Texts = field(default_factory=Texts)

    async def judge(self, payload: dict[str, Json], identity: Identity) -> Lease | Denial:
        """Return the lease that a permitted call gives, or what the client is told instead."""
        # Before the call: what is revoked meanwhile must end the lease, not be covered by it.
        epoch, began_s = self.revocations.epoch, self.clock_s()
        text = self.texts.get(payload, identity)
        try:
            repeated = None if text is None else once_more(text.again, self.path)
            if text is not None and repeated is not None:
                lease, handed_s = text.lease(repeated, epoch, began_s), self.path.clock_s()
                await repeated.written
                lease.durable_s = self.path.clock_s() - handed_s
                return lease
            call = self._call(payload, identity)
            text = text or self.texts.keep(call, by_form=self._goes_by_form())
            begun = begin(call, self.path, None if text is None else text.again)
            if text is not None:
                self.texts.weigh(text)
            answer = await finish(begun)
        except RecordError:
            return NOT_RECORDABLE
        match answer:
            case Forward():
                lease = self._lease(answer, identity, epoch, began_s)
                if answer.result is not None:
                    return NO_RESULT_FILTER.blocking(lease)
                if text is not None and isinstance(begun, Begun) and begun.outcome is not None:
                    text.came_to(begun.outcome, lease, began_s)
                return lease
            case Refuse() | Await():
                return refused(answer)
            case _:
                assert_never(answer)

    def repeat(
        self, raw: bytes, identity: Identity, began_s: float, *, by_form: bool
    ) -> "Repeat | None":
        """Decide and record a text once more that is known to change nothing of the session.

        Returns None, with nothing done, where that takes more than to come out as before. Raises
        RecordError.
        """
        text = self.texts.plain(raw, identity, by_form=by_form)
        if text is None or self.settings.drift():
            return None
        # Before the call, as above.
        epoch = self.revocations.epoch
        repeated = once_more(text.again, self.path)
        if repeated is None:
            return None
        lease = text.lease(repeated, epoch, began_s)
        return Repeat(Statement(raw.decode(), raw, lease), repeated.written)

    def _goes_by_form(self) -> bool:
        """Return whether no rule tells texts apart that mean the same."""
        return not reads_digest(self.path.bundle().needs("sql"))

    async def note_turn(self, user: str, turn: Turn) -> None:
        """Put on record whom workload `user` is about to speak for. Raises RecordError."""
        assert turn.identity is not None, "the end of a transaction names nobody"
        subject = turn.identity.subject
        detail: dict[str, Json] = {
            "workload": user,
            "subject": f"{subject.type}:{subject.id}",
            "scope": "transaction" if turn.is_local else "session",
            "session": self.context["session"],
        }
        new_id, now = self.path.new_id(), self.path.now()
        await self.path.ledger.write(AdminRecord(SCHEMA, new_id, now, "subject_set", detail))

    def covers(self, statement: Statement, identity: Identity, now_s: float) -> bool:
        """Return whether `statement` may be used now without asking again."""
        lease = statement.lease
        if lease is None:
            return True
        return lease.covers(identity, self.path.bundle().digest, self.revocations.epoch, now_s)

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
        native, obligations = answer.request.request["sql"], answer.decision.obligations
        names = uses_of(native)
        return Lease(
            answer,
            identity,
            answer.decision.policy.digest,
            epoch,
            self._until_s(names, began_s),
            rows_max=rows_max(obligations),
            is_quiet=is_quiet(obligations),
            copies=_copies(native),
            names=names,
            took_s=answer.spent.took_s,
            durable_s=answer.spent.durable_s,
        )

    def _until_s(self, names: tuple[NameUse, ...], began_s: float) -> float:
        # A bundle that came meanwhile may lease differently; the digest ends such a lease at once.
        is_lasting = not names and is_leasable(self.path.bundle().needs("sql"))
        return began_s + LEASE_S_MAX if is_lasting else began_s


def _copies(native: dict[str, Json]) -> str:
    if native["kind"] not in ("copy", "copy_query"):
        return ""
    return "in" if native["kind"] == "copy" and native["writes"] else "out"
