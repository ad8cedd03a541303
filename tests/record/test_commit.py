"""The one writer: accepted and synced, lives that did not end, clocks that are set, full disks."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from sidecar.record import recovery
from sidecar.record.canonical import Halves, split
from sidecar.record.commit import Committer
from sidecar.record.disk import DISK, Io
from sidecar.record.fold import Revocations, revoke
from sidecar.record.keeping.grounds import lock
from sidecar.record.ledger import ledger_paths
from sidecar.record.limits import GROUP_RECORDS_MAX
from sidecar.record.proof import identity
from sidecar.record.recovery import identify
from sidecar.record.segments.aside import InThread
from sidecar.record.segments.segment import FOOTER_BYTES, framed, name_of, read_footer
from sidecar.record.verify import read_checkpoint, verify
from sidecar.terms.errors import RecordError
from sidecar.terms.words import CallId
from tests.record import sample
from tests.record.faulty import FaultyDisk
from tests.record.sample import TIME, admin


def opened(
    state: Path, io: Io = DISK, clock: sample.Clock | None = None, **bounds: Any
) -> Committer:
    """Return a writer that no thread drives."""
    folder, key_file = ledger_paths(state)
    folds = bounds.pop("folds", ())
    outside = sample.outside(io, clock, **bounds)
    fd = lock(io, folder)
    who = identify(io, folder, key_file, "test", os.urandom)
    return Committer(folder, fd, who, folds, outside)


def batch(*numbers: int) -> list[Halves]:
    return [split(admin(number)) for number in numbers]


def events(state: Path) -> list[str]:
    found = [one for one in sample.records(state) if one["kind"] != "admin"]
    return [one.get("event", one["kind"]) for one in found]


def kill(committer: Committer) -> None:
    """End without a farewell, as a kill does: what was written is in the hands of the machine."""
    committer._segment.close()
    os.close(committer._folder_fd)


def is_intact(state: Path) -> bool:
    folder, key_file = ledger_paths(state)
    who = identity.load(DISK, key_file)
    return verify(folder, who.verifier, who.last_signed(DISK)).intact


# --- accepted and synced ---


def test_what_is_accepted_is_written_and_not_synced(tmp_path):
    disk = FaultyDisk()
    committer = opened(tmp_path, disk)
    committer.commit(batch(0))
    before = disk.calls.count("fdatasync")

    committer.accept(batch(1, 2))

    assert (committer.size, committer.accepted) == (1, 3)
    assert disk.calls.count("fdatasync") == before
    assert sample.ids(tmp_path) == ["id-0", "id-1", "id-2"]
    committer.close()
    assert is_intact(tmp_path)


def test_what_is_accepted_is_synced_within_the_window(tmp_path):
    clock = sample.Clock()
    committer = opened(tmp_path, clock=clock)
    committer.accept(batch(0))
    early = committer.due_s()
    clock.now_s += 0.06
    late = committer.due_s()

    committer.tend()

    assert 0 < early <= 0.05
    assert late == 0
    assert (committer.size, committer.accepted) == (1, 1)
    committer.close()


def test_a_window_that_is_full_is_synced_by_the_next(tmp_path):
    committer = opened(tmp_path)
    committer.accept(batch(*range(GROUP_RECORDS_MAX - 1)))
    before = committer.size
    committer.accept(batch(5000))

    assert before == 0
    assert committer.size == committer.accepted == GROUP_RECORDS_MAX
    committer.close()


def test_a_durable_record_makes_durable_what_was_accepted_before(tmp_path):
    revocations = Revocations()
    committer = opened(tmp_path, folds=(revocations,))
    committer.accept([split(revoke("agent:a", "root", id=CallId("id-r"), time=TIME))])
    before = revocations.is_revoked("agent:a")

    committer.commit(batch(1))

    assert not before
    assert revocations.is_revoked("agent:a")
    assert committer.size == 2
    committer.close()


@pytest.mark.parametrize("call", ["fdatasync", "write", "stat"])
def test_what_was_accepted_is_written_again_after_a_failure(tmp_path, call):
    disk, clock = FaultyDisk(), sample.Clock()
    committer = opened(tmp_path, disk, clock)
    committer.accept(batch(0, 1))
    disk.fails = lambda _, name: errno.EIO if name == call else 0
    with pytest.raises(RecordError):
        committer.commit(batch(2))
    clock.now_s += 2
    committer.tend()
    kept = committer.accepted
    disk.fails = lambda _, _name: 0

    committer.commit(batch(3))
    committer.close()

    assert kept == 2
    assert sample.ids(tmp_path) == ["id-0", "id-1", "id-3"]
    assert is_intact(tmp_path)


def test_what_was_accepted_is_written_again_although_nobody_writes_more(tmp_path):
    disk, clock = FaultyDisk(), sample.Clock()
    committer = opened(tmp_path, disk, clock)
    committer.accept(batch(0, 1))
    disk.fails = lambda _, name: errno.EIO if name == "fdatasync" else 0
    clock.now_s += 2
    committer.tend()
    was_refusing = committer.is_refusing
    disk.fails = lambda _, _name: 0
    clock.now_s += 2

    committer.tend()

    assert was_refusing
    assert not committer.is_refusing
    assert committer.size == 2
    assert committer.has_news
    committer.commit([])
    committer.close()
    assert events(tmp_path) == ["ledger.recovered"]


# --- what is synced beside ---


class Later:
    """What is done beside is done when it is waited for, or when the test says so."""

    def __init__(self) -> None:
        self.begun: list[Later.Doing] = []

    class Doing:
        def __init__(self, work: Callable[[], None]) -> None:
            self._work = work
            self.is_over = False
            self._failed: OSError | None = None

        def go(self) -> None:
            if not self.is_over:
                self.is_over = True
                try:
                    self._work()
                except OSError as error:
                    self._failed = error

        def end(self) -> None:
            self.go()
            if self._failed is not None:
                raise self._failed

    def __call__(self) -> "Later":
        return self

    def leave(self) -> None:
        """Let go of nothing."""

    def begin(self, work: Callable[[], None]) -> "Later.Doing":
        self.begun.append(self.Doing(work))
        return self.begun[-1]


def half_full(state: Path, disk: Io = DISK) -> tuple[Committer, Later, sample.Clock]:
    """Return a writer that has begun to sync two records, and has accepted a third since."""
    later, clock = Later(), sample.Clock()
    committer = opened(state, disk, clock, aside=later)
    committer.accept(batch(0, 1))
    clock.now_s += 0.03
    committer.tend()
    committer.accept(batch(2))
    return committer, later, clock


def test_a_window_that_is_half_full_is_synced_beside(tmp_path):
    committer, later, clock = half_full(tmp_path)
    committer.tend()
    before = committer.size
    later.begun[-1].go()

    committer.tend()

    assert before == 0
    assert (committer.size, committer.accepted) == (2, 3)
    clock.now_s += 0.06
    committer.tend()
    assert committer.size == 3
    committer.close()
    assert is_intact(tmp_path)
    assert sample.ids(tmp_path) == ["id-0", "id-1", "id-2"]


def test_no_more_than_a_window_is_accepted_while_the_disk_is_waited_for(tmp_path):
    committer, later, _ = half_full(tmp_path)

    committer.accept(batch(*range(3, GROUP_RECORDS_MAX)))

    assert later.begun[-1].is_over
    assert committer.accepted - committer.size < GROUP_RECORDS_MAX
    committer.close()
    assert is_intact(tmp_path)


def test_a_durable_record_waits_for_what_is_synced_beside(tmp_path):
    committer, later, _ = half_full(tmp_path)

    committer.commit(batch(3))

    assert later.begun[-1].is_over
    assert committer.size == committer.accepted == 4
    committer.close()
    assert is_intact(tmp_path)


@pytest.mark.parametrize("call", ["fdatasync", "stat"])
@pytest.mark.parametrize("is_seen_by", ["tend", "accept", "commit"])
def test_what_fails_beside_is_written_again(tmp_path, call, is_seen_by):
    disk = FaultyDisk()
    committer, later, clock = half_full(tmp_path, disk)
    disk.fails = lambda _, name: errno.EIO if name == call else 0
    later.begun[-1].go()
    clock.now_s += 1
    if is_seen_by == "tend":
        committer.tend()
    else:
        with pytest.raises(RecordError):
            getattr(committer, is_seen_by)(batch(3))
    was_refusing = committer.is_refusing
    disk.fails = lambda _, _name: 0

    committer.commit(batch(4))
    committer.close()

    assert was_refusing
    assert sample.ids(tmp_path) == ["id-0", "id-1", "id-2", "id-4"]
    assert is_intact(tmp_path)


def test_a_segment_ends_only_when_what_is_synced_beside_is_over(tmp_path):
    committer, later, _ = half_full(tmp_path)
    committer._outside = msgspec.structs.replace(committer._outside, segment_bytes_max=1)

    committer.accept(batch(3))

    assert later.begun[-1].is_over
    committer.close()
    assert sample.ids(tmp_path) == ["id-0", "id-1", "id-2", "id-3"]
    assert is_intact(tmp_path)


def test_a_checkpoint_is_signed_beside_and_never_over_a_newer_one(tmp_path):
    later, clock = Later(), sample.Clock()
    committer = opened(tmp_path, clock=clock, aside=later)
    committer.commit(batch(0))
    clock.now_s += 2
    committer.tend()
    before = signed_size(tmp_path)
    committer.commit(batch(1))

    committer.commit([split(revoke("agent:a", "root", id=CallId("id-r"), time=TIME))])

    assert before == 0
    assert signed_size(tmp_path) == 3
    assert later.begun[-1].is_over
    committer.close()
    assert is_intact(tmp_path)


def test_what_cannot_be_signed_beside_ends_the_taking_of_records(tmp_path):
    disk, later, clock = FaultyDisk(), Later(), sample.Clock()
    committer = opened(tmp_path, disk, clock, aside=later)
    committer.commit(batch(0))
    clock.now_s += 2
    committer.tend()
    disk.fails = lambda _, name: errno.EIO if name == "rename" else 0
    later.begun[-1].go()

    committer.tend()

    assert committer.is_refusing
    with pytest.raises(RecordError):
        committer.commit(batch(1))
    disk.fails = lambda _, _name: 0
    committer.close()


def test_work_in_a_thread_raises_where_it_is_waited_for():
    def fails() -> None:
        raise OSError(errno.EIO, "it fails")

    hand = InThread()
    doing = hand.begin(fails)

    with pytest.raises(OSError, match="it fails"):
        doing.end()
    assert doing.is_over
    hand.leave()


def test_one_thread_does_one_thing_after_the_other_and_ends_when_it_is_let_go():
    hand, found = InThread(), list[str]()

    for _ in range(3):
        hand.begin(lambda: found.append(threading.current_thread().name)).end()
    hand.leave()

    assert found == ["disk"] * 3


def test_a_mistake_beside_does_not_pass_for_success():
    hand, told = InThread(), list[str]()
    hook, threading.excepthook = (
        threading.excepthook,
        lambda found: told.append(str(found.exc_value)),
    )

    def mistaken() -> None:
        raise LookupError("a mistake of ours")

    try:
        with pytest.raises(AssertionError):
            hand.begin(mistaken).end()
    finally:
        threading.excepthook = hook

    assert told == ["a mistake of ours"]


# --- what is durable before it is looked at ---


class Seen:
    """A fold that counts decisions."""

    name = "seen"
    marks = (b'"kind":"decision"', b'"kind":"admin"')

    def __init__(self) -> None:
        self.count = 0

    def state(self) -> int:
        return self.count

    def restore(self, state: int) -> None:
        self.count = state

    def apply(self, record: Any) -> None:
        self.count += record["kind"] in ("decision", "admin")


class Plain(NamedTuple):
    """A record of which nobody is told before it is in force: it says nothing that is obeyed."""

    whole: Halves
    is_plain: bool = True

    @property
    def head(self) -> bytes:
        return self.whole.head

    @property
    def head_size(self) -> int:
        return self.whole.head_size

    def placed(self, place: bytes) -> bytes:
        return self.whole.placed(place)


def test_the_tree_and_the_folds_are_fed_before_anybody_reads_them(tmp_path):
    seen = Seen()
    committer = opened(tmp_path, folds=(seen,), segment_bytes_max=1)
    committer.commit([Plain(one) for one in batch(0, 1)])
    durable, before = committer.size, seen.count

    # The next one begins a segment, whose snapshot holds the folds, behind a checkpoint.
    committer.commit([Plain(one) for one in batch(2)])
    after, signed = seen.count, signed_size(tmp_path)
    committer.tend()
    last = seen.count
    committer.close()

    assert (durable, before) == (2, 0)
    assert (after, signed) == (2, 2)
    assert last == 3
    assert is_intact(tmp_path)


def test_what_others_act_upon_is_in_force_when_the_call_returns(tmp_path):
    seen = Seen()
    committer = opened(tmp_path, folds=(seen,))

    committer.commit(batch(0))

    assert seen.count == 1
    committer.close()


# --- a segment that was begun and is not known to be there ---


@pytest.mark.parametrize("is_signed", [True, False])
def test_a_segment_begun_behind_one_without_an_end_is_removed_at_the_start(tmp_path, is_signed):
    clock = sample.Clock()
    committer = opened(tmp_path, clock=clock)
    committer.commit(batch(0, 1))
    clock.now_s += 2 * is_signed
    committer.tend()
    recovery.begin_segment(committer._log, committer._grown.known._replace(segments=[0]))
    kill(committer)

    committer = opened(tmp_path)
    committer.commit(batch(2))
    committer.close()

    assert sample.ids(tmp_path) == ["id-0", "id-1", "id-2"]
    assert len(sample.segments(tmp_path)) == 1
    assert is_intact(tmp_path)


def test_a_segment_keeps_its_end_until_the_next_is_gone_for_good(tmp_path):
    disk = FaultyDisk()
    committer = opened(tmp_path, disk, segment_bytes_max=300)
    committer.commit(batch(0, 1, 2))
    (old,) = sample.segments(tmp_path)
    # The folder cannot be synced: a segment is begun, and nobody knows if its name is there.
    begun = old.with_name(name_of(3))
    disk.fails = lambda _, name: errno.EIO if name == "fsync" and begun.exists() else 0
    with pytest.raises(RecordError):
        committer.commit(batch(3))
    was_begun = begun.exists()
    disk.fails = lambda _, name: errno.EIO if name == "fsync" else 0
    for number in (4, 5):
        with pytest.raises(RecordError):
            committer.commit(batch(number))
        assert read_footer(old.read_bytes()[-FOOTER_BYTES:]) is not None
    disk.fails = lambda _, _name: 0
    committer.commit(batch(6))
    committer.close()

    assert was_begun
    assert sample.ids(tmp_path) == ["id-0", "id-1", "id-2", "id-6"]
    assert is_intact(tmp_path)


# --- what is obeyed is signed ---


def signed_size(state: Path) -> int:
    folder, key_file = ledger_paths(state)
    who = identity.load(DISK, key_file)
    return read_checkpoint(DISK, folder, who.verifier).size


def test_what_is_obeyed_is_signed_when_it_is_acknowledged(tmp_path):
    committer = opened(tmp_path)
    committer.commit(batch(0))
    before = signed_size(tmp_path)

    committer.commit([split(revoke("agent:a", "user:x", id=CallId("id-1"), time=TIME))])

    assert before == 0
    assert signed_size(tmp_path) == 2
    committer.close()


def forged(state: Path, event: str, seq: int, committer: Committer) -> None:
    """Append a frame as somebody does who can write the folder and has no key."""
    halves = split(admin(seq, event, party="agent:a", by="user:x", first=0, last=0))
    record = b"%b%b%d},%b" % (halves.head, committer._place, seq, halves.tail)
    with sample.segments(state)[-1].open("ab") as file:
        file.write(framed([record]))


@pytest.mark.parametrize("event", ["unrevoke", "pruned"])
@pytest.mark.parametrize("is_killed", [True, False])
def test_what_is_obeyed_and_was_never_signed_is_set_aside(tmp_path, event, is_killed):
    committer = opened(tmp_path)
    committer.commit([split(revoke("agent:a", "user:x", id=CallId("id-0"), time=TIME))])
    committer.commit(batch(1))
    (kill if is_killed else Committer.close)(committer)
    forged(tmp_path, event, 2, committer)

    revocations = Revocations()
    committer = opened(tmp_path, folds=(revocations,))
    committer.commit(batch(3))
    committer.close()

    assert revocations.is_revoked("agent:a")
    assert sample.ids(tmp_path) == ["id-0", "id-1", "id-3"]
    assert events(tmp_path) == ["ledger.torn_tail"]
    assert len(list((tmp_path / "ledger").glob("*.torn"))) == 1
    assert is_intact(tmp_path)


@pytest.mark.parametrize("name", ["rename", "fdatasync", "write"])
def test_what_is_obeyed_and_cannot_be_signed_is_not_acknowledged(tmp_path, name):
    disk = FaultyDisk()
    committer = opened(tmp_path, disk)
    disk.fails = lambda _, call: errno.EIO if call == name else 0

    with pytest.raises(RecordError):
        committer.commit([split(revoke("agent:a", "user:x", id=CallId("id-0"), time=TIME))])

    disk.fails = lambda _, _name: 0
    committer.commit(batch(1))
    committer.close()
    assert is_intact(tmp_path)


# --- lives ---


def test_a_life_that_did_not_end_leaves_a_gap_record(tmp_path):
    committer = opened(tmp_path, durability="group")
    committer.commit(batch(0))
    kill(committer)

    committer = opened(tmp_path, durability="group")
    committer.commit(batch(1))
    committer.close()

    assert events(tmp_path) == ["ledger.opened", "gap", "ledger.opened", "ledger.closed"]
    (gap,) = [one for one in sample.records(tmp_path) if one["kind"] == "gap"]
    assert (gap["reason"], gap["records_max"], gap["before_ms_max"]) == ("group", 1000, 50)


@pytest.mark.parametrize(
    ("first", "then", "has_gap"),
    [("b1", "b1", False), ("b1", "b2", True), ("", "", True), ("", "b1", True), ("b1", "", True)],
)
@pytest.mark.parametrize("durability", ["strict", "group"])
def test_only_the_end_of_the_machine_leaves_a_gap(tmp_path, first, then, has_gap, durability):
    committer = opened(tmp_path, durability="group", boot=first)
    committer.commit(batch(0))
    committer.accept(batch(1))
    kill(committer)

    committer = opened(tmp_path, durability=durability, boot=then)
    committer.commit(batch(2))
    committer.close()

    assert sample.ids(tmp_path) == ["id-0", "id-1", "id-2"]
    assert ("gap" in events(tmp_path)) == has_gap
    assert events(tmp_path)[-1] == "ledger.closed"


def test_a_gap_is_told_after_a_kill_and_then_the_end_of_the_machine(tmp_path):
    for boot in ("b1", "b1", "b2"):
        committer = opened(tmp_path, durability="group", boot=boot)
        committer.commit(batch(len(sample.ids(tmp_path))))
        kill(committer)

    assert [event for event in events(tmp_path) if event == "gap"] == ["gap"]


def test_a_life_that_ended_leaves_none(tmp_path):
    for number in range(3):
        committer = opened(tmp_path, durability="group")
        committer.commit(batch(number))
        committer.close()

    assert events(tmp_path) == ["ledger.opened", "ledger.closed"] * 3


def test_a_gap_is_told_once_also_by_a_strict_life(tmp_path):
    committer = opened(tmp_path, durability="group")
    committer.commit(batch(0))
    kill(committer)
    for number in range(1, 3):
        committer = opened(tmp_path)
        committer.commit(batch(number))
        committer.close()

    assert events(tmp_path) == ["ledger.opened", "gap", "ledger.closed"]


def test_a_strict_life_that_is_killed_leaves_no_gap(tmp_path):
    committer = opened(tmp_path)
    committer.commit(batch(0))
    kill(committer)
    committer = opened(tmp_path)
    committer.commit(batch(1))
    committer.close()

    assert events(tmp_path) == []


def test_a_life_is_remembered_across_segments(tmp_path):
    committer = opened(tmp_path, durability="group", segment_bytes_max=400)
    for number in range(9):
        committer.commit(batch(number))
    kill(committer)
    committer = opened(tmp_path)
    committer.commit(batch(9))
    committer.close()

    assert "gap" in events(tmp_path)


# --- the clock ---


@pytest.mark.parametrize(
    ("step_s", "told"), [(3600, True), (-3600, True), (0.6, True), (0.4, False), (-0.4, False)]
)
def test_a_clock_that_is_set_is_told(tmp_path, step_s, told):
    clock = sample.Clock()
    skew = [0]
    outside = sample.outside(clock=clock)
    import msgspec

    outside = msgspec.structs.replace(outside, now_us=lambda: clock.now_us() + skew[0])
    folder, key_file = ledger_paths(tmp_path)
    fd = lock(DISK, folder)
    who = identify(DISK, folder, key_file, "test", os.urandom)
    committer = Committer(folder, fd, who, (), outside)
    for _ in range(5):
        clock.now_s += 2
        committer.tend()
    before = committer.has_news
    skew[0] = int(step_s * 1e6)
    clock.now_s += 2
    committer.tend()
    committer.commit(batch(0))
    committer.close()

    assert not before
    found = [one for one in sample.records(tmp_path) if one["kind"] == "ops"]
    assert [one["event"] for one in found] == (["ledger.clock_step"] if told else [])
    if told:
        assert abs(found[0]["detail"]["step_ms"] - step_s * 1000) < 2


# --- space and permission ---


class FullDisk(FaultyDisk):
    """Has room for so many bytes; what is unlinked or cut gives them back."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.free: float = float("inf")

    def write(self, fd: int, data: bytes) -> int:
        if self.free < len(data):
            taken = super().write(fd, data[: int(self.free)]) if self.free else 0
            self.free -= taken
            raise OSError(self.number, os.strerror(self.number))
        self.free -= len(data)
        return super().write(fd, data)

    def ftruncate(self, fd: int, size: int) -> None:
        self.free += os.fstat(fd).st_size - size
        super().ftruncate(fd, size)

    def unlink(self, path: Path) -> None:
        self.free += path.stat().st_size
        super().unlink(path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT], ids=lambda n: errno.errorcode[n])
def test_a_full_disk_is_told_while_it_is_full(tmp_path, number):
    disk = FullDisk(number)
    committer = opened(tmp_path, disk)
    committer.commit(batch(0))
    disk.free = 10

    for refused in (1, 2, 3):
        with pytest.raises(RecordError, match="cannot be made durable"):
            committer.commit(batch(refused))
    while_full = events(tmp_path)
    has_reserve = (tmp_path / "ledger" / "reserve").exists()
    disk.free = float("inf")
    committer.commit(batch(4))
    committer.close()

    assert while_full == ["ledger.disk_full"]
    assert not has_reserve or (tmp_path / "ledger" / "reserve").stat().st_size
    assert events(tmp_path) == ["ledger.disk_full", "ledger.recovered"]
    assert sample.ids(tmp_path) == ["id-0", "id-4"]
    assert (tmp_path / "ledger" / "reserve").stat().st_size == 4096
    assert is_intact(tmp_path)


def test_a_permission_that_is_taken_away_is_seen_within_a_second(tmp_path):
    clock = sample.Clock()
    committer = opened(tmp_path, clock=clock)
    committer.commit(batch(0))
    (tmp_path / "ledger").chmod(0o500)
    clock.now_s += 1
    committer.tend()
    was_refusing = committer.is_refusing
    with pytest.raises(RecordError, match="Permission denied"):
        committer.commit(batch(1))
    (tmp_path / "ledger").chmod(0o700)
    committer.commit(batch(2))
    committer.close()

    assert was_refusing
    assert sample.ids(tmp_path) == ["id-0", "id-2"]
    assert is_intact(tmp_path)


def test_a_segment_that_may_not_be_written_is_seen_within_a_second(tmp_path):
    clock = sample.Clock()
    committer = opened(tmp_path, clock=clock)
    committer.commit(batch(0))
    (segment,) = sample.segments(tmp_path)
    segment.chmod(0)
    clock.now_s += 1
    committer.tend()

    assert committer.is_refusing
    segment.chmod(0o600)
    committer.commit(batch(1))
    committer.close()
    assert sample.ids(tmp_path) == ["id-0", "id-1"]
