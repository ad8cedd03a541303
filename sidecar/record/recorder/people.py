"""Persons at the recorder: handles for who asks, and forgetting one everywhere.

Forgetting is in this order: no handle is given out any more; every process drops those it remembers
and sends what it has made with them; the person is erased; then handles are given out again. So no
record is written under a handle whose row is gone.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Final, Protocol

from sidecar.record.ledger import Ledger
from sidecar.record.limits import TOOK_S_MAX
from sidecar.record.recorder import wire
from sidecar.terms.errors import RecordError

# How the supervisor's own connection is called.
SUPERVISOR: Final = "supervisor"


class Asker(Protocol):
    """A connection, as far as persons go."""

    @property
    def name(self) -> str:
        """Return whose it is."""
        ...

    def tell(self, said: wire.FromRecorder) -> None:
        """Send one frame; from any thread."""
        ...


class People:
    """Answers about persons.

    Args:
        ledger: Owns the table.
        everybody: Returns every connection.
        stuck: Is handed one that does not drop what it remembers.
    """

    def __init__(
        self,
        ledger: Ledger,
        everybody: Callable[[], Iterable[Asker]],
        stuck: Callable[[Asker], None],
    ) -> None:
        self._ledger = ledger
        self._everybody = everybody
        self._stuck = stuck
        self._lock = asyncio.Lock()
        self._waiting: dict[Asker, asyncio.Future[None]] = {}

    async def answer(self, asker: Asker, number: int, persons: Collection[str]) -> None:
        """Send the handles of `persons`, or why there are none."""
        try:
            async with self._lock:
                found = dict(await self._ledger.handles(persons))
        except RecordError as error:
            asker.tell(wire.Handles(number, error=str(error)))
        else:
            asker.tell(wire.Handles(number, found))

    async def forget(self, asker: Asker, number: int, person: str) -> None:
        """Erase a person, and say whether there was one; for the operator alone."""
        if asker.name != SUPERVISOR:
            self._stuck(asker)
            return
        async with self._lock:
            await self._dropped()
            try:
                was_known = await self._ledger.forget(person)
            except RecordError as error:
                asker.tell(wire.Forgot(number, error=str(error)))
                return
        asker.tell(wire.Forgot(number, was_known))

    def dropped(self, asker: Asker) -> None:
        """Take note that a process remembers no handle any more, or is gone."""
        waiting = self._waiting.get(asker)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def _dropped(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiting = {one: loop.create_future() for one in self._everybody()}
        for one in self._waiting:
            one.tell(wire.Forget())
        if self._waiting:
            await asyncio.wait(self._waiting.values(), timeout=TOOK_S_MAX)
        for one, waiting in self._waiting.items():
            if not waiting.done():
                self._stuck(one)
        self._waiting = {}
