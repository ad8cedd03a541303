"""The recorder's process: opens the ledger, serves the workers, and alone can write and sign.

It loads nothing but the ledger, so that it is up again in a moment. Where the configuration names a
user for it, it becomes that user before it opens anything: workers then cannot read its key. Run as
`python -m sidecar.runtime.processes.recording`.
"""

import asyncio
import os
import pwd
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

import msgspec

from sidecar.record.disk import DISK
from sidecar.record.fold import Gaps, OpenDecisions
from sidecar.record.keeping.grounds import boot_id
from sidecar.record.keeping.upkeep import Retention
from sidecar.record.ledger import OUTSIDE, Ledger, Settings, ledger_paths
from sidecar.record.limits import RECENT_IDS_EACH
from sidecar.record.proof.place import machine_id
from sidecar.record.read import recent_ids
from sidecar.record.recorder.ahead.spools import Spools
from sidecar.record.recorder.outside import Outside
from sidecar.record.recorder.server import Recorder
from sidecar.record.segments.aside import InThread
from sidecar.record.verify import is_locked
from sidecar.runtime import names
from sidecar.runtime.exits import exit_code
from sidecar.runtime.limits import (
    LEDGER_LOOK_S,
    LEDGER_WAIT_S,
    ORPHAN_DRAIN_S,
    RECORDER_ORPHAN_EXIT_S,
    STATE_EVERY_S,
)
from sidecar.runtime.metrics import Counts, Snapshot
from sidecar.runtime.processes.control import (
    Complete,
    Connect,
    Count,
    Counted,
    Line,
    Message,
    Open,
    Opened,
    Post,
    Stop,
    Stuck,
    die_with_supervisor,
    joined,
)
from sidecar.runtime.processes.machine import (
    Ids,
    fast_loop,
    log_to_stderr,
    now,
    settle_memory,
)
from sidecar.terms.errors import ConfigError, SidecarError

# Short, so that neither the disk's thread nor the loop waits long for the other.
SWITCH_S = 0.0005


def hand_over(state: Path, user: str) -> None:
    """Let the state folder, and what of it is the recorder's, be `user`'s. Raises ConfigError."""
    try:
        found = pwd.getpwnam(user)
        os.chown(state, found.pw_uid, found.pw_gid)
        for name in ("ledger", "keys", "inputs"):
            (state / name).mkdir(mode=0o700, exist_ok=True)
            for path in (state / name, *(state / name).rglob("*")):
                _give(path, found)
        for path in state.glob("persons.*"):
            _give(path, found)
    except KeyError:
        raise ConfigError(f"`ledger.user`: there is no user `{user}`") from None
    except OSError as error:
        text = f"the state folder cannot be handed over to `{user}`: {error.strerror}"
        raise ConfigError(text) from None


def _give(path: Path, user: pwd.struct_passwd) -> None:
    # A recorder of before, which is about to leave, removes files of its own.
    with suppress(FileNotFoundError):
        os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def become(user: str) -> None:
    """Go on as `user`. Raises ConfigError."""
    try:
        found = pwd.getpwnam(user)
        os.initgroups(user, found.pw_gid)
        os.setgid(found.pw_gid)
        os.setuid(found.pw_uid)
    except (KeyError, OSError) as error:
        raise ConfigError(f"the recorder cannot become the user `{user}`: {error}") from None


def open_ledger(state: Path, settings: Settings) -> Ledger:
    """Return the ledger below the state folder, proven to be whole; blocks.

    Who starts right after a sidecar was killed finds its recorder about to leave, and waits for it.

    Raises:
        LedgerBroken: It is not intact, or another process goes on writing it.
        LedgerUnwritable: Its disk takes nothing.
    """
    folder, key_file = ledger_paths(state)
    until_s = time.monotonic() + LEDGER_WAIT_S
    while folder.is_dir() and is_locked(folder) and time.monotonic() < until_s:
        time.sleep(LEDGER_LOOK_S)
    return Ledger.open(folder, key_file, settings)


def opened_spools(state: Path, durability: str) -> Spools:
    """Return where workers keep what they answer for first: beside the key, in `group`."""
    folder = ledger_paths(state)[1].with_name("ahead")
    return Spools(folder, boot_id(), token_hex, makes=durability == "group")


class Recording:
    """What the supervisor asks of the recorder, and what it counts."""

    def __init__(
        self, ledger: Ledger, opened: OpenDecisions, gaps: Gaps, asked: Open, post: Post
    ) -> None:
        self._ledger = ledger
        self._gaps, self._gaps_before = gaps, gaps.count
        self._post = post
        self._counts = Counts()
        # Here at once: the ledger's thread adds to what the loop reads, and must not add a name.
        self._counts.spread(names.COMMIT_SECONDS, ())
        recent = recent_ids(
            DISK, ledger_paths(Path(asked.state))[0], RECENT_IDS_EACH * asked.writers
        )
        outside = Outside(
            new_id=Ids().new, now=now, stuck=lambda name: self._tell(Stuck(name)),
            committed=self._committed,
        )  # fmt: skip
        spools = opened_spools(Path(asked.state), asked.durability)
        self._recorder = Recorder(ledger, opened, recent, spools, outside)
        self._line: Line | None = None
        self._ends = asyncio.Event()
        self._is_told = False

    async def run(self) -> None:
        """Serve until told to stop, or until the supervisor and all workers are gone."""
        loop = asyncio.get_running_loop()
        self._line = await joined(self._post.control, self._hear, self._ends.set)
        die_with_supervisor(
            lambda: loop.call_soon_threadsafe(self._ends.set), RECORDER_ORPHAN_EXIT_S
        )
        self._tell(Opened(self._ledger.size))
        looking = loop.create_task(self._look())
        await self._ends.wait()
        looking.cancel()
        if not self._is_told:
            # What the workers decide while they leave is recorded as well.
            await asyncio.wait(
                [loop.create_task(self._recorder.nobody_is_left())], timeout=2 * ORPHAN_DRAIN_S
            )
        await self._recorder.close()

    def _hear(self, message: Message) -> None:
        match message:
            case Connect(name):
                self._recorder.connect(name, self._post.handed())
            case Complete():
                self._recorder.complete()
            case Count(number):
                self._tell(Counted(number, self._counted()))
            case Stop():
                self._is_told = True
                self._ends.set()
            case _:
                raise AssertionError(message)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(STATE_EVERY_S)
            self._recorder.tell_state()

    def _committed(self, count: int, seconds: float) -> None:
        self._counts.observe(names.COMMIT_SECONDS, (), seconds, count)

    def _counted(self) -> Snapshot:
        self._counts.put(names.RECORDS, (), self._recorder.durable)
        self._counts.put(names.SIZE, (), self._ledger.size)
        self._counts.put(names.GAPS, (), self._gaps.count - self._gaps_before)
        self._counts.put(names.QUEUE, (), self._recorder.waiting)
        self._counts.put(names.OPEN, (), self._recorder.open_decisions)
        return self._counts.snapshot()

    def _tell(self, message: Message) -> None:
        assert self._line is not None
        self._line.tell(message)


async def _main(ledger: Ledger, opened: OpenDecisions, gaps: Gaps, asked: Open, post: Post) -> None:
    await Recording(ledger, opened, gaps, asked, post).run()


def main() -> None:
    """Record until the supervisor says otherwise or is gone."""
    for name in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        # A terminal's or a service manager's signals go to the whole group; the supervisor alone
        # answers them, and the recorder is the last to leave.
        signal.signal(name, signal.SIG_IGN)
    os.umask(0o077)
    sys.setswitchinterval(SWITCH_S)
    log_to_stderr()
    post = Post(sys.argv[1:])
    asked = post.first()
    assert isinstance(asked, Open)
    opened, gaps = OpenDecisions(), Gaps()
    try:
        if asked.user is not None:
            become(asked.user)
        kept = Retention(asked.retention_days, asked.retention_bytes)
        outside = msgspec.structs.replace(
            OUTSIDE,
            durability=asked.durability,
            retention=kept,
            boot=boot_id(),
            machine=machine_id(),
            aside=InThread,
            writers=asked.writers,
        )
        settings = Settings(name=asked.name, folds=(opened, gaps), outside=outside)
        ledger = open_ledger(Path(asked.state), settings)
        settle_memory()
        with asyncio.Runner(loop_factory=fast_loop()) as runner:
            runner.run(_main(ledger, opened, gaps, asked, post))
    except SidecarError as error:
        sys.stderr.write(f"sidecar: {error}\n")
        sys.exit(exit_code(error))


if __name__ == "__main__":
    main()
