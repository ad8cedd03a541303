"""What is read for people is what is there: damage is named, and never looks like nothing."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from sidecar.cli.log import command
from sidecar.record.audit.index import INDEX
from sidecar.record.read import Reader
from sidecar.terms.errors import LedgerBroken
from tests.record import sample
from tests.record.tampering import RECORDS, Part, inside, records_of
from tests.record.test_tamper import whole

pytestmark = pytest.mark.timeout(30)
__all__ = ["whole"]


@pytest.fixture
def state(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole / "state", tmp_path / "state")
    return tmp_path / "state"


def told(state: Path, *arguments: str) -> tuple[str, BaseException | None]:
    shown = CliRunner().invoke(command, [*arguments, "--state", str(state)])
    return shown.stdout, shown.exception


def sealed(state: Path) -> Path:
    return sample.segments(state)[1]


def changed(change: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    def tamper(state: Path) -> None:
        path = sealed(state)
        path.chmod(0o600)
        path.write_bytes(change(path.read_bytes()))

    return tamper


def opened_as(change: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    """Return what puts an open form in the place of the sealed one."""

    def tamper(state: Path) -> None:
        path = sealed(state)
        data = inside(path)
        path.unlink()
        path.with_suffix("").write_bytes(change(data))

    return tamper


def pipe(state: Path) -> None:
    path = sealed(state)
    path.unlink()
    os.mkfifo(path)


def bit_of_the_last(state: Path) -> None:
    path = sample.segments(state)[-1]
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)


DAMAGED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a bit flipped": (
        changed(lambda data: data[:900] + bytes([data[900] ^ 1]) + data[901:]), "cannot be read",
    ),
    "emptied": (changed(lambda _: b""), "cannot be read"),
    "cut": (changed(lambda data: data[: len(data) // 2]), "cannot be read"),
    "removed": (lambda state: sealed(state).unlink(), "a segment is missing"),
    "a pipe": (pipe, "cannot be read: not a file"),
    "an open one emptied": (opened_as(lambda _: b""), "the segment has no end"),
    "an open one without an end": (opened_as(lambda data: data[:-128]), "the segment has no end"),
    "an open one, a bit flipped": (
        opened_as(lambda data: data[:300] + bytes([data[300] ^ 1]) + data[301:]),
        "a record is damaged",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize("is_indexed", [True, False], ids=["indexed before", "not indexed"])
def test_it_is_named_and_what_can_be_read_is_shown(
    state: Path, kind: str, *, is_indexed: bool
) -> None:
    lost = [orjson.loads(one)["id"] for one in records_of(sealed(state))]
    if is_indexed:
        told(state, "show", "id-0")
    tamper, says = DAMAGED[kind]
    tamper(state)

    shown, error = told(state, "tail", "-n", "1000", "--json")
    assert isinstance(error, LedgerBroken)
    assert says in str(error)
    seen = [orjson.loads(line)["id"] for line in shown.splitlines()]
    assert len(seen) + len(lost) >= RECORDS
    assert seen[0] == "id-0"
    if lost[0] in seen:
        return
    for verb in ("show", "prove"):
        _, error = told(state, verb, lost[0])
        assert isinstance(error, LedgerBroken), verb
        assert says in str(error)
        # Asked again, with an index that was made of what is left.
        assert isinstance(told(state, verb, lost[0])[1], LedgerBroken)


def endless(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 36)


ODD: dict[str, Callable[[Path], Any]] = {
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "endless": endless,
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", ["checkpoint", "last"])
def test_what_is_no_file_of_ours_is_named_by_every_verb(
    state: Path, tmp_path: Path, kind: str, name: str
) -> None:
    last = sample.segments(state)[-1]
    path = last if name == "last" else state / "ledger" / name
    path.unlink()
    ODD[kind](path)

    for verb in (["prove", "id-327"], ["export", "-o", str(tmp_path / "out")]):
        _, error = told(state, *verb)
        assert isinstance(error, LedgerBroken), verb
        assert path.name in str(error)
    shown, error = told(state, "show", "id-0")
    assert "NOT PROVEN" in shown
    assert error is None or isinstance(error, LedgerBroken)


def test_a_record_that_was_signed_and_is_not_there_is_damage(state: Path) -> None:
    assert told(state, "show", "id-327")[1] is None
    path = sample.segments(state)[-1]
    os.truncate(path, path.stat().st_size - 1)

    error: BaseException | None = None
    for arguments in (["prove", "id-0"], ["prove", "id-329"], ["show", "id-329"], ["tail"]):
        error = told(state, *arguments)[1]
        assert isinstance(error, LedgerBroken), arguments
    assert "330 records were signed and 329 are there" in str(error)


def test_the_story_of_a_call_whose_outcome_is_damaged_says_so(state: Path) -> None:
    # The outcome of the last call before a segment stands in that segment, or is its own.
    part = Part(state, 1)
    parents = [orjson.loads(one).get("parent") for one in part.records]
    before = {orjson.loads(one)["id"] for one in Part(state, 0).records}
    split = [parent for parent in parents if parent in before] or ["id-0"]
    for is_there in (True, False):
        if not is_there:
            DAMAGED["a bit flipped"][0](state)
            (state / "ledger" / INDEX).unlink()
        shown, error = told(state, "show", split[0])
        assert "decision" in shown
        assert is_there is not isinstance(error, LedgerBroken)


def test_damage_in_the_segment_that_is_written_is_named(state: Path) -> None:
    bit_of_the_last(state)

    assert isinstance(told(state, "tail", "-n", "1000")[1], LedgerBroken)


def test_the_last_records_are_shown_whatever_is_damaged_before(state: Path) -> None:
    DAMAGED["emptied"][0](state)

    shown, error = told(state, "tail", "-n", "3", "--json")

    assert error is None
    assert len(shown.splitlines()) == 3


@pytest.mark.parametrize("cut", [1, 9, 60])
def test_a_record_on_its_way_is_no_damage(state: Path, cut: int) -> None:
    path = sample.segments(state)[-1]
    os.truncate(path, path.stat().st_size - cut)
    reader = Reader(state / "ledger")

    assert len(list(reader.new())) == RECORDS - 1
    # It was signed before: so this is one that was cut, and not one that is not there yet.
    assert "were signed" in str(reader.damage)
    (state / "ledger" / "checkpoint").unlink()
    again = Reader(state / "ledger")
    assert len(list(again.new())) == RECORDS - 1
    assert again.damage is None
