"""The recorder and the workers as the supervisor sees them: who lives, who serves what.

A bundle is put in force in two steps: every worker that serves loads it, then every one swaps. One
that cannot in time is ended, and its next life begins with the bundle in force; so of two workers
that serve after a reload none is behind.
"""

import asyncio
import hmac
import itertools
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Iterable
from functools import partial

import msgspec

from sidecar.intercept.hot.spread.counts import ABSENT, counts_in, new_counts
from sidecar.policy.bundle import Bundle
from sidecar.record.recorder.people import SUPERVISOR
from sidecar.record.recorder.worker.client import RecorderClient
from sidecar.runtime import names
from sidecar.runtime.config import Config
from sidecar.runtime.limits import DRAIN_S, LOAD_S_MAX, SCRAPE_S_MAX, START_S
from sidecar.runtime.metrics import Counts, Metrics, shown
from sidecar.runtime.processes import control
from sidecar.runtime.processes.child import Child, kept_alive
from sidecar.runtime.processes.control import Message

_log = logging.getLogger("sidecar.supervisor")
_RECORDER = "sidecar.runtime.processes.recording"
_WORKER = "sidecar.runtime.processes.worker"


class NeverServed(Exception):
    """A process ended before it served: to start it again would end the same way."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Plan(msgspec.Struct, frozen=True):
    """What is started.

    Args:
        config: The configuration.
        text: Its text.
        sockets: Listener → descriptors.
        workers: How many.
    """

    config: Config
    text: str
    sockets: dict[str, tuple[int, ...]]
    workers: int


class Fleet:
    """Every process below the supervisor.

    Args:
        plan: What is started.
        ledger: This process' own client, which needs a connection to each recorder.
        metrics: This process' own numbers.
        changed: Is told whether all is well, whenever that may have changed.
    """

    def __init__(
        self,
        plan: Plan,
        ledger: RecorderClient,
        metrics: Metrics,
        changed: Callable[[bool], None],
    ) -> None:
        self._plan = plan
        self._ledger = ledger
        self._metrics = metrics
        self._changed = changed
        self._past = Counts()
        self._recorder: Child | None = None
        self._recorder_up = False
        self._was_opened = asyncio.Event()
        self._workers: dict[str, Child] = {}
        self._serving: dict[str, str] = {}
        self._all_served = asyncio.Event()
        self._digest = ""
        self._entities: str | None = None
        self._shadow = None if plan.config.shadow is None else ""
        self._bundle_known = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: dict[tuple[Child, str], asyncio.Future[None]] = {}
        self._numbers = itertools.count()
        self._restarts = {"worker": 0, "recorder": 0}
        # How many connections each worker holds.
        self._counts_fd = new_counts(plan.workers)
        self._counts = counts_in(self._counts_fd)

    # --- from the start to the end ---

    async def open(self) -> None:
        """Start everything; return when the recorder takes records. Raises NeverServed."""
        self._keep("recorder", self._recorder_life)
        for number in range(self._plan.workers):
            self._keep(f"worker-{number}", partial(self._worker_life, number))
        await self.until(self._was_opened)
        await self._ledger.attached()

    async def serve(self, bundle: Bundle, entities: str | None) -> None:
        """Let the workers serve; return when all do. Raises NeverServed."""
        self._digest, self._entities = bundle.digest, entities
        self._bundle_known.set()
        await self.until(self._all_served)

    async def until(self, event: asyncio.Event) -> None:
        """Return when `event` is set. Raises NeverServed."""
        waiting = asyncio.ensure_future(event.wait())
        done, _ = await asyncio.wait([waiting, *self._keepers], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        for one in done:
            await one

    async def drain(self) -> None:
        """Let every worker end what is under way; no process is started again from here on."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for worker in self._workers.values():
            worker.tell(control.Drain())
        # Twice the time: the listeners' own limit comes first, then the records of what they did.
        await asyncio.gather(*(one.ended_within(2 * DRAIN_S) for one in self._workers.values()))

    async def close(self) -> None:
        """Let the recorder sign what is there and leave."""
        for task in self._tasks:
            task.cancel()
        if self._recorder is not None:
            self._recorder.tell(control.Stop())
            await self._recorder.ended_within(DRAIN_S)
        os.close(self._counts_fd)

    def _keep(self, name: str, live: Callable[[], Coroutine[None, None, int]]) -> None:
        kind = name.partition("-")[0]

        def died() -> None:
            self._restarts[kind] += 1

        loop = asyncio.get_running_loop()
        self._keepers.append(loop.create_task(kept_alive(name, live, died)))

    def _spawn(self, doing: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- lives ---

    async def _recorder_life(self) -> int:
        child = self._recorder = await Child.started("recorder", _RECORDER, (), self._hear)
        config = self._plan.config
        ledger = config.doc.ledger
        child.tell(
            control.Open(
                str(config.state),
                ledger.name,
                ledger.durability,
                self._plan.workers + 1,
                ledger.user,
                ledger.retention.days,
                ledger.retention.bytes,
            )
        )
        code = await child.ended()
        self._recorder, self._recorder_up = None, False
        self._over(child)
        if not self._was_opened.is_set():
            raise NeverServed(code)
        return code

    async def _worker_life(self, number: int) -> int:
        plan, name = self._plan, f"worker-{number}"
        descriptors = [fd for bound in plan.sockets.values() for fd in bound]
        descriptors.append(self._counts_fd)
        child = self._workers[name] = await Child.started(name, _WORKER, descriptors, self._hear)
        await self._bundle_known.wait()
        file = str(plan.config.file)
        child.tell(
            control.Boot(
                file,
                plan.text,
                plan.sockets,
                self._digest,
                self._entities,
                self._shadow,
                number,
                self._counts_fd,
            )
        )
        self._connect(child)
        too_slow = asyncio.get_running_loop().call_later(START_S, self._too_slow, child)
        code = await child.ended()
        too_slow.cancel()
        self._serving.pop(name, None)
        self._counts[number] = ABSENT
        self._over(child)
        if not self._all_served.is_set():
            raise NeverServed(code)
        return code

    def _too_slow(self, child: Child) -> None:
        if child.name not in self._serving:
            _log.error("the %s does not serve after %d s; it is killed", child.name, START_S)
            child.kill()

    def _over(self, child: Child) -> None:
        """Take leave of a process: its numbers stay, and nobody waits for its answers."""
        self._past.take(child.counted, is_over=True)
        for (its, _), answer in self._answers.items():
            if its is child and not answer.done():
                answer.set_result(None)
        self._look()

    # --- connections to the recorder ---

    def _opened(self, recorder: Child) -> None:
        """Connect everybody to a recorder that was started."""
        self._recorder_up = True
        self._attach(recorder)
        for worker in self._workers.values():
            if worker.is_alive and self._bundle_known.is_set():
                self._connect(worker)
        recorder.tell(control.Complete())
        self._was_opened.set()
        self._look()

    def _attach(self, recorder: Child) -> None:
        """Connect this process itself."""
        mine, its = socket.socketpair()
        recorder.hand(its, SUPERVISOR)
        self._spawn(self._ledger.attach(mine))

    def _connect(self, worker: Child) -> None:
        if self._recorder is None or not self._recorder_up:
            # The next recorder is connected with everybody.
            return
        one, other = socket.socketpair()
        self._recorder.hand(one, worker.life)
        worker.hand(other, "recorder")

    # --- what they say ---

    def _hear(self, child: Child, message: Message) -> None:
        match message:
            case control.Opened():
                self._opened(child)
            case control.Stuck(life):
                self._stuck(child, life)
            case control.Serving(digest):
                self._serving[child.name] = digest
                if not hmac.compare_digest(digest, self._digest):
                    child.tell(control.Load(self._digest))
                self._look()
            case control.Loaded(digest, error):
                self._loaded(child, digest, error)
            case _:
                self._hear_answer(child, message)

    def _stuck(self, recorder: Child, life: str) -> None:
        """Begin anew with one whom the recorder has let go; with this life of it, and no other."""
        if life == SUPERVISOR:
            self._attach(recorder)
        for worker in self._workers.values():
            if worker.life == life:
                worker.kill()

    def _hear_answer(self, child: Child, message: Message) -> None:
        match message:
            case control.Using(digest):
                self._answered(child, digest)
            case control.Counted(number, counts):
                child.counted = counts
                self._answered(child, str(number))
            case control.Scrape(number):
                self._spawn(self._scrape(child, number))
            case control.Cancel():
                for other in self._workers.values():
                    if other is not child:
                        other.tell(message)
            case _:
                raise AssertionError(message)

    def _loaded(self, child: Child, digest: str, error: str | None) -> None:
        if error is not None:
            _log.error("the %s cannot load the bundle; it is started anew", child.name)
            child.kill()
        elif hmac.compare_digest(digest, self._digest):
            # It came late: the others judge by it already.
            child.tell(control.Use(digest))
        else:
            self._answered(child, digest)

    def _answered(self, child: Child, what: str) -> None:
        answer = self._answers.get((child, what))
        if answer is not None and not answer.done():
            answer.set_result(None)

    async def _all(
        self, order: Message, children: Iterable[Child], what: str, seconds: float
    ) -> list[Child]:
        """Give an order; return those that have not answered in time."""
        loop = asyncio.get_running_loop()
        asked = {child: loop.create_future() for child in children if child.is_alive}
        for child, answer in asked.items():
            self._answers[child, what] = answer
            child.tell(order)
        if asked:
            await asyncio.wait(asked.values(), timeout=seconds)
        for child in asked:
            self._answers.pop((child, what), None)
        return [child for child, answer in asked.items() if not answer.done()]

    def _servers(self) -> list[Child]:
        return [worker for name, worker in self._workers.items() if name in self._serving]

    # --- everywhere ---

    async def prepare(self, bundle: Bundle) -> None:
        """Return when `bundle` is ready in every worker that serves."""
        late = await self._all(
            control.Load(bundle.digest), self._servers(), bundle.digest, LOAD_S_MAX
        )
        self._end_late(late)

    async def swap(self, bundle: Bundle) -> None:
        """Return when every worker that serves judges by `bundle`."""
        self._digest = bundle.digest
        # Again, for one that came since; who has it answers at once.
        order = control.Load(bundle.digest)
        late = await self._all(order, self._servers(), bundle.digest, LOAD_S_MAX)
        self._end_late(late)

    async def put_entities(self, digest: str) -> None:
        """Return when every worker that serves answers from these entities."""
        self._entities = digest
        late = await self._all(control.Entities(digest), self._servers(), digest, LOAD_S_MAX)
        self._end_late(late)

    def put_shadow(self, digest: str) -> None:
        """Have every worker ask this candidate; nobody waits for one that cannot."""
        self._shadow = digest
        for worker in self._servers():
            worker.tell(control.Shade(digest))

    def _end_late(self, late: Iterable[Child]) -> None:
        for child in late:
            _log.error("the %s does not take what is in force; it is started anew", child.name)
            child.kill()

    # --- how the whole is ---

    def _look(self) -> None:
        up = len(self._serving)
        ready = self._recorder_up and up == self._plan.workers
        health = control.Health(ready, self._plan.workers, up, self._restarts["recorder"])
        for worker in self._servers():
            worker.tell(health)
        if up == self._plan.workers:
            self._all_served.set()
        self._changed(ready)

    def pids(self) -> dict[str, object]:
        """Return the process ids of all that live."""
        workers = [worker.pid for _, worker in sorted(self._workers.items()) if worker.is_alive]
        return {"recorder": self._recorder.pid if self._recorder else None, "workers": workers}

    async def _scrape(self, asker: Child, number: int) -> None:
        """Send the metrics of all; who does not answer is shown as it was the last time."""
        children = [*self._workers.values(), *([self._recorder] if self._recorder else [])]
        count = next(self._numbers)
        await self._all(control.Count(count), children, str(count), SCRAPE_S_MAX)
        counts = Counts()
        counts.take(self._past.snapshot())
        counts.take(self._metrics.snapshot())
        for child in children:
            if child.is_alive:
                counts.take(child.counted)
        up = {names.WORKERS: self._plan.workers, names.WORKERS_UP: len(self._serving)}
        up[names.RECORDER_UP] = int(self._recorder_up)
        for name, value in up.items():
            counts.put(name, (), value)
        counts.add(names.WORKER_RESTARTS, (), self._restarts["worker"])
        counts.add(names.RECORDER_RESTARTS, (), self._restarts["recorder"])
        asker.tell(control.Text(number, shown(counts).decode()))
