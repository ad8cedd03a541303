"""The worker's side: long texts wait here for their turn, and what is known of them is taken in.

Turns go round among those who ask, so that nobody's long texts are behind all of somebody else's.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from sidecar.runtime.limits import (
    ERRAND_S_MAX,
    ERRAND_TRIES,
    ERRANDS_OF_ONE_MAX,
    ERRANDS_WAITING_MAX,
)
from sidecar.terms.call import Call, Identity
from sidecar.terms.domain import Elsewhere
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

_log = logging.getLogger("sidecar.worker")


class Reads(Protocol):
    """Who reads long texts, one at a time."""

    async def ask(self, bundle: str, work: bytes) -> bytes | None:
        """Return the answer, None where there is none because of a mistake of ours.

        Raises:
            TimeoutError: It takes too long.
            OSError: It has died.
            EOFError: So it has.
        """
        ...

    async def end(self) -> None:
        """End it at once."""
        ...


class _Errand(msgspec.Struct, frozen=True, eq=False):
    """A text that waits; `done` comes to None, or to why it cannot be read."""

    away: Elsewhere
    done: asyncio.Future[ParseError | None]


class Desk:
    """Has long texts read, each once at a time, for all who ask.

    Args:
        start: Starts who reads.
    """

    def __init__(self, start: Callable[[], Awaitable[Reads]]) -> None:
        self._start = start
        self._reader: Reads | None = None
        # By who asks; whoever had a turn goes to the end.
        self._queues: dict[str, deque[_Errand]] = {}
        self._asked: dict[bytes, _Errand] = {}
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, call: Call, away: Elsewhere) -> None:
        """Return once what a call needs was taken in.

        Raises:
            ParseError: It cannot be had.
        """
        errand = self._asked.get(away.work)
        if errand is None:
            errand = self._waiting(_who(call.identity), away)
        # Shielded: who no longer waits is not the only one who asked.
        refused = await asyncio.shield(errand.done)
        if refused is not None:
            raise ParseError(refused.reason, str(refused))

    def _waiting(self, who: str, away: Elsewhere) -> _Errand:
        queue = self._queues.get(who, ())
        if len(queue) >= ERRANDS_OF_ONE_MAX or len(self._asked) >= ERRANDS_WAITING_MAX:
            raise ParseError(reason("parse.busy"), "too many long texts wait to be read")
        loop = asyncio.get_running_loop()
        errand = self._asked[away.work] = _Errand(away, loop.create_future())
        self._queues.setdefault(who, deque()).append(errand)
        if self._task is None:
            self._task = loop.create_task(self._work())
        return errand

    async def _work(self) -> None:
        """Do what waits; a mistake of ours refuses one text and not all that wait behind it."""
        while self._queues:
            errand = self._next()
            (found,) = await asyncio.gather(self._done(errand.away), return_exceptions=True)
            if isinstance(found, BaseException) and not isinstance(found, ParseError):
                _log.error("a long text cannot be read: %s", type(found).__name__)
                await self._end()
                found = _failed()
            self._tell(errand, found)
        self._task = None

    def _next(self) -> _Errand:
        who = next(iter(self._queues))
        queue = self._queues.pop(who)
        errand = queue.popleft()
        if queue:
            self._queues[who] = queue
        return errand

    async def _done(self, away: Elsewhere) -> ParseError | None:
        """Have one text read and take in the answer; return why where that cannot be."""
        for _ in range(ERRAND_TRIES):
            try:
                if self._reader is None:
                    self._reader = await self._start()
                answer = await self._reader.ask(away.bundle, away.work)
            except TimeoutError:
                await self._end()
                text = f"a text that takes longer than {ERRAND_S_MAX:.0f} s to read"
                return ParseError(reason("parse.too_large"), text)
            except (OSError, EOFError):
                _log.error("the process that reads long texts died; it is started again")
                await self._end()
                continue
            if answer is None:
                return _failed()
            away.take(answer)
            return None
        return _failed()

    def _tell(self, errand: _Errand, refused: ParseError | None) -> None:
        del self._asked[errand.away.work]
        errand.done.set_result(refused)

    async def _end(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.end()

    async def close(self) -> None:
        """Read nothing more; whoever still waits is refused."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._queues.clear()
        for errand in list(self._asked.values()):
            self._tell(errand, _failed())
        await self._end()


def _who(identity: Identity) -> str:
    """Return who acts, of whom a workload that speaks for many says who it is."""
    party = identity.actors[0] if identity.actors else identity.subject
    return f"{identity.asserted_by} {party.type} {party.id}"


def _failed() -> ParseError:
    return ParseError(reason("internal"), "a long text could not be read")
