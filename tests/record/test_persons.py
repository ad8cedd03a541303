"""Persons stand as handles: the table holds who they are, and forgetting leaves no byte of them."""

import errno
import os
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.record.disk import DISK
from sidecar.record.inputs import Inputs, inputs_path
from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.persons import (
    Persons,
    is_person,
    persons_in,
    persons_paths,
    pseudonymous,
)
from sidecar.record.persons.names import HANDLE, new_handles
from sidecar.record.verify import verify
from sidecar.terms.errors import LedgerBroken, RecordError
from sidecar.terms.record import SCHEMA, ApprovalRecord, PartyRecord
from sidecar.terms.words import CallId
from tests.record import sample
from tests.record.faulty import FaultyDisk
from tests.record.sample import TIME, admin
from tests.record.test_write import Paper, kept, request

ALICE, BOB = "user:alice", "user:bob"


@pytest.fixture(autouse=True)
def _ended(tmp_path):
    """Let go of what tables hold that nobody closes: their process is said to have ended."""
    yield
    held = Path("/proc/self/fd")
    for entry in held.iterdir() if held.exists() else ():
        with suppress(OSError):
            if tmp_path in entry.readlink().parents:
                os.close(int(entry.name))


def opened(state: Path) -> Persons:
    return Persons.open(*persons_paths(state))


def fails_once(which: int, number: int, _name: str) -> int:
    return errno.EIO if number == which else 0


def fails_from(first: int, number: int, _name: str) -> int:
    return errno.EIO if number >= first else 0


def holding(state: Path, value: str) -> list[str]:
    """Return the files below `state` in which `value` stands."""
    files = [file for file in state.rglob("*") if file.is_file()]
    return [str(file) for file in files if value.encode() in file.read_bytes()]


def test_a_handle_is_the_same_for_ever(tmp_path):
    first = opened(tmp_path)
    handle = first.handle_of(ALICE)
    first.close()

    again = opened(tmp_path)

    assert HANDLE.fullmatch(handle)
    assert again.handle_of(ALICE) == handle
    assert again.value_of(handle) == ALICE
    assert again.known == {ALICE: handle}


def test_two_persons_have_two_handles(tmp_path):
    handles = opened(tmp_path).handles_of([ALICE, BOB, ALICE, "customer:alice"])

    assert len(set(handles.values())) == 3


def test_no_file_says_who_a_person_is(tmp_path):
    opened(tmp_path).handles_of([ALICE, BOB])

    assert holding(tmp_path, "alice") == []
    assert {file.stat().st_mode & 0o77 for file in tmp_path.rglob("*") if file.is_file()} == {0}


def test_who_is_forgotten_is_nowhere_and_gets_another_handle(tmp_path):
    persons = opened(tmp_path)
    before = persons.handles_of([ALICE, BOB])
    known = persons.known

    assert persons.forget(ALICE) is True
    assert persons.forget(ALICE) is False

    assert known == {BOB: before[BOB]}
    assert persons.value_of(before[ALICE]) is None
    assert persons.handle_of(ALICE) != before[ALICE]
    persons.close()
    assert opened(tmp_path).known == persons.known


def test_an_old_copy_of_the_table_cannot_be_read_after_forgetting(tmp_path):
    path, key_path = persons_paths(tmp_path)
    persons = opened(tmp_path)
    persons.handle_of(ALICE)
    copy = path.read_bytes()

    persons.forget(ALICE)
    persons.close()
    path.write_bytes(copy)

    with pytest.raises(LedgerBroken, match="its key is not the one"):
        Persons.open(path, key_path)


@pytest.mark.parametrize("length", range(1, 60))
def test_a_row_that_was_not_written_to_its_end_is_set_aside(tmp_path, length):
    path, key_path = persons_paths(tmp_path)
    persons = opened(tmp_path)
    handle = persons.handle_of(ALICE)
    whole = path.read_bytes()
    persons.handle_of(BOB)
    persons.close()
    path.write_bytes(path.read_bytes()[: len(whole) + length])

    again = Persons.open(path, key_path)

    assert again.known == {ALICE: handle}
    assert path.read_bytes() == whole
    again.handle_of(BOB)
    again.close()
    assert set(Persons.open(path, key_path).known) == {ALICE, BOB}


def test_a_row_that_was_changed_refuses_the_start(tmp_path):
    path, key_path = persons_paths(tmp_path)
    persons = opened(tmp_path)
    persons.handle_of(ALICE)
    end = path.stat().st_size
    persons.handle_of(BOB)
    persons.close()
    data = bytearray(path.read_bytes())
    data[end - 1] ^= 1
    path.write_bytes(data)

    with pytest.raises(LedgerBroken, match="not as written"):
        Persons.open(path, key_path)


def test_rows_cannot_change_places(tmp_path):
    path, key_path = persons_paths(tmp_path)
    persons = opened(tmp_path)
    sizes = [path.stat().st_size]
    for person in (ALICE, BOB, "user:eve"):
        persons.handle_of(person)
        sizes.append(path.stat().st_size)
    persons.close()
    data = path.read_bytes()
    rows = [data[one:next_] for one, next_ in pairwise(sizes)]
    path.write_bytes(data[: sizes[0]] + rows[1] + rows[0] + rows[2])

    with pytest.raises(LedgerBroken, match="not as written"):
        Persons.open(path, key_path)


def test_a_table_without_its_key_refuses_the_start(tmp_path):
    path, key_path = persons_paths(tmp_path)
    opened(tmp_path).close()
    key_path.unlink()

    with pytest.raises(LedgerBroken, match="the key of the table of persons is absent"):
        Persons.open(path, key_path)


def test_a_key_that_others_may_read_refuses_the_start(tmp_path):
    path, key_path = persons_paths(tmp_path)
    opened(tmp_path).close()
    key_path.chmod(0o640)

    with pytest.raises(LedgerBroken, match="others may read the key"):
        Persons.open(path, key_path)


def test_a_reader_without_table_or_key_knows_nobody(tmp_path):
    path, key_path = persons_paths(tmp_path)
    assert Persons.read(path, key_path).known == {}

    persons = opened(tmp_path)
    persons.handle_of(ALICE)
    assert set(Persons.read(path, key_path).known) == {ALICE}

    key_path.unlink()
    assert Persons.read(path, key_path).known == {}


def test_after_any_failing_call_a_table_goes_on_and_is_found_whole(tmp_path):
    for number in range(1, 200):
        state = tmp_path / str(number)
        opened(state).close()
        disk = FaultyDisk(partial(fails_once, number))
        try:
            persons = Persons.open(*persons_paths(state), disk)
        except LedgerBroken:
            continue
        handed: dict[str, str] = {}
        with suppress(RecordError):
            handed = persons.handles_of([ALICE, BOB])
            persons.forget(ALICE)
        handed.pop(ALICE, None)
        # Asked again: from here on the disk is well.
        is_last = len(disk.calls) < number
        disk.fails = lambda _number, _name: 0
        handed |= persons.handles_of(["user:eve"])
        persons.forget(ALICE)
        handed |= persons.handles_of(["user:mallory"])
        persons.close()

        again = Persons.open(*persons_paths(state))

        assert handed.items() <= again.known.items()
        assert ALICE not in again.known
        if is_last:
            return
    pytest.fail("the session makes more calls than were failed")


def test_a_full_table_takes_nobody_new_and_says_so(tmp_path):
    persons = Persons.open(*persons_paths(tmp_path), rows_max=2)
    handles = persons.handles_of([ALICE, BOB])

    with pytest.raises(RecordError, match="full: it has 2 of at most 2"):
        persons.handles_of([ALICE, "user:eve"])

    assert persons.handles_of([ALICE, BOB]) == handles
    assert persons.value_of(handles[BOB]) == BOB
    assert persons.forget(BOB)
    assert persons.value_of(handles[BOB]) is None
    assert persons.handle_of("user:eve")
    persons.close()
    assert set(opened(tmp_path).known) == {ALICE, "user:eve"}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("then", range(1, 12))
def test_a_crash_while_a_failed_rewriting_is_done_again_leaves_a_table_that_can_be_opened(
    tmp_path, then
):
    """One call fails in forgetting; it is asked again, and from its call `then` on all fail."""
    for first in range(1, 40):
        state = tmp_path / str(first)
        disk = FaultyDisk()
        persons = Persons.open(*persons_paths(state), disk)
        bobs = persons.handle_of(BOB)
        persons.handle_of(ALICE)
        begun = len(disk.calls)
        disk.fails = partial(fails_once, begun + first)
        try:
            persons.forget(ALICE)
        except RecordError:
            crash = len(disk.calls) + then
            disk.fails = partial(fails_from, crash)
            with suppress(RecordError):
                persons.forget(ALICE)
            assert opened(state).known[BOB] == bobs
        if len(disk.calls) < begun + first:
            return
    pytest.fail("forgetting makes more calls than were failed")


def session(state: Path, disk: FaultyDisk, handed: dict[str, str]) -> None:
    """Hand out three handles and forget one."""
    try:
        persons = Persons.open(*persons_paths(state), disk)
    except LedgerBroken:
        return
    for person in (ALICE, BOB, "user:eve"):
        with suppress(RecordError):
            handed[person] = persons.handle_of(person)
    # Where that fails, whether she is forgotten is not known: the operator asks again.
    with suppress(RecordError):
        persons.forget(ALICE)
    handed.pop(ALICE, None)
    persons.close()


def test_every_failing_call_leaves_a_table_that_can_be_opened(tmp_path):
    """Whatever call to the disk fails: what was handed out is there, or the start is refused."""
    for number in range(1, 200):
        state = tmp_path / str(number)
        state.mkdir()
        handed: dict[str, str] = {}
        disk = FaultyDisk(partial(fails_once, number))
        session(state, disk, handed)
        again = Persons.open(*persons_paths(state), DISK, os.urandom)
        assert handed.items() <= again.known.items()
        # Not all that fail are told: a file that cannot be closed has been written.
        if len(disk.calls) < number:
            return
    pytest.fail("the session makes more calls than were failed")


@given(st.lists(st.integers(0, 2**128 - 1), unique=True, max_size=5))
def test_two_random_numbers_are_two_handles(numbers):
    handles = new_handles([str(number) for number in numbers], numbers)

    assert all(HANDLE.fullmatch(handle) for handle in handles.values())
    assert len(set(handles.values())) == len(numbers)


@pytest.mark.parametrize("type_", ["user", "customer", "User", "", "robot", "services"])
def test_every_party_that_is_not_known_to_be_a_machine_is_a_person(type_):
    assert is_person(type_)


@pytest.mark.parametrize("type_", ["agent", "service", "anonymous"])
def test_a_machine_is_no_person(type_):
    assert not is_person(type_)


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ({"party": "user:alice", "by": "file:x"}, {"party": "user:P", "by": "file:x"}),
        ({"subject": "user:a:b"}, {"subject": "user:P"}),
        ({"party": "agent:bot"}, {"party": "agent:bot"}),
        ({"source": "192.0.2.7", "count": 3}, {"source": "P", "count": 3}),
        ({"ip": "2001:db8::1"}, {"ip": "P"}),
        ({"source": "127.0.0.1"}, {"source": "127.0.0.1"}),
        ({"source": "ask"}, {"source": "ask"}),
        ({"party": "user:p_0000000000000000000000"}, {"party": "user:p_0000000000000000000000"}),
    ],
)
def test_an_admin_record_names_persons_by_handle(detail, expected):
    record = admin(1, **detail)
    found = persons_in(record)
    told = pseudonymous(record, dict.fromkeys(found, "P"))

    assert told.detail == expected
    assert bool(found) is (expected != detail)


def test_who_approved_is_a_handle():
    record = ApprovalRecord(
        SCHEMA, CallId("x"), CallId("y"), TIME, "approved", "sha256:0", PartyRecord("user", "alice")
    )

    assert persons_in(record) == [ALICE]
    assert pseudonymous(record, {ALICE: "P"}).approver == PartyRecord("user", "P")


async def forgotten(state: Path, how=None) -> tuple[Ledger, str]:
    """Return a ledger that has recorded a call of Alice, sealed, and forgot her."""
    ledger = Ledger.open(*ledger_paths(state), how or sample.settings())
    handles = await ledger.handles([ALICE])
    asked = request({"request": {"sql": {"params": ["secret-1"], "owner": "alice"}}})
    words = ("request.sql.params",)
    record, side = kept(asked, Paper(*words, needs=words), handles=handles)
    await ledger.write(record, side)
    await ledger.write(admin(2, "subject_set", subject=ALICE))
    assert Inputs(inputs_path(state)).get(side[0].digest) == side[0].data
    assert await ledger.forget(ALICE) is True
    assert Inputs(inputs_path(state)).get(side[0].digest) is None
    return ledger, handles[ALICE]


async def test_after_forgetting_no_file_holds_a_byte_and_every_proof_verifies(tmp_path):
    ledger, handle = await forgotten(tmp_path)
    await ledger.close()

    assert holding(tmp_path, "alice") == []
    assert holding(tmp_path, "secret-1") == []
    assert verify(ledger_paths(tmp_path)[0], ledger.verifier).intact
    events = [r for r in sample.records(tmp_path) if r.get("event") == "person_forgotten"]
    assert [event["detail"] for event in events] == [{"handle": f"user:{handle}"}]


async def test_who_comes_again_after_forgetting_has_a_fresh_handle(tmp_path):
    ledger, handle = await forgotten(tmp_path)

    assert ALICE not in ledger.known_handles()
    assert (await ledger.handles([ALICE]))[ALICE] != handle
    assert await ledger.forget("user:nobody") is False
    await ledger.close()


async def test_who_is_revoked_is_not_forgotten(tmp_path):
    ledger = await sample.written(tmp_path, 0)
    await ledger.write(admin(1, "revoke", party=ALICE))
    assert ledger.revocations.is_revoked(ALICE)

    with pytest.raises(RecordError, match="is revoked"):
        await ledger.forget(ALICE)

    assert ledger.revocations.is_revoked(ALICE)
    await ledger.close()
    assert holding(tmp_path, "alice") == []


async def test_forgetting_is_done_again_by_handle(tmp_path):
    ledger, handle = await forgotten(tmp_path)

    assert await ledger.forget(f"user:{handle}") is True
    await ledger.close()
