"""What a client's text becomes: a statement that may be sent, or what the client is told."""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Final

from sidecar.domains.data.parse.other.apart import apart
from sidecar.intercept.postgres.judge import Judge
from sidecar.intercept.postgres.protocol.denial import (
    NO_STATEMENT,
    NO_TOKEN,
    NOT_RECORDABLE,
    OTHER_OBLIGATIONS,
    UNKNOWN_SUBJECT,
    Denial,
)
from sidecar.intercept.postgres.protocol.guard import due
from sidecar.intercept.postgres.protocol.naming import (
    WITHOUT_TOKEN,
    Boundary,
    Turn,
    read_token_set,
)
from sidecar.intercept.postgres.protocol.pipeline import Pipeline
from sidecar.intercept.postgres.protocol.prepared import Lease, Statement
from sidecar.intercept.postgres.protocol.session_names import SessionNames
from sidecar.intercept.postgres.subject import Speaker
from sidecar.terms.call import Json
from sidecar.terms.errors import RecordError

# What leaves something behind, or is a stream, and is carried here all the same.
_CARRIES: Final = ["copy", "copy_query", "prepare", "declare", "execute", "fetch", "move"]


class Reader:
    """Reads one connection's statements; `answered` returns when the server has answered all."""

    def __init__(
        self,
        judge: Judge,
        speaker: Speaker,
        names: SessionNames,
        answered: Callable[[], Awaitable[None]],
    ) -> None:
        self._judge = judge
        self._speaker = speaker
        self._names = names
        self._answered = answered

    async def apart(self, raw: bytes, pipeline: Pipeline) -> tuple[bytes, ...]:
        """Return the statements of a Query that are taken one after another, most often itself."""
        if b";" not in raw.rstrip(b"; \t\r\n"):
            return (raw,)
        # Whether a transaction is open is known when all is answered, and nothing is under way.
        await self._answered()
        # What was bound and is held began one, of which no Sync has told yet.
        is_told = pipeline.status != "I" or not pipeline.portals.held
        if pipeline.is_busy or not is_told:
            return (raw,)
        try:
            found = apart(raw.decode("utf-8"), is_open=pipeline.status != "I")
        except UnicodeDecodeError:
            found = ()
        return tuple([one.encode() for one in found]) or (raw,)

    async def read(self, raw: bytes) -> Statement | Denial:
        """Return what may be sent for the text of a Query or a Parse."""
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            return await self.unreadable("a statement that is not UTF-8", "22021")
        asked = read_token_set(text)
        if asked is not None:
            if self._speaker.named(asked) is None:
                return await self._token_refused()
            return Statement("", asked.sent, asked=asked)
        found = await self._decided(text)
        if isinstance(found, Denial):
            return found
        named = self._names.run_by(found.names)
        passed = None if named is None or not _is_cursor(found) else named.passed
        return Statement(text, found.sent, found, found.asked, passed)

    async def again(self, statement: Statement) -> Denial | None:
        """Decide a statement anew whose lease is over; return None when it may be used again."""
        found = await self._decided(statement.text, statement.said)
        if isinstance(found, Denial):
            return found
        if found.sent != statement.sent:
            # Permitted, but rewritten otherwise. INVARIANT: the statement keeps the lease that is
            # over, since the server has the old form, which nobody has permitted any more.
            return NO_STATEMENT.blocking(found)
        statement.lease = found
        if _is_cursor(found):
            named = self._names.run_by(found.names)
            statement.passed = None if named is None else named.passed
        return None

    async def _decided(self, text: str, said: dict[str, Json] | None = None) -> Lease | Denial:
        """Decide a text; where it runs what stands behind a name, as that was permitted."""
        payload = self._sql(text) | (said or {})
        found = await self._judge.judge(payload, self._speaker.identity)
        if isinstance(found, Denial) or not found.names:
            return found
        named = self._names.run_by(found.names)
        # INVARIANT: obligations were carried out where the name was given, and nowhere else.
        if named is not None and named.due != due(found.forward.decision.obligations):
            return OTHER_OBLIGATIONS.blocking(found)
        return found

    async def turn(self, statement: Statement) -> Turn | Denial | None:
        """Let the subject turn as `statement` asks, which then must be sent; None when it stays."""
        asked = statement.asked
        if isinstance(asked, Boundary):
            return self._at_boundary(asked, statement.lease)
        if asked is None or not self._speaker.changes_with(asked):
            return None
        if asked.is_local:
            # What is not answered yet may end a transaction, and must not end this one's subject.
            await self._answered()
        # Proven again at each run: a token may have been taken back since it was prepared.
        identity = self._speaker.named(asked)
        if identity is None:
            return await self._token_refused()
        turn = Turn(identity, asked.is_local)
        try:
            await self._judge.note_turn(self._speaker.user, turn)
        except RecordError:
            lease = statement.lease
            return NOT_RECORDABLE if lease is None else NOT_RECORDABLE.blocking(lease)
        self._speaker.turn(turn)
        return turn

    def _at_boundary(self, asked: Boundary, lease: Lease | None) -> Turn | Denial | None:
        if not self._speaker.may_return(asked):
            return UNKNOWN_SUBJECT if lease is None else UNKNOWN_SUBJECT.blocking(lease)
        turn = self._speaker.ended_by(asked)
        if turn is not None:
            self._speaker.turn(turn)
        return turn

    async def unreadable(self, what: str, code: str) -> Denial:
        """Put on record that something is no statement, and refuse it whatever is said of it."""
        payload: dict[str, Json] = {"dialect": "postgres", "message": what}
        found = await self._judge.judge(payload, self._speaker.identity)
        if not isinstance(found, Denial):
            return Denial(code, what)
        text = f"denied by policy: {what} is not read"
        return found if found is NOT_RECORDABLE else dataclasses.replace(found, text=text)

    async def _token_refused(self) -> Denial:
        refused = await self._judge.judge(self._sql(WITHOUT_TOKEN), self._speaker.identity)
        if isinstance(refused, Denial):
            return dataclasses.replace(refused, text=NO_TOKEN.text)
        return NO_TOKEN

    def _sql(self, text: str) -> dict[str, Json]:
        # The search path goes with the statement: names resolve as the session's pinned one says.
        path = list(self._judge.settings.search_path)
        said: dict[str, Json] = {
            "dialect": "postgres", "text": text, "search_path": path, "carries": _CARRIES,
        }  # fmt: skip
        if drift := self._judge.settings.drift():
            said["drift"] = drift
        if names := self._names.said:
            said["session"] = names
        return said


def _is_cursor(lease: Lease) -> bool:
    """Return whether a run goes on where the last one of the same name ended."""
    return any(one.does in ("fetch", "move") for one in lease.names)
