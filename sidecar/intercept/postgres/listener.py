"""The listener: connections in, sessions kept, cancel requests passed on, all ended in time."""

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import Callable
from typing import Protocol

from sidecar.flow import Path
from sidecar.intercept.descriptors import is_spare_left
from sidecar.intercept.postgres.ends import upstream as database
from sidecar.intercept.postgres.ends.channel import Channel, ConnectionEnded
from sidecar.intercept.postgres.ends.login import authenticate, read_startup
from sidecar.intercept.postgres.ends.startup import CancelAsked, Startup
from sidecar.intercept.postgres.judge import Judge
from sidecar.intercept.postgres.limits import (
    CONNECTIONS_MAX,
    LOGIN_S_MAX,
    LOGINS_MAX,
    LOGINS_PER_PEER_MAX,
)
from sidecar.intercept.postgres.outcomes import Gathered
from sidecar.intercept.postgres.protocol import wire
from sidecar.intercept.postgres.session import Session
from sidecar.intercept.postgres.settings import PostgresSettings, Revocations, Workloads
from sidecar.intercept.postgres.subject import Speaker
from sidecar.terms.call import Json

_SWEEP_S = 5.0
_SHUTTING_DOWN = ("57P01", "the sidecar is shutting down")

_log = logging.getLogger("sidecar.intercept.postgres")


# SQLSTATEs that a client may be refused with before its session.
_STRANGERS_KEY = "57014"
_COUNTED = frozenset(
    (_STRANGERS_KEY, "08P01", "0A000", "28000", "28P01", "3D000", "53300", "57P01", "58030")
)


Elsewhere = Callable[[str, bytes], bool]


class Counters(Protocol):
    """What the runtime counts of this listener."""

    def refused(self, listener: str, code: str, source: str) -> None:
        """Count a client that was refused before there was a session; `source` is `tcp`."""
        ...


class PostgresListener:
    """Serves one upstream database on sockets that somebody else has bound."""

    def __init__(
        self,
        settings: PostgresSettings,
        path: Path,
        workloads: Workloads,
        revocations: Revocations,
        counters: Counters | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """Take the settings, the path, who may log in, and what ends leases.

        Args:
            settings: Of this listener alone.
            path: What every statement is carried down.
            workloads: Who may log in.
            revocations: Whose epoch ends leases.
            counters: Counts who is refused before there is a session.
            elsewhere: Asks the other workers to cancel what is none of ours; False without any.
        """
        self._settings = settings
        self._path = path
        self._workloads = workloads
        self._revocations = revocations
        self._counters = counters
        self._elsewhere = elsewhere
        self._decoy = self.random(32)
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        # Session → its key for cancelling, and that key → the upstream's, which no client sees.
        self._sessions: dict[Session, bytes] = {}
        self._keys: dict[bytes, bytes] = {}
        self._open = 0
        # Who has not logged in yet, the oldest first, and from where.
        self._logins: dict[Channel, str] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self.gathered = Gathered()
        # There is one as soon as the listener drains.
        self._last_gone: asyncio.Event | None = None
        self.is_draining = False
        self._is_hash_told = False

    def random(self, size: int) -> bytes:
        """Return bytes fit for cryptography."""
        return secrets.token_bytes(size)

    async def serve(self, sockets: list[socket.socket]) -> None:
        """Start serving on bound sockets and return."""
        loop = asyncio.get_running_loop()
        for sock in sockets:
            if sock.family == socket.AF_UNIX:
                self._servers.append(await loop.create_unix_server(self._channel, sock=sock))
            else:
                self._servers.append(await loop.create_server(self._channel, sock=sock))
        self._sweep()

    async def drain(self, timeout_s: float) -> None:
        """Take nobody new, let what is under way end, then end what is left."""
        self._last_gone, self.is_draining = asyncio.Event(), True
        for server in self._servers:
            server.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for session in list(self._sessions):
            self.became_idle(session)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._none_left()
        for session in list(self._sessions):
            session.end(*_SHUTTING_DOWN)
        # Outcomes that are still to be recorded, and logins that fail as soon as they look.
        while self._tasks:
            await asyncio.wait(self._tasks, timeout=LOGIN_S_MAX)

    def lacks_hash(self) -> None:
        """Say once that the database may lack the function for masks `hash`."""
        if not self._is_hash_told:
            self._is_hash_told = True
            _log.warning(
                "listener %s: a statement with a mask `hash` failed for want of a schema or a "
                "function: the database of upstream `%s` must have `sidecar.keyed_hash(text)`, "
                "which the sidecar's own user may call (sidecar/domains/data/README.md)",
                self._settings.name, self._settings.upstream,
            )  # fmt: skip

    def spawned(self, task: asyncio.Task[None]) -> None:
        """Keep a task alive until it is done."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def ended(self, session: Session) -> None:
        """Forget a session and its key for cancelling."""
        self._keys.pop(self._sessions.pop(session, b""), None)
        if self._last_gone is not None and not self._sessions:
            self._last_gone.set()

    def became_idle(self, session: Session) -> None:
        """End a session with nothing under way if nothing more is to begin."""
        if self.is_draining and session.is_idle:
            session.end(*_SHUTTING_DOWN)

    async def _none_left(self) -> None:
        assert self._last_gone is not None
        if self._sessions:
            await self._last_gone.wait()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        for session in list(self._sessions):
            session.end_if_idle(loop.time(), self._settings)
        self._sweeper = loop.call_later(_SWEEP_S, self._sweep)

    def _channel(self) -> Channel:
        return Channel(self._welcome, self._gone)

    def _gone(self) -> None:
        self._open -= 1

    def _welcome(self, client: Channel) -> None:
        """Begin the conversation with a client that has just connected."""
        self._open += 1
        is_full = (self._open > CONNECTIONS_MAX and not self._logins) or not is_spare_left()
        if self._last_gone is not None or is_full:
            self._turn_away(client)
            return
        self._make_room(client.peer)
        self._logins[client] = client.peer
        task = asyncio.get_running_loop().create_task(self._converse(client))
        task.add_done_callback(lambda done: self._conversed(done, client))
        self.spawned(task)

    def _make_room(self, peer: str) -> None:
        """Turn the oldest away that has proven nothing, where there are too many of them."""
        from_there = [one for one, where in self._logins.items() if where == peer]
        if len(from_there) >= LOGINS_PER_PEER_MAX:
            self._turn_away(from_there[0])
        elif len(self._logins) >= LOGINS_MAX or self._open > CONNECTIONS_MAX:
            self._turn_away(next(iter(self._logins)))

    def _turn_away(self, client: Channel) -> None:
        self._logins.pop(client, None)
        client.close(wire.error("53300", "too many connections", fatal=True))
        self._count("53300")

    def _conversed(self, task: asyncio.Task[None], client: Channel) -> None:
        self._logins.pop(client, None)
        if task.cancelled() or task.exception() is not None:
            # INVARIANT: our own mistake lets nobody in.
            error = None if task.cancelled() else task.exception()
            _log.error("a login failed inside the sidecar", exc_info=error)
            client.close(wire.error("XX000", "the sidecar failed", fatal=True))

    async def _converse(self, client: Channel) -> None:
        """Bring a client to its session, or tell it why not."""
        try:
            async with asyncio.timeout(LOGIN_S_MAX):
                asked = await self._read_startup(client)
                if isinstance(asked, CancelAsked):
                    await self._cancel(asked)
                    client.close()
                else:
                    await self._begin(client, asked)
        except wire.Refused as refused:
            said = wire.error(refused.code, str(refused), hint=refused.hint, fatal=True)
            client.close(said)
            self._count(refused.code)
        except wire.ProtocolError as error:
            client.close(wire.error(error.code, str(error), fatal=True))
            self._count(error.code)
        except (ConnectionEnded, TimeoutError):
            client.close()

    async def _read_startup(self, client: Channel) -> Startup | CancelAsked:
        said = self._settings
        return await read_startup(client, said.tls, is_plain_allowed=said.is_plain_allowed)

    def _count(self, sqlstate: str) -> None:
        """Count a refusal; what an upstream may say is not ours to make labels of."""
        if self._counters is not None:
            code = sqlstate if sqlstate in _COUNTED else "other"
            self._counters.refused(self._settings.name, code, "tcp")

    async def _begin(self, client: Channel, asked: Startup) -> None:
        client.write(asked.negotiation)
        verifier = self._workloads.scram_verifier(asked.user)
        await authenticate(client, asked.user, verifier, self.random, self._decoy)
        self._logins.pop(client, None)
        if asked.database != self._settings.database:
            # After the login, so that nobody else learns which databases there are.
            raise wire.Refused("3D000", "this listener serves another database")
        if asked.search_path not in (None, self._settings.search_path):
            text = "the sidecar does not let a session start with another `search_path`"
            raise wire.Refused("42501", text, "leave it out: it is pinned")
        upstream = await database.connect(self._settings)
        with contextlib.ExitStack() as undo:
            undo.callback(upstream.close)
            said = await database.log_in(upstream, self._settings, asked.settings, self.random)
            if self._last_gone is not None or client.closed:
                raise wire.Refused(*_SHUTTING_DOWN)
            session = Session(
                client, upstream, self._judge(client), Speaker(asked.user, self._workloads), self
            )
            undo.pop_all()
        # The number of the backend is the upstream's own, for logs; the secret is ours.
        key = said.key[:4].ljust(4, b"\0") + self.random(asked.secret_bytes)
        self._sessions[session] = key
        if said.key:
            self._keys[key] = said.key
        client.write(b"".join(said.parameters) + wire.message(b"K", key) + said.ready)
        session.start()

    def _judge(self, client: Channel) -> Judge:
        context: dict[str, Json] = {"session": self._path.new_id()}
        if client.peer:
            context["ip"] = client.peer
        clock_s = asyncio.get_running_loop().time
        return Judge(self._settings, self._path, self._revocations, clock_s, context)

    async def _cancel(self, asked: CancelAsked) -> None:
        """Pass a cancel request on if it is for one of our sessions; say nothing either way."""
        if asked.key in self._keys:
            await self._cancel_here(asked.key)
        # Its session may be another worker's, which shares this listener's socket.
        elif self._elsewhere is None or not self._elsewhere(self._settings.name, asked.key):
            self._count(_STRANGERS_KEY)

    def cancel(self, key: bytes) -> None:
        """Cancel what a session does if it is ours; another worker was asked."""
        if key in self._keys:
            task = asyncio.get_running_loop().create_task(self._cancel_in_time(key))
            self.spawned(task)

    async def _cancel_in_time(self, key: bytes) -> None:
        with contextlib.suppress(TimeoutError, wire.Refused, wire.ProtocolError):
            async with asyncio.timeout(LOGIN_S_MAX):
                await self._cancel_here(key)

    async def _cancel_here(self, key: bytes) -> None:
        theirs = self._keys.get(key)
        if theirs is None:
            # Its session has ended meanwhile.
            return
        upstream = await database.connect(self._settings)
        upstream.write(wire.packet(wire.CANCEL_REQUEST, theirs))
        # The server hangs up when it has done so, and only then may the client be told.
        with contextlib.suppress(ConnectionEnded):
            await upstream.take(lambda said: len(said) or None)
        upstream.close()
