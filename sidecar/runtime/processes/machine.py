"""This machine's clock, randomness and event loop, for every process."""

import asyncio
import contextlib
import gc
import importlib
import logging
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Final

from sidecar.runtime.limits import DESCRIPTORS_MAX
from sidecar.terms.ids import rfc3339, uuid7_head, uuid7_tails
from sidecar.terms.words import CallId

_time_ns: Final = time.time_ns
# Some megabytes of values at most wait for a collection that cycles need.
_YOUNG_MAX: Final = 20_000
# Of 256 ids.
_RANDOM_BYTES: Final = 2560


class Ids:
    """Call ids and record times; a clock that steps back does not reorder ids."""

    def __init__(self) -> None:
        self._head = ""
        # When the millisecond of the head is over.
        self._until_ns = 0
        self._tails: list[str] = []

    def new(self) -> CallId:
        """Return the next id."""
        now_ns = _time_ns()
        if now_ns >= self._until_ns:
            now_ms = now_ns // 1_000_000
            self._head = uuid7_head(now_ms)
            self._until_ns = (now_ms + 1) * 1_000_000
        if not self._tails:
            # A system call for many ids; what is not used yet is nobody's secret.
            self._tails = uuid7_tails(os.urandom(_RANDOM_BYTES))
        # Why not CallId(…): that is a call, and this is on the way of every other.
        return self._head + self._tails.pop()  # type: ignore[return-value]


def now() -> str:
    """Return the time as records carry it."""
    return rfc3339(_time_ns() // 1_000)


def now_ms() -> int:
    """Return milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def settle_memory() -> None:
    """Leave what lives as long as the process out of every collection, and collect more rarely.

    A call's values are in no cycles and go by themselves; looking for cycles among the calls under
    way costs a fifth of their time at the interpreter's own thresholds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_MAX, 20, 50)


def descriptors_max() -> int:
    """Return how many descriptors a process may have once it has asked for them."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_MAX)


def raise_descriptors() -> None:
    """Ask for all descriptors that this process, and each that it starts, may have.

    The limit that a login sets is for programs that wait by select(2); none of ours does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < descriptors_max():
        # A kernel may allow fewer than the limit says: then those that there are have to do.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors_max(), hard))


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's factory where it is installed, None for the standard library's loop."""
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module(
            "uvloop"
        ).new_event_loop
    except ImportError:
        return None
    return factory


def log_to_stderr() -> None:
    """Say what is logged where whoever started the sidecar looks."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
