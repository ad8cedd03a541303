"""Erasing side objects: all that was meant is gone, or it is said what remains and why."""

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

from sidecar.cli import main
from sidecar.cli.log import command
from sidecar.record.disk import Disk
from sidecar.record.inputs import Inputs, inputs_path
from sidecar.record.inputs.secrets import side_object
from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.persons.forget import objects_of
from sidecar.record.segments.segment import FRAME_HEADER_BYTES, HEADER_BYTES
from sidecar.terms.errors import RecordError
from tests.record import sample
from tests.record.test_persons import ALICE, BOB
from tests.record.test_write import Paper, kept, request

HEAD = 36
OBJECTS = [side_object(text * 20) for text in (b"of bob", b"of alice", b"of carl")]
DIGESTS = [one.digest for one in OBJECTS]
BEGINS = [sum(HEAD + len(one.data) for one in OBJECTS[:n]) for n in range(4)]


def store_of(tmp_path: Path) -> tuple[Inputs, Path]:
    """Return a store of three objects in one file, at rest, and the file."""
    store = Inputs(tmp_path)
    store.put(OBJECTS)
    store.close()
    (file,) = tmp_path.iterdir()
    return store, file


def flip(file: Path, at: int) -> bytes:
    """Change one bit; return what the file holds now."""
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    return bytes(data)


@pytest.mark.parametrize("erased", range(3))
@pytest.mark.parametrize("damaged", range(3))
@pytest.mark.parametrize("at", [4, 35, 36, 60])
def test_behind_and_before_a_damaged_object_nothing_is_erased(tmp_path, damaged, erased, at):
    store, file = store_of(tmp_path)
    data = flip(file, BEGINS[damaged] + at)

    with pytest.raises(RecordError, match=f"{file.name} at byte {BEGINS[damaged]}: "):
        store.erase([DIGESTS[erased]])

    assert file.read_bytes() == data


@pytest.mark.parametrize("damaged", range(3))
@pytest.mark.parametrize("byte", range(4))
def test_a_length_that_was_changed_destroys_nobodys_object(tmp_path, damaged, byte):
    """Whether it is refused or done: of the others no byte is lost, and nothing remains unsaid."""
    store, file = store_of(tmp_path)
    data = flip(file, BEGINS[damaged] + byte)

    try:
        count = store.erase([DIGESTS[0]])
    except RecordError as error:
        told, expected = str(error), data
    else:
        # It looks like one that a crash has cut: it is kept as it is, and all behind it.
        length = int.from_bytes(data[BEGINS[damaged] : BEGINS[damaged] + 4])
        assert BEGINS[damaged] + HEAD + length > len(data)
        assert (count, damaged > 0) == (1, True)
        told, expected = "", data[BEGINS[1] :]

    assert file.read_bytes() == expected
    assert not told or f"{file.name} at byte {BEGINS[damaged]}: " in told


def test_a_damaged_file_stops_the_erasure_in_every_other(tmp_path):
    store, file = store_of(tmp_path)
    store.put([side_object(b"of dora")])
    store.close()
    data = flip(sorted(tmp_path.iterdir())[1], HEAD)

    with pytest.raises(RecordError, match=r"000000000001\.objects at byte 0: a damaged object"):
        store.erase(DIGESTS)

    assert [entry.read_bytes() for entry in sorted(tmp_path.iterdir())] == [
        file.read_bytes(), data,
    ]  # fmt: skip
    assert [store.get(digest) for digest in DIGESTS] == [one.data for one in OBJECTS]


@pytest.mark.parametrize("erased", [1, 2])
def test_what_stands_behind_a_length_that_was_changed_is_told(tmp_path, erased):
    store, file = store_of(tmp_path)
    data = flip(file, BEGINS[1] + 1)

    with pytest.raises(RecordError, match=f"at byte {BEGINS[1]}: what is to be erased"):
        store.erase([DIGESTS[0], DIGESTS[erased]])

    assert file.read_bytes() == data


@pytest.mark.parametrize("left", [1, 20, 35, 36, 80])
def test_what_a_crash_has_cut_stays_where_others_are_erased(tmp_path, left):
    store, file = store_of(tmp_path)
    data = file.read_bytes()[: BEGINS[2] + left]
    file.write_bytes(data)

    assert store.erase([DIGESTS[0]]) == 1
    assert file.read_bytes() == data[BEGINS[1] :]
    assert store.erase([DIGESTS[1]]) == 1
    assert file.read_bytes() == data[BEGINS[2] :]


@pytest.mark.parametrize("left", [36, 80])
def test_what_is_to_be_erased_and_was_cut_is_told(tmp_path, left):
    store, file = store_of(tmp_path)
    data = file.read_bytes()[: BEGINS[2] + left]
    file.write_bytes(data)

    with pytest.raises(RecordError, match=f"at byte {BEGINS[2]}: what is to be erased"):
        store.erase([DIGESTS[0], DIGESTS[2]])

    assert file.read_bytes() == data


def test_an_orphan_that_was_cut_is_told(tmp_path):
    store, file = store_of(tmp_path)
    file.write_bytes(file.read_bytes()[:-1])

    with pytest.raises(RecordError, match=f"at byte {BEGINS[2]}: what is to be erased"):
        store.erase([], b"carl")


def test_orphans_of_a_text_are_erased_and_what_records_name_is_not(tmp_path):
    store, _ = store_of(tmp_path)

    assert store.erase([], b"", DIGESTS) == 0
    assert store.erase([], b"of ", [DIGESTS[0]]) == 2

    assert [store.get(digest) for digest in DIGESTS] == [OBJECTS[0].data, None, None]


class StaleDisk(Disk):
    """A disk on which a file that was replaced is the old one still."""

    def rename(self, old: Path, new: Path) -> None:
        assert new.exists()
        old.unlink()


def test_what_is_there_after_it_was_erased_is_told(tmp_path):
    store_of(tmp_path)

    with pytest.raises(RecordError, match="1 objects are still there"):
        Inputs(tmp_path, StaleDisk()).erase([DIGESTS[1]])


def test_objects_are_the_persons_and_everybodys():
    lines = [
        b'{"id":"p_1","input":{"text_object":"sha256:a","sealed_object":"sha256:b"}}',
        b'{"id":"p_2","input":{"sealed_object":"sha256:c"}}',
        b'{"id":"p_1","input":{"text":"_object"}}',
    ]

    found = objects_of("p_1", lines)

    assert found.of_person == {"sha256:a", "sha256:b"}
    assert found.named == {"sha256:a", "sha256:b", "sha256:c"}


async def recorded(state: Path) -> tuple[str, str]:
    """Record a sealed call of Bob and then one of Alice; return her handle and her object."""
    ledger = Ledger.open(*ledger_paths(state), sample.settings())
    words = ("request.sql.params",)
    found = ("", "")
    for n, person in enumerate((BOB, ALICE)):
        handles = await ledger.handles([person])
        asked = request({
            "subject_id": person.partition(":")[2],
            "request": {"sql": {"params": [f"secret-{n}"]}},
        })  # fmt: skip
        record, side = kept(asked, Paper(*words, needs=words), handles=handles)
        await ledger.write(record, side)
        found = (handles[person], side[0].digest)
    await ledger.close()
    return found


def object_file(state: Path) -> Path:
    (file,) = inputs_path(state).iterdir()
    return file


async def test_forgetting_behind_a_damaged_object_says_what_remains_and_how_to_go_on(tmp_path):
    handle, digest = await recorded(tmp_path)
    flip(object_file(tmp_path), HEAD)
    ledger = Ledger.open(*ledger_paths(tmp_path), sample.settings())

    with pytest.raises(RecordError) as failed:
        await ledger.forget(ALICE)

    assert f"user:{handle} stands for nobody now, but side objects" in str(failed.value)
    assert "000000000000.objects at byte 0: a damaged object" in str(failed.value)
    assert "alice" not in str(failed.value)
    assert ALICE not in ledger.known_handles()
    # Mended, as from a backup: she is named by her handle.
    flip(object_file(tmp_path), HEAD)
    assert Inputs(inputs_path(tmp_path)).get(digest) is not None
    assert await ledger.forget(f"user:{handle}") is True
    assert Inputs(inputs_path(tmp_path)).get(digest) is None
    await ledger.close()


async def test_forgetting_goes_on_behind_a_damaged_record_and_says_which_segment_it_is(tmp_path):
    handle, digest = await recorded(tmp_path)
    ledger = Ledger.open(*ledger_paths(tmp_path), sample.settings())
    (segment,) = sample.segments(tmp_path)
    flip(segment, HEADER_BYTES + FRAME_HEADER_BYTES + 20)

    with pytest.raises(RecordError) as failed:
        await ledger.forget(ALICE)

    assert segment.name in str(failed.value)
    assert f"user:{handle} stands for nobody now" in str(failed.value)
    assert Inputs(inputs_path(tmp_path)).get(digest) is None
    assert ALICE not in ledger.known_handles()
    await ledger.close()


def test_the_command_does_not_say_forgotten_while_something_remains(tmp_path, capsys):
    handle, _ = asyncio.run(recorded(tmp_path))
    sample.stands(tmp_path)
    flip(object_file(tmp_path), HEAD)
    data = object_file(tmp_path).read_bytes()

    gone = CliRunner().invoke(command, ["forget", ALICE, "--state", str(tmp_path)])

    assert isinstance(gone.exception, RecordError)
    assert gone.output == ""
    with pytest.raises(SystemExit) as left:
        main(["log", "forget", f"user:{handle}", "--state", str(tmp_path)])
    told = capsys.readouterr()
    assert left.value.code == 1
    assert told.out == ""
    assert f"forget user:{handle}" in told.err
    assert object_file(tmp_path).read_bytes() == data


async def test_a_text_whose_record_was_never_written_is_forgotten_too(tmp_path):
    handle, _ = await recorded(tmp_path)
    orphan = side_object(f'{{"subject":"{handle}","words":"her own"}}'.encode())
    others = side_object(b'{"subject":"p_of_another","words":"his own"}')
    Inputs(inputs_path(tmp_path)).put([orphan, others])
    ledger = Ledger.open(*ledger_paths(tmp_path), sample.settings())

    assert await ledger.forget(ALICE) is True

    store = Inputs(inputs_path(tmp_path))
    assert store.get(orphan.digest) is None
    assert store.get(others.digest) == others.data
    assert all(b"her own" not in file.read_bytes() for file in inputs_path(tmp_path).iterdir())
    await ledger.close()
