"""Room for what is many calls in one request, so that batches cannot keep everybody else waiting.

A call of a batch is a record, and the recorder takes only so many at a time: batches that were all
begun at once would be refused half-way, with what was begun recorded for nobody. So a batch waits
until its calls have room. Workloads take turns; within one it is who came first; none has all of
it; and whoever is next is not passed by one that is smaller. INVARIANT: what is held is the sum of
what those hold that were let in and have not left.

A large body takes long to read, so of these a few are read in each turn of the loop, and workloads
take turns. What it means takes many times its bytes, so while some of a workload's wait for their
room with that, its others wait with their bytes alone.
"""

import asyncio
import math
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Final

from sidecar.intercept.hot import limits as hot
from sidecar.intercept.hot.answers import Reply
from sidecar.intercept.hot.refusals import BUSY
from sidecar.intercept.hot.seam import Answer, Held, Refused, ended
from sidecar.intercept.limits import BATCHED_CALLS_MAX, LARGE_WAITING_MAX, READ_S_MAX
from sidecar.terms.errors import EnvelopeError, RecordError

_Waiting = OrderedDict[asyncio.Future[None], int]
_Unread = OrderedDict[asyncio.Future[Answer], Callable[[], Answer]]
_SHARE: Final = hot.IN_FLIGHT_SHARE


class Batches:
    """Lets batches in.

    Args:
        calls_max: Of all batches at a time.
        wait_s_max: How long a batch may wait for its room, and a large body to be read.
    """

    def __init__(
        self, calls_max: int = BATCHED_CALLS_MAX, wait_s_max: float = hot.WAIT_S_MAX
    ) -> None:
        self._calls_max = calls_max
        self._share_max = math.ceil(calls_max * _SHARE)
        self._wait_s_max = wait_s_max
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        # Large bodies that wait for their turn, of workloads; whose turn it is comes first.
        self._unread: OrderedDict[str, _Unread] = OrderedDict()
        self._is_reading = False
        # Batches that wait for their room, of those that were large bodies.
        self._large: Counter[str] = Counter()

    async def later(self, who: str, answer: Callable[[], Answer]) -> Reply:
        """Return what `answer`, which reads a large body, comes to; it is called in its turn.

        Raises:
            Refused: Its turn did not come for too long.
        """
        read: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._unread.setdefault(who, _Unread())[read] = answer
        self._wake()
        found = ended(await self._in_turn(who, read))
        if isinstance(found, Held):
            await found.written
            found.given()
            return found.reply
        return found if isinstance(found, Reply) else await found

    async def _in_turn(self, who: str, read: "asyncio.Future[Answer]") -> Answer:
        is_told = False
        try:
            async with asyncio.timeout(self._wait_s_max):
                found = await read
            is_told = True
        except TimeoutError:
            raise BUSY from None
        finally:
            if not is_told:
                _discard(read)
                self._take(who, read)
        return found

    def _take(self, who: str, read: "asyncio.Future[Answer]") -> Callable[[], Answer] | None:
        """Take one that waits, and return what reads it; it is the next workload's turn."""
        unread = self._unread.get(who, _Unread())
        answer = unread.pop(read, None)
        if answer is not None and unread:
            self._unread.move_to_end(who)
        elif answer is not None:
            del self._unread[who]
        return answer

    def _readable(self) -> str | None:
        """Return the workload whose turn it is, of those of which not too many wait read."""
        for who in self._unread:
            if self._large[who] < LARGE_WAITING_MAX:
                return who
        return None

    def _wake(self) -> None:
        if not self._is_reading and self._readable() is not None:
            self._is_reading = True
            asyncio.get_running_loop().call_soon(self._read_some)

    def _read_some(self) -> None:
        until_s = time.monotonic() + READ_S_MAX
        try:
            while (who := self._readable()) is not None:
                read = next(iter(self._unread[who]))
                answer = self._take(who, read)
                assert answer is not None
                _read(answer, read)
                if time.monotonic() >= until_s:
                    return
        finally:
            self._is_reading = False
            self._wake()

    @asynccontextmanager
    async def room(self, who: str, calls: int, *, is_large: bool = False) -> AsyncIterator[None]:
        """Have room for so many calls of one workload, and wait for it.

        Args:
            who: The workload.
            calls: Of the batch.
            is_large: Whether its body was.

        Raises:
            Refused: There was none for too long.
        """
        # One that is larger than all that its workload may have has all of that.
        held = min(calls, self._share_max)
        await self._let_in(who, held, is_large=is_large)
        try:
            yield
        finally:
            self._leave(who, held)

    async def _let_in(self, who: str, calls: int, *, is_large: bool) -> None:
        let_in = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(who, OrderedDict())[let_in] = calls
        self._hand_on()
        if let_in.done():
            return
        is_told = False
        self._large[who] += is_large
        try:
            async with asyncio.timeout(self._wait_s_max):
                await let_in
            is_told = True
        except TimeoutError:
            raise BUSY from None
        finally:
            if not is_told and let_in.done() and not let_in.cancelled():
                self._leave(who, calls)
            elif not is_told:
                self._withdraw(who, let_in)
            self._large[who] -= is_large
            self._wake()

    def _withdraw(self, who: str, one: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(who, _Waiting())
        waiting.pop(one, None)
        if not waiting:
            self._waiting.pop(who, None)
        self._hand_on()

    def _leave(self, who: str, calls: int) -> None:
        self._held[who] -= calls
        if not self._held[who]:
            del self._held[who]
        self._hand_on()

    def _hand_on(self) -> None:
        """Let in who is next, and the next, until one has to wait."""
        while (who := self._next()) is not None:
            waiting = self._waiting[who]
            calls = next(iter(waiting.values()))
            if self._held.total() + calls > self._calls_max:
                return
            let_in, _ = waiting.popitem(last=False)
            if waiting:
                self._waiting.move_to_end(who)
            else:
                del self._waiting[who]
            # Who was cancelled just now has not taken itself away yet.
            if not let_in.done():
                self._held[who] += calls
                let_in.set_result(None)

    def _next(self) -> str | None:
        """Return the workload whose turn it is, of those whose share is not taken."""
        for who, waiting in self._waiting.items():
            if self._held[who] + next(iter(waiting.values())) <= self._share_max:
                return who
        return None


def _discard(read: "asyncio.Future[Answer]") -> None:
    """Let go of what was read just as nobody waited for it any more."""
    if not read.cancel() and not read.cancelled() and read.exception() is None:
        found = read.result()
        if isinstance(found, Coroutine):
            found.close()


def _read(answer: Callable[[], Answer], read: "asyncio.Future[Answer]") -> None:
    if read.done():
        # Nobody waits for it any more.
        return
    try:
        read.set_result(answer())
    except (Refused, EnvelopeError, RecordError) as error:
        read.set_exception(error)
    finally:
        if not read.done():
            # What it was is told by the loop.
            read.set_exception(AssertionError("a body could not be read"))
