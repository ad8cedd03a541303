"""What bears on how much of a log is kept, looked at every second: clocks and holds."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sidecar.record.disk import Io
from sidecar.record.keeping.grounds import ClockWatch
from sidecar.record.keeping.history import History
from sidecar.record.keeping.outside import Outside
from sidecar.record.keeping.stops.ages import Ages
from sidecar.record.keeping.stops.holds import Holds
from sidecar.record.keeping.told import News
from sidecar.record.keeping.upkeep import Keeps
from sidecar.record.proof.identity import Identity
from sidecar.record.segments.sealed import NotSealed, opened
from sidecar.record.segments.segment import HEADER_BYTES, read_header, segment_names
from sidecar.record.segments.walk import Damage


class Watch:
    """Watches for one ledger.

    Args:
        who: Whose keys tell where holds stand.
        history: What the log says of itself.
        outside: Disk and clocks.
        newest_us: The latest time that the log knows of.
    """

    def __init__(self, who: Identity, history: History, outside: Outside, newest_us: int) -> None:
        now_us: Callable[[], int] = outside.now_us
        self._clock = ClockWatch(now_us, outside.monotonic_s)
        self._ages = Ages(history, now_us, outside.monotonic_s, newest_us)
        self._holds = Holds(outside.io, who.key_file, history)
        self.keeps = Keeps(outside.retention, self._holds.are_any, self._ages.are_known)

    def news(self) -> list[News]:
        """Return what is to be recorded."""
        step_ms = self._clock.step_ms()
        steps: list[News] = [] if step_ms is None else [("ledger.clock_step", {"step_ms": step_ms})]
        return [*steps, *self._ages.news(), *self._holds.news()]


def newest_us(io: Io, folder: Path, origin: str, now_us: int) -> int:
    """Return when the last segment was begun; now where nobody knows, which recovery refuses."""
    with suppress(OSError, Damage, LookupError, NotSealed):
        name = segment_names(io.names(folder))[-1]
        with opened(io, folder / name) as (read, _):
            said = read_header(read(HEADER_BYTES, 0), origin)
        if said is not None:
            return said.created_us
    return now_us
