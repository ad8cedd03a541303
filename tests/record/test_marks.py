"""What a start believes of records that were written and not signed: those that bear its mark."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sidecar.record.canonical import split
from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.proof.marks import Marks
from sidecar.record.segments.segment import HEADER_BYTES, chunks, framed
from sidecar.terms.errors import LedgerBroken
from tests.record import sample
from tests.record.sample import admin
from tests.record.test_commit import batch, is_intact, kill, opened
from tests.tables import rows

FOREIGN = b"\x07" * 32
BATCHES: tuple[tuple[int, ...], ...] = ((0, 1, 2, 3), (4,), (5,), (6, 7), (8, 9))


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """Return a log with a signed begin, and an end that is not."""
    state: Path = tmp_path_factory.mktemp("marks") / "state"
    committer = opened(state)
    for numbers in BATCHES[:2]:
        committer.commit(batch(*numbers))
    committer.close()
    committer = opened(state)
    for numbers in BATCHES[2:]:
        committer.commit(batch(*numbers))
    kill(committer)
    return state


def records_of(state: Path) -> list[bytes]:
    (segment,) = sample.segments(state)
    data = segment.read_bytes()
    return [
        record
        for chunk in chunks(lambda size, at: data[at : at + size], len(data))
        for record in chunk.records
    ]


def put(state: Path, records: Sequence[bytes]) -> None:
    """Write other records with good checksums."""
    (segment,) = sample.segments(state)
    head = segment.read_bytes()[:HEADER_BYTES]
    segment.write_bytes(head + b"".join(framed([record]) for record in records))


def place_of(state: Path) -> bytes:
    name, _, epoch = (
        ledger_paths(state)[1].with_suffix(".origin").read_text().strip().partition("/")
    )
    return b',"log":{"epoch":"%b","origin":"%b","seq":' % (epoch.encode(), name.encode())


def append(state: Path, mark: str) -> None:
    found, place = records_of(state), place_of(state)
    origin = ledger_paths(state)[1].with_suffix(".origin").read_text().strip()
    copied = found[-1][found[-1].index(b'"mark":') :][: len(b'"mark":"",') + 43]
    bare, last = ((split(admin(n)), n) for n in (98, 99))
    forged, _ = Marks(FOREIGN, origin).placed([last[0]], place, len(found))
    if mark == "foreign":
        found += forged
    elif mark == "none":
        found.append(last[0].at(b'"log":' + place.removeprefix(b',"log":') + b"%d}" % len(found)))
    else:
        if mark == "of one":
            found.append(
                bare[0].at(b'"log":' + place.removeprefix(b',"log":') + b"%d}" % len(found))
            )
        seq = b"%d}" % len(found)
        found.append(last[0].head + place + seq + b"," + copied + last[0].tail)
    put(state, found)


def edit(state: Path, number: str) -> None:
    found = records_of(state)
    found[int(number)] = found[int(number)].replace(b'"reload"', b'"reboot"')
    put(state, found)


def cut(state: Path, number: str) -> None:
    put(state, records_of(state)[: int(number)])


def unmark(state: Path, number: str) -> None:
    found = records_of(state)
    said = json.loads(found[int(number)])
    del said["mark"]
    found[int(number)] = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    put(state, found)


def key_of_marks(state: Path) -> Path:
    return ledger_paths(state)[1].with_suffix(".marks")


DOES: dict[str, Callable[[Path, str], object]] = {
    "nothing": lambda state, _: None,
    "append": append,
    "edit": edit,
    "cut": cut,
    "unmark": unmark,
    "no": lambda state, _: key_of_marks(state).unlink(),
    "open": lambda state, _: key_of_marks(state).chmod(0o640),
}


@pytest.mark.parametrize("row", rows("record/marks.yaml"))
async def test_case(row, killed, tmp_path):
    state = tmp_path / "state"
    shutil.copytree(killed, state)
    what, _, how = row.given.partition(" ")
    DOES[what](state, how)

    if row.want["kept"] == "refused":
        with pytest.raises(LedgerBroken):
            Ledger.open(*ledger_paths(state), sample.settings())
        return
    ledger = Ledger.open(*ledger_paths(state), sample.settings())
    await ledger.write(admin(100))
    await ledger.close()

    assert is_intact(state)
    found = [one for one in sample.records(state) if one["log"]["seq"] >= row.want["kept"]]
    assert [one["id"] for one in found if one["kind"] == "admin"] == ["id-100"]
    assert [one["event"] for one in found if one["kind"] == "ops"] == row.want["events"]
    await once_more_says_nothing(state)


async def once_more_says_nothing(state: Path) -> None:
    before = len(sample.records(state))
    ledger = Ledger.open(*ledger_paths(state), sample.settings())
    await ledger.close()
    assert len(sample.records(state)) == before


def misplaced(state: Path) -> None:
    found = records_of(state)
    found[-1] = found[-1].replace(b'"seq":', b'"seq":1')
    put(state, found)


def damaged(state: Path) -> None:
    (segment,) = sample.segments(state)
    data = segment.read_bytes()
    at = data.index(b'"id-6"')
    segment.write_bytes(data[:at] + b'"id-5"' + data[at + 6 :])


@pytest.mark.parametrize("large", [10, 60_000])
@pytest.mark.parametrize("attack", [misplaced, damaged])
async def test_what_was_damaged_later_is_refused_behind_what_bears_no_mark(tmp_path, attack, large):
    committer = opened(tmp_path)
    for number in range(8):
        committer.commit([split(admin(number, text="x" * large))])
    kill(committer)
    unmark(tmp_path, "1")
    attack(tmp_path)

    with pytest.raises(LedgerBroken, match=r"does not say that|is damaged"):
        Ledger.open(*ledger_paths(tmp_path), sample.settings())


def test_what_is_set_aside_is_kept_as_it_was(killed, tmp_path):
    state = tmp_path / "state"
    shutil.copytree(killed, state)
    append(state, "none")
    last = records_of(state)[-1]

    opened(state).close()

    (aside,) = ledger_paths(state)[0].glob("*.torn")
    assert aside.read_bytes() == framed([last])


def test_a_mark_stands_where_sorting_puts_it_and_is_one_of_its_place(killed):
    found = [json.loads(record) for record in records_of(killed)]

    assert [number for number, one in enumerate(found) if "mark" in one] == [
        numbers[-1] for numbers in BATCHES
    ]
    for one, record in zip(found, records_of(killed), strict=True):
        assert json.dumps(one, sort_keys=True, separators=(",", ":")).encode() == record
    marks = [one["mark"] for one in found if "mark" in one]
    assert len(set(marks)) == len(marks)
