"""What every test gets: the scale of the run, and a loop that must never be blocked."""

import collections
import gc
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

# A busy machine may hold a callback up for some tenths of a second by itself; a blocking call that
# matters (a name looked up, a disk waited for, a sleep) takes longer sooner or later.
BLOCKED_S_MAX = 1.0

# The gate asks the same each time; what is new is found by `--scale=full`.
settings.register_profile(
    "small", max_examples=50, deadline=None, print_blob=True, derandomize=True
)
settings.register_profile(
    "full",
    max_examples=2_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--scale",
        choices=("small", "full"),
        default="small",
        help="how long properties, fuzz and torture go on",
    )


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile(config.getoption("--scale"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Lift the time limit of what is asked to go on for long."""
    if config.getoption("--scale") != "full":
        return
    for item in items:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture
def scaled(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """Choose between a `small` and a `full` number by the --scale of this run."""
    is_full = request.config.getoption("--scale") == "full"
    return lambda small, full: full if is_full else small


@pytest.fixture(scope="session")
def conformance() -> Path:
    """The folder of other people's vectors, which are not part of this tree."""
    told = os.environ.get("SIDECAR_CONFORMANCE")
    folder = Path(told) if told else Path(__file__).parents[2] / "shared" / "conformance"
    if not folder.is_dir():
        pytest.skip(f"no vectors at {folder}; say where with SIDECAR_CONFORMANCE")
    return folder


class _Collected:
    """How long the collector of cycles held whatever ran: the heap of all tests is a large one."""

    def __init__(self) -> None:
        self._began_s = 0.0
        self._pauses: collections.deque[tuple[float, float]] = collections.deque(maxlen=100)
        gc.callbacks.append(self._note)

    def _note(self, phase: str, _info: object) -> None:
        now_s = time.perf_counter()
        if phase == "start":
            self._began_s = now_s
        else:
            self._pauses.append((now_s, now_s - self._began_s))

    def within(self, last_s: float) -> float:
        """Return the seconds it took of the `last_s`."""
        since_s = time.perf_counter() - last_s
        return sum(took_s for ended_s, took_s in self._pauses if ended_s >= since_s)


_COLLECTED: Final = _Collected()


def pytest_collection_finish() -> None:
    """Keep the collector off what stays: walking all tests took it a second, in any one of them."""
    gc.collect()
    gc.freeze()


def _without_processor_s() -> float:
    """Return how long this process was ready and had to wait for a processor; 0 if nobody says.

    Documentation/scheduler/sched-stats.rst of Linux: the second number, in nanoseconds.
    """
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, LookupError, ValueError):
        return 0.0


class _Slow(logging.Handler):
    """Remembers the callbacks that asyncio's debug mode saw holding the loop for too long."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen: list[str] = []
        self._waited_s = _without_processor_s()

    def emit(self, record: logging.LogRecord) -> None:
        if not str(record.msg).startswith("Executing ") or not isinstance(record.args, tuple):
            return
        duration_s = record.args[1]
        if not isinstance(duration_s, float):
            return
        # What others took of the machine is at most what they took since the last time.
        before_s, self._waited_s = self._waited_s, _without_processor_s()
        others_s = _COLLECTED.within(duration_s) + self._waited_s - before_s
        if duration_s - others_s > BLOCKED_S_MAX:
            self.seen.append(record.getMessage())


@pytest.fixture(autouse=True)
def _loop_is_never_blocked(request: pytest.FixtureRequest) -> Iterator[None]:
    if (Path(__file__).parent / "e2e") in request.path.parents:
        # There the sidecar is another process; this loop is the test's own, and may read a ledger.
        yield
        return
    slow = _Slow()
    logger = logging.getLogger("asyncio")
    logger.addHandler(slow)

    yield

    logger.removeHandler(slow)
    assert not slow.seen, f"the event loop was blocked: {slow.seen}; move the call to a thread"
