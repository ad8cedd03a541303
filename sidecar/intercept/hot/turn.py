"""The requests of one turn of the loop that have come whole: what they share is done together.

Equal ones that are known again: each is judged, recorded and answered by itself, with an id, a time
and a digest of its own. What is done once for all of them is what cannot differ within one turn:
facts and bundle are asked for, the records are handed over, and who waits is called back by one of
them. INVARIANT: none of it spans two turns, and a connection has one request in it at most, so
nobody waits for what came later.

New ones take each of a few steps one behind the other: nothing is shared but what the processor
has at hand of the step's code and tables, which is a fifth of the time of each.
"""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from sidecar.intercept.hot.answers import all_written
from sidecar.intercept.hot.limits import STEPPING_MAX, STEPPING_MIN
from sidecar.intercept.hot.seam import Alike, Service, Together
from sidecar.terms.record import Written


class Asking(Protocol):
    """A connection with one request under way."""

    def begin(self, alike: Alike) -> None:
        """Have the request answered by itself."""
        ...

    def step(self) -> bool:
        """Go one step on with a request that is new; return whether there is another."""
        ...

    def give(self, plain: bytes, body: bytes, until_s: float) -> None:
        """Give the answer: `plain` where nothing more is to be said, and wait until then."""
        ...

    def fail(self, failed: BaseException | None) -> None:
        """Refuse what could not be recorded; None for a mistake of ours that was told."""
        ...


class Clock(Protocol):
    """Until when a connection may say nothing."""

    def __call__(self, *, is_known: bool) -> float:
        """Return it, of one that has shown a credential or has not."""
        ...


class Turn:
    """What came in this turn.

    Args:
        service: Answers.
        until_idle_s: Says until when who was answered may say nothing.
    """

    def __init__(self, service: Service, until_idle_s: Clock) -> None:
        self._service = service
        self._until_idle_s = until_idle_s
        self._came: dict[object, tuple[Alike, list[Asking]]] = {}
        self._new: deque[Asking] = deque()
        # Of the new ones those that are under way.
        self._stepping: deque[Asking] = deque()
        self._is_due = False

    def add(self, alike: Alike, one: Asking) -> None:
        """Take a request, to be begun once all that came is read."""
        group = self._came.get(alike.key)
        if group is None:
            self._came[alike.key] = (alike, [one])
            self._wake()
        else:
            group[1].append(one)

    def put(self, one: Asking) -> None:
        """Take a request that is new, to be taken step by step once all that came is read."""
        self._new.append(one)
        self._wake()

    def _wake(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self._is_due = False
        try:
            self._service.turning()
        finally:
            self._begin_all()

    def _begin_all(self) -> None:
        try:
            while self._came:
                self._begin_equal(*self._came.pop(next(iter(self._came))))
            count = min(max(math.ceil(len(self._new) / 2), STEPPING_MIN), STEPPING_MAX)
            while self._new:
                self._step_group(count)
        finally:
            if self._came or self._new:
                # A mistake of ours in one of them is not the others'.
                self._wake()
            self._service.turned()

    def _step_group(self, count: int) -> None:
        """Take all steps of so many, each of them one behind the other, and have that sent."""
        new, stepping = self._new, self._stepping
        while new and len(stepping) < count:
            stepping.append(new.popleft())
        self._step_all()
        if new:
            self._service.turned()
            self._service.turning()

    def _step_all(self) -> None:
        stepping = self._stepping
        try:
            while stepping:
                one = stepping.popleft()
                if one.step():
                    stepping.append(one)
        finally:
            if stepping:
                # A mistake of ours in one of them: what was judged in this turn is recorded in it.
                self._step_all()

    def _begin_equal(self, alike: Alike, waiting: list[Asking]) -> None:
        try:
            while len(waiting) > 1:
                together = alike.many(len(waiting))
                if together is None:
                    break
                count = len(together.bodies)
                begun, waiting = waiting[:count], waiting[count:]
                together.written.add_done_callback(partial(self._recorded, begun, together))
        finally:
            # Also behind a mistake of ours: it may be in one of them alone.
            waiting.reverse()
            _begin_each(waiting, alike)

    def _recorded(self, waiting: list[Asking], together: Together, written: Written) -> None:
        is_well, failed = False, written.exception()
        if failed is not None:
            _fail(waiting, failed)
            return
        try:
            together.given(len(waiting))
            plain, until_s = all_written(together.bodies), self._until_idle_s(is_known=True)
            is_well = True
        finally:
            if not is_well:
                _fail(waiting, None)
        _give([*zip(waiting, plain, together.bodies, strict=True)][::-1], until_s)


# Whoever fails at one of them does not keep the others waiting: each takes from the last.


def _begin_each(waiting: list[Asking], alike: Alike) -> None:
    try:
        while waiting:
            waiting.pop().begin(alike)
    finally:
        if waiting:
            asyncio.get_running_loop().call_soon(_begin_each, waiting, alike)


def _give(answers: list[tuple[Asking, bytes, bytes]], until_s: float) -> None:
    try:
        while answers:
            one, plain, body = answers.pop()
            one.give(plain, body, until_s)
    finally:
        if answers:
            asyncio.get_running_loop().call_soon(_give, answers, until_s)


def _fail(waiting: Sequence[Asking], failed: BaseException | None) -> None:
    left = [*waiting]
    try:
        while left:
            left.pop().fail(failed)
    finally:
        if left:
            asyncio.get_running_loop().call_soon(_fail, left, failed)
