"""Where the time of one call went, stage by stage; the clock is an argument.

What is decided passes through STAGES, which the metrics count. What is forwarded goes on to wait
until its record is durable, and for the upstream: its outcome record tells of TOLD.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

STAGES: Final = ("parse", "facts", "decide", "enforce", "record")
PARSE: Final = 0
FACTS: Final = 1
DECIDE: Final = 2
ENFORCE: Final = 3
RECORD: Final = 4

# Those before RECORD, and what comes behind them.
TOLD: Final = (*STAGES[:RECORD], "durable", "upstream")
# Of a call of which nobody looked at its stages.
UNTOLD: Final = (0.0,) * len(STAGES)

# Takes note of the seconds of one call, in the order of STAGES, and for how many it stands.
Timed: TypeAlias = Callable[[list[float], int], None]


def untimed(_took_s: list[float], _calls: int) -> None:
    """Take no note."""


class Spent:
    """Seconds by stage; what is asked for again adds up."""

    __slots__ = ("_at_s", "_now_s", "durable_s", "took_s")

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self.took_s = [0.0] * len(STAGES)
        self.durable_s = 0.0
        self.begin()

    def begin(self) -> None:
        """Begin a lap now: what has passed since the last one went elsewhere."""
        self._at_s = self._now_s()

    def lap(self, stage: int) -> None:
        """Add what has passed since the last lap to `stage`."""
        now_s = self._now_s()
        self.took_s[stage] += now_s - self._at_s
        self._at_s = now_s

    def waited(self) -> None:
        """Note that the record is durable, which was waited for since the last lap."""
        now_s = self._now_s()
        self.durable_s = now_s - self._at_s
        self._at_s = now_s

    def timings_us(self) -> dict[str, int]:
        """Return what an outcome record says, made now: all since the last lap went upstream."""
        return timings_us(self.took_s, self.durable_s, self._now_s() - self._at_s)


def timings_us(took_s: Sequence[float], durable_s: float, upstream_s: float) -> dict[str, int]:
    """Return whole microseconds by TOLD; what took less than one is left out."""
    said = {}
    if took_s is not UNTOLD:
        said = {stage: int(took_s[at] * 1e6) for at, stage in enumerate(STAGES[:RECORD])}
    said["durable"], said["upstream"] = int(durable_s * 1e6), int(upstream_s * 1e6)
    return {stage: us for stage, us in said.items() if us > 0}
