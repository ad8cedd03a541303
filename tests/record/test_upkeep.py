"""Full segments are tiled, sealed and pruned, and the log proves the same as before."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from sidecar.record.disk import DISK
from sidecar.record.fold import revoke
from sidecar.record.keeping.upkeep import Retention, rebuilt_tiles
from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.proof import identity
from sidecar.record.proof.checkpoint import Checkpoint
from sidecar.record.proof.nodes import LogNodes
from sidecar.record.proof.proofs import range_hash
from sidecar.record.proof.tiles import TILE_BYTES, Tiles, tile_path
from sidecar.record.read import last_records
from sidecar.record.segments.walk import walk
from sidecar.record.verify import Report, verify
from sidecar.terms.errors import LedgerBroken
from sidecar.terms.words import CallId
from tests.record import sample
from tests.record.sample import TIME, admin

# Each of many records is synced, and a disk may be slow.
pytestmark = pytest.mark.timeout(60)

SEGMENT_BYTES = 20_000


def judged(state: Path, **notes: bytes) -> Report:
    folder, key_file = ledger_paths(state)
    who = identity.load(DISK, key_file)
    return verify(folder, who.verifier, who.last_signed(DISK), notes=notes)


def names(state: Path) -> list[str]:
    return [path.name for path in sample.segments(state)]


async def grown(state: Path, count: int, first: int = 0, **bounds: Any) -> Ledger:
    """Return an open ledger after `count` more records, whose upkeep is done."""
    bounds = {"segment_bytes_max": SEGMENT_BYTES, "seals": True, **bounds}
    ledger = Ledger.open(*ledger_paths(state), sample.settings(**bounds))
    for number in range(first, first + count):
        await ledger.write(admin(number))
    await sample.until_idle(ledger)
    return ledger


async def kept(state: Path, count: int, first: int = 0, **bounds: Any) -> None:
    ledger = await grown(state, count, first, **bounds)
    await ledger.close()


async def test_full_segments_are_sealed_and_prove_the_same(tmp_path):
    await kept(tmp_path / "open", 700, seals=False)
    await kept(tmp_path / "sealed", 700)

    found = names(tmp_path / "sealed")
    assert len(found) > 4
    assert [name.endswith(".zst") for name in found] == [True] * (len(found) - 1) + [False]
    assert sample.ids(tmp_path / "sealed") == [f"id-{number}" for number in range(700)]
    report = judged(tmp_path / "sealed")
    assert report.intact, report.problem
    assert report.records == 700
    modes = {path.stat().st_mode & 0o777 for path in sample.segments(tmp_path / "sealed")[:-1]}
    assert modes == {0o400}
    open_modes = {path.stat().st_mode & 0o777 for path in sample.segments(tmp_path / "open")[:-1]}
    assert open_modes == {0o400}


async def test_a_sealed_segment_holds_the_bytes_of_the_open_one(tmp_path):
    import zstandard

    await kept(tmp_path, 300, seals=False)
    before = {path.name: path.read_bytes() for path in sample.segments(tmp_path)[:-1]}
    await kept(tmp_path, 0)

    sealed = sample.segments(tmp_path)[:-1]
    assert {path.name.removesuffix(".zst") for path in sealed} == set(before)
    for path in sealed:
        inside = zstandard.ZstdDecompressor().decompress(path.read_bytes())
        assert inside == before[path.name.removesuffix(".zst")]


async def test_a_segment_is_full_after_a_day(tmp_path):
    clock = sample.Clock()
    ledger = await sample.written(tmp_path, 3, sample.settings(clock=clock))
    # A clock that goes on while the thread is at work is a disk that hangs.
    await sample.until_idle(ledger)
    clock.now_s += 25 * 3600
    await ledger.write(admin(3))
    await ledger.close()

    assert len(names(tmp_path)) == 2
    assert judged(tmp_path).intact


SEALED_ATTACKS = {
    "one bit of what is inside": lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
    "cut": lambda data: data[:-40],
    "emptied": lambda _: b"",
    "something behind it": lambda data: data + b"more",
    "twice": lambda data: data * 2,
    "not compressed": lambda _: b"x" * 300,
}


@pytest.mark.parametrize("attack", SEALED_ATTACKS.values(), ids=SEALED_ATTACKS)
async def test_a_sealed_segment_that_is_changed_is_found(tmp_path, attack):
    await kept(tmp_path, 300)
    path = sample.segments(tmp_path)[0]
    data = attack(path.read_bytes())
    path.chmod(0o600)
    path.write_bytes(data)

    report = judged(tmp_path)

    assert not report.intact
    assert report.problem is not None
    assert report.problem.file == path.name


async def test_a_sealed_segment_of_another_history_is_found(tmp_path):
    await kept(tmp_path / "a", 300)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for path in sample.segments(tmp_path / "b")[1:]:
        path.unlink()
    first, second = (sample.segments(tmp_path / one)[0] for one in "ab")
    assert first.read_bytes() == second.read_bytes()
    other = sample.segments(tmp_path / "a")[1]
    other.unlink()
    shutil.copy(first, other)

    assert not judged(tmp_path / "a").intact


# --- a start reads the last segment only ---


async def test_a_start_reads_no_segment_before_the_last(tmp_path):
    await kept(tmp_path, 700)
    opened: list[str] = []

    class Watching(type(DISK)):  # type: ignore[misc]
        def open(self, path: Path, flags: int) -> int:
            opened.append(path.name)
            return int(super().open(path, flags))

    ledger = Ledger.open(*ledger_paths(tmp_path), sample.settings(Watching()))
    size = ledger.size
    await ledger.close()

    assert size == 700
    assert [name for name in opened if ".seg" in name and not name.endswith(".tmp")] == [
        *[names(tmp_path)[-1]] * 4
    ]


async def test_folds_survive_in_snapshots(tmp_path):
    ledger = await grown(tmp_path, 0)
    await ledger.write(revoke("agent:bot", "root", id=CallId("id-r"), time=TIME))
    await ledger.close()
    await kept(tmp_path, 400)

    ledger = Ledger.open(*ledger_paths(tmp_path), sample.settings())

    assert ledger.revocations.is_revoked("agent:bot")
    await ledger.close()


def forged(data: bytes) -> bytes:
    return data.replace(b'["agent:bot"]', b"[]")


SNAPSHOT_ATTACKS = {
    "forged": forged,
    "emptied": lambda _: b"",
    "of nothing": lambda _: b"nothing\n\nnothing\n",
}


@pytest.mark.parametrize("attack", SNAPSHOT_ATTACKS.values(), ids=SNAPSHOT_ATTACKS)
async def test_a_snapshot_that_is_not_ours_is_not_believed(tmp_path, attack):
    ledger = await grown(tmp_path, 0)
    await ledger.write(revoke("agent:bot", "root", id=CallId("id-r"), time=TIME))
    await ledger.close()
    await kept(tmp_path, 400)
    for path in (tmp_path / "ledger").glob("*.snap"):
        path.write_bytes(attack(path.read_bytes()))

    ledger = Ledger.open(*ledger_paths(tmp_path), sample.settings())

    assert ledger.size == 401
    assert ledger.revocations.is_revoked("agent:bot")
    await ledger.close()


# --- tiles ---


def test_tiles_stand_where_the_standard_says():
    """Source: C2SP tlog-tiles, Merkle Tree."""
    assert tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert tile_path(63, 5) == "tile/63/005"
    assert tile_path(1, 1000) == "tile/1/x001/000"


async def test_full_tiles_hold_the_hashes_of_the_records(tmp_path):
    await kept(tmp_path, 700)
    folder, key_file = ledger_paths(tmp_path)
    origin = identity.load(DISK, key_file).origin
    records = LogNodes(DISK, folder, origin, with_tiles=False)
    tiles = Tiles(DISK, folder)

    for number in range(2):
        tile = tiles.get(0, number)
        assert tile is not None
        leaves = [records.node(0, seq) for seq in range(number * 256, number * 256 + 256)]
        assert tile == b"".join(leaves)
    assert tiles.get(0, 2) is None


async def test_tiles_are_rebuilt_from_records(tmp_path):
    await kept(tmp_path, 700)
    folder, key_file = ledger_paths(tmp_path)
    origin = identity.load(DISK, key_file).origin
    before = {path: path.read_bytes() for path in (folder / "tiles").rglob("*") if path.is_file()}
    shutil.rmtree(folder / "tiles")

    for _ in rebuilt_tiles(DISK, folder, origin):
        pass

    after = {path: path.read_bytes() for path in (folder / "tiles").rglob("*") if path.is_file()}
    assert after == before
    assert len(after) == 2


@pytest.mark.timeout(60)
async def test_a_tile_above_is_made_of_full_tiles(tmp_path):
    from sidecar.record.proof.merkle import Tree, leaf_hash
    from sidecar.record.proof.tiles import tile_root

    leaves = [leaf_hash(b"%d" % n) for n in range(256 * 256)]
    tiles, tree = Tiles(DISK, tmp_path), Tree()
    tree.extend(leaves)
    for _ in tiles.tiling(0, b"".join(leaves)):
        pass

    top = tiles.get(1, 0)

    assert top is not None
    assert tile_root(top) == tree.root()


# --- retention ---


async def pruned(state: Path, **bounds: Any) -> None:
    await kept(state, 1200)
    await kept(state, 1, first=1200, retention=Retention(bytes=2_000), **bounds)


async def test_retention_removes_the_oldest_segments_and_says_so_before(tmp_path):
    await kept(tmp_path, 1200)
    before = {path.name: path for path in sample.segments(tmp_path)}
    held = (tmp_path / "ledger" / "checkpoint").read_bytes()
    await kept(tmp_path, 1, first=1200, retention=Retention(bytes=2_000))

    report = judged(tmp_path, held=held)

    assert report.intact, report.problem
    assert report.pruned > 256
    assert len(names(tmp_path)) < len(before)
    (told,) = [one for one in sample.records(tmp_path) if one.get("event") == "pruned"]
    assert told["kind"] == "admin"
    assert told["detail"]["first"] == 0
    assert told["detail"]["last"] == report.pruned - 1
    assert int(names(tmp_path)[0][:20]) == report.pruned
    assert sample.ids(tmp_path)[-1] == "id-1200"


async def test_what_is_pruned_before_it_was_sealed_is_no_failure(tmp_path):
    # While somebody writes all the time, what is full waits.
    clock = sample.Clock()
    how = sample.settings(
        clock=clock,
        segment_bytes_max=SEGMENT_BYTES,
        seals=True,
        upkeep_quiet_s=3600.0,
        retention=Retention(bytes=3 * SEGMENT_BYTES),
    )
    ledger = Ledger.open(*ledger_paths(tmp_path), how)
    for number in range(1_500):
        await ledger.write(admin(number))
    clock.now_s += 3601
    await sample.until_idle(ledger)
    await ledger.close()

    assert sample.pruned(tmp_path) > 256
    assert judged(tmp_path).intact
    failed = [one for one in sample.records(tmp_path) if one.get("event") == "ledger.upkeep_failed"]
    assert failed == []


async def test_the_tree_of_a_pruned_log_is_what_it_was(tmp_path):
    await kept(tmp_path, 1200)
    folder, key_file = ledger_paths(tmp_path)
    origin = identity.load(DISK, key_file).origin
    whole = LogNodes(DISK, folder, origin, with_tiles=False)
    roots = {size: range_hash(whole, 0, size) for size in (1, 2, 255, 256, 300, 700, 1199, 1200)}
    await kept(tmp_path, 1, first=1200, retention=Retention(bytes=2_000))

    nodes = LogNodes(DISK, folder, origin)

    assert {size: range_hash(nodes, 0, size) for size in roots} == roots


async def test_a_checkpoint_older_than_what_was_pruned_is_still_compared(tmp_path):
    ledger = await grown(tmp_path, 130)
    await ledger.close()
    held = (tmp_path / "ledger" / "checkpoint").read_bytes()
    await kept(tmp_path, 1100, first=130)
    await kept(tmp_path, 1, first=1300, retention=Retention(bytes=2_000))

    assert judged(tmp_path, held=held).intact
    tile = tmp_path / "ledger" / "tiles" / tile_path(0, 0)
    data = bytearray(tile.read_bytes())
    data[40] ^= 1
    tile.write_bytes(data)
    report = judged(tmp_path, held=held)

    assert not report.intact
    assert "the first 130 records are not those" in str(report.problem)


async def test_a_pruned_log_starts_again_and_goes_on(tmp_path):
    await pruned(tmp_path)
    await kept(tmp_path, 300, first=2000)

    assert judged(tmp_path).intact
    assert sample.ids(tmp_path)[-1] == "id-2299"


async def test_a_pruned_log_starts_without_its_newer_snapshots(tmp_path):
    await pruned(tmp_path)
    first = names(tmp_path)[0][:20]
    for path in (tmp_path / "ledger").glob("*.snap"):
        if path.name[:20] != first:
            path.unlink()

    ledger = await grown(tmp_path, 1, first=3000)
    await ledger.close()

    assert judged(tmp_path).intact


async def test_segments_that_are_gone_without_a_record_of_it_are_missing(tmp_path):
    await kept(tmp_path, 700)
    sample.segments(tmp_path)[0].unlink()

    report = judged(tmp_path)

    assert not report.intact
    assert "a segment is missing" in str(report.problem)
    with pytest.raises(LedgerBroken, match="a segment is missing"):
        Ledger.open(*ledger_paths(tmp_path))


async def test_more_removed_than_was_said_is_found(tmp_path):
    await pruned(tmp_path)
    sample.segments(tmp_path)[0].unlink()

    assert not judged(tmp_path).intact
    with pytest.raises(LedgerBroken, match="missing"):
        Ledger.open(*ledger_paths(tmp_path))


async def test_a_pruned_log_without_the_snapshot_before_it_is_not_believed(tmp_path):
    await pruned(tmp_path)
    for path in (tmp_path / "ledger").glob("*.snap"):
        path.unlink()

    assert "nothing stands for them" in str(judged(tmp_path).problem)
    with pytest.raises(LedgerBroken):
        Ledger.open(*ledger_paths(tmp_path))


@pytest.mark.timeout(90)
async def test_retention_by_age_goes_by_the_last_record_of_a_segment(tmp_path):
    clock = sample.Clock()
    days = Retention(days=10)
    for day in range(24):
        clock.now_s += 24 * 3600
        how = sample.settings(clock=clock, seals=True, retention=days)
        ledger = Ledger.open(*ledger_paths(tmp_path), how)
        for number in range(60):
            await ledger.write(admin(day * 60 + number))
        await sample.until_idle(ledger)
        await ledger.close()

    report = judged(tmp_path)

    assert report.intact, report.problem
    first = min(int(id.removeprefix("id-")) for id in sample.ids(tmp_path))
    # Ten days are kept whole, and no more than is needed for full tiles and days.
    assert 7 * 60 <= first <= 13 * 60


async def test_a_sealed_segment_that_cannot_be_read_is_told_by_pruning(tmp_path):
    await kept(tmp_path, 700)
    first = sample.segments(tmp_path)[0]
    first.chmod(0o600)
    first.write_bytes(b"no frame" + first.read_bytes())

    await kept(tmp_path, 1, first=700, retention=Retention(days=0))

    told = [one for one in sample.records(tmp_path) if one.get("event") == "ledger.upkeep_failed"]
    assert [one["detail"]["job"] for one in told] == ["prune"]


async def test_the_open_part_is_never_pruned(tmp_path):
    await kept(tmp_path, 50, segment_bytes_max=1_000_000, retention=Retention(bytes=0, days=0))

    assert len(names(tmp_path)) == 1
    assert judged(tmp_path).pruned == 0


async def test_what_was_pruned_half_is_found_whole_or_gone(tmp_path):
    """Whichever removals of a pruning did not happen: from the first that is left, all is there."""
    await kept(tmp_path / "before", 1200)
    shutil.copytree(tmp_path / "before", tmp_path / "after")
    await kept(tmp_path / "after", 1, first=1200, retention=Retention(bytes=2_000))
    gone = [name for name in names(tmp_path / "before") if name not in names(tmp_path / "after")]
    assert len(gone) > 2
    for count in range(1, len(gone)):
        state = tmp_path / str(count)
        shutil.copytree(tmp_path / "after", state)
        for name in gone[count:]:
            for one in (name, f"{name[:20]}.snap"):
                shutil.copy(tmp_path / "before" / "ledger" / one, state / "ledger" / one)

        assert judged(state).intact
        ledger = Ledger.open(*ledger_paths(state))
        await ledger.close()


async def test_the_last_records_are_read_across_segments(tmp_path):
    await kept(tmp_path, 700)
    folder, key_file = ledger_paths(tmp_path)
    origin = identity.load(DISK, key_file).origin
    everything = [entry.record for entry in walk(DISK, folder, origin)]

    for count in (1, 3, 250, 700, 9000):
        assert last_records(DISK, folder, count) == everything[-count:]


async def test_a_later_snapshot_never_hides_an_older_checkpoint(tmp_path):
    """What stands beside the key was signed before the snapshot: the records between prove it."""
    await kept(tmp_path, 700)
    folder, key_file = ledger_paths(tmp_path)
    who = identity.load(DISK, key_file)
    key_file.with_suffix(".signed").write_bytes(who.sign(Checkpoint(who.origin, 3, bytes(32))))

    with pytest.raises(LedgerBroken, match="the first 3 records are not those"):
        Ledger.open(folder, key_file)


def test_a_tile_is_256_hashes():
    assert TILE_BYTES == 8192 == 256 * len(os.urandom(32))
