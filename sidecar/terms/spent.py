"""Where the time of one call went, stage by stage; the clock is an argument."""

from collections.abc import Callable
from typing import Final, TypeAlias

STAGES: Final = ("parse", "facts", "decide", "enforce", "record")
PARSE: Final = 0
FACTS: Final = 1
DECIDE: Final = 2
ENFORCE: Final = 3
RECORD: Final = 4


# Takes note of the seconds of one call, in the order of STAGES, and for how many it stands.
Timed: TypeAlias = Callable[[list[float], int], None]


def untimed(_took_s: list[float], _calls: int) -> None:
    """Take no note."""


class Spent:
    """Seconds by stage; what is asked for again adds up."""

    __slots__ = ("_at_s", "_now_s", "took_s")

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._at_s = now_s()
        self.took_s = [0.0] * len(STAGES)

    def lap(self, stage: int) -> None:
        """Add what has passed since the last lap to `stage`."""
        now_s = self._now_s()
        self.took_s[stage] += now_s - self._at_s
        self._at_s = now_s
