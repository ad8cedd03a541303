"""Questions of a worker about persons, and the answers that it remembers."""

import asyncio
from collections.abc import Callable, Collection, Mapping

from sidecar.record.limits import ERASE_S_MAX, HANDLES_MAX
from sidecar.record.recorder import wire
from sidecar.terms.call import forget_calls
from sidecar.terms.errors import RecordError

_Answer = wire.Handles | wire.Forgot


class KnownHandles:
    """The handles that one process was told.

    Args:
        say: Sends a frame to the recorder that is connected.
        forgotten: Sends what was made with handles that are remembered no more.
        welcomed: Is set while there is one.
        timeout_s: How long an answer may take, over however many recorders.
    """

    def __init__(
        self,
        say: Callable[[wire.FromWorker], None],
        forgotten: Callable[[], None],
        welcomed: asyncio.Event,
        timeout_s: float,
    ) -> None:
        self.known: dict[str, str] = {}
        self._say = say
        self._forgotten = forgotten
        self._welcomed = welcomed
        self._timeout_s = timeout_s
        self._number = 0
        self._asked: dict[int, asyncio.Future[_Answer]] = {}

    async def of(self, persons: Collection[str]) -> Mapping[str, str]:
        """Return the durable handles of `persons`. Raises RecordError."""
        known = self.known
        found = {person: known[person] for person in persons if person in known}
        absent = [person for person in persons if person not in found]
        if not absent:
            return found
        said = await self._ask(lambda number: wire.AskHandles(number, absent), self._timeout_s)
        assert isinstance(said, wire.Handles)
        if len(known) > HANDLES_MAX:
            # Who is met again is asked for again.
            known.clear()
        known.update(said.handles)
        return {**found, **said.handles}

    async def erase(self, person: str) -> bool:
        """Erase a person; return whether there was one. Raises RecordError."""
        # All that is sealed of a person's calls is looked for in the whole log.
        said = await self._ask(lambda number: wire.Erase(number, person), ERASE_S_MAX)
        assert isinstance(said, wire.Forgot)
        return said.was_known

    def heard(self, said: wire.Forget | _Answer) -> None:
        """Take an answer, or forget them and whatever else this process remembers of calls."""
        if isinstance(said, wire.Forget):
            self.known.clear()
            forget_calls()
            # What was made with them goes before the word that they are gone.
            self._forgotten()
            self._say(wire.Dropped())
            return
        asked = self._asked.pop(said.number, None)
        if asked is not None and not asked.done():
            asked.set_result(said)

    def lost(self) -> None:
        """Ask the next recorder again."""
        asked, self._asked = self._asked, {}
        for one in asked.values():
            one.cancel()

    async def _ask(self, question: Callable[[int], wire.FromWorker], seconds: float) -> _Answer:
        said = None
        try:
            async with asyncio.timeout(seconds):
                while said is None:
                    said = await self._answer(question)
        except TimeoutError:
            raise RecordError("the recorder does not answer") from None
        if said.error is not None:
            raise RecordError(said.error)
        return said

    async def _answer(self, question: Callable[[int], wire.FromWorker]) -> _Answer | None:
        """Return this recorder's answer, None where it is gone."""
        await self._welcomed.wait()
        self._number += 1
        asked: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._asked[self._number] = asked
        self._say(question(self._number))
        await asyncio.wait((asked,))
        return None if asked.cancelled() else asked.result()
