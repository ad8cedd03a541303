"""How old records are, as far as a clock can say: retention by age waits where it cannot.

A machine that begins with a wrong year would prune all that it has. So a clock that has leapt, over
a stop of the sidecar or while it runs, is told (`ledger.clock_leapt`), and nothing is pruned by its
age for as long as it takes to see that: the time that must pass is that of the clock itself, and a
clock that is put right begins no other wait. A sidecar that stood still for so long waits as well.
"""

from collections.abc import Callable
from typing import Final

from sidecar.record.keeping.history import LEAPT, History
from sidecar.record.keeping.told import News
from sidecar.record.limits import CLOCK_LEAP_S

_LEAP_US: Final = int(CLOCK_LEAP_S * 1e6)


class Ages:
    """Knows whether the wall clock says how old records are.

    Args:
        history: What the log says of leaps.
        now_us: The wall clock.
        monotonic_s: A clock that nobody sets.
        newest_us: The latest time that the log knows of.
    """

    def __init__(
        self,
        history: History,
        now_us: Callable[[], int],
        monotonic_s: Callable[[], float],
        newest_us: int,
    ) -> None:
        self._history = history
        self._now_us, self._monotonic_s = now_us, monotonic_s
        # When the monotonic clock began, by what the log knows and then by the wall clock.
        self._begin_us = newest_us - int(monotonic_s() * 1e6)
        self._leapt_us: int | None = None
        self._untold: list[News] = []

    def are_known(self) -> bool:
        """Return whether the clock may be believed; looks at it first."""
        self._look()
        now_us = self._now_us()
        leaps = (self._leapt_us, self._history.leapt_us)
        return not any(at is not None and 0 <= now_us - at < _LEAP_US for at in leaps)

    def news(self) -> list[News]:
        """Return what is to be recorded of leaps."""
        self._look()
        told, self._untold = self._untold, []
        return told

    def _look(self) -> None:
        now_us = self._now_us()
        begin_us = now_us - int(self._monotonic_s() * 1e6)
        ahead_us, self._begin_us = begin_us - self._begin_us, begin_us
        if ahead_us >= _LEAP_US:
            self._leapt_us = now_us
            detail = {"ahead_s": ahead_us // 1_000_000, "to_us": now_us}
            self._untold.append((LEAPT, detail))
