"""What the ledger proves is judged by an implementation that shares no code with it."""

import asyncio
import random
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.record.audit.prove import Prover
from sidecar.record.disk import DISK
from sidecar.record.keeping.upkeep import Retention
from sidecar.record.ledger import ledger_paths
from sidecar.record.proof import identity
from sidecar.record.proof.checkpoint import opened, verifier
from sidecar.record.proof.merkle import Tree, leaf_hash
from sidecar.record.proof.proofs import (
    consistency_proof,
    included_root,
    inclusion_proof,
    is_consistent,
)
from sidecar.record.proof.tiles import Tiles
from sidecar.record.segments.segment import BadFrame, chunks, framed
from sidecar.record.segments.walk import Damage, walk
from tests.record import rfc6962, sample
from tests.record.rfc6962 import Wrong
from tests.record.test_upkeep import kept

# Each of many records is synced, and a disk may be slow.
pytestmark = pytest.mark.timeout(60)


class Leaves:
    """Subtrees of some leaves, straight from the definition."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.leaves = leaves
        self._seen: dict[tuple[int, int], bytes] = {}

    def node(self, level: int, index: int) -> bytes:
        if (level, index) not in self._seen:
            if level == 0:
                found = sha256(b"\x00" + self.leaves[index]).digest()
            else:
                left, right = self.node(level - 1, 2 * index), self.node(level - 1, 2 * index + 1)
                found = sha256(b"\x01" + left + right).digest()
            self._seen[level, index] = found
        return self._seen[level, index]


def roots_of(leaves: list[bytes]) -> list[bytes]:
    """Return the root of every tree of the first leaves, sampled against the definition."""
    tree, roots = Tree(), [Tree().root()]
    for leaf in leaves:
        tree.append(leaf)
        roots.append(tree.root())
    for size in (0, 1, 2, 3, 7, 8, 9, len(leaves) // 2, len(leaves)):
        assert roots[size] == rfc6962.mth(leaves[:size])
    return roots


@pytest.mark.timeout(600)
def test_every_inclusion_proof_verifies(scaled):
    leaves = [b"leaf %d" % n for n in range(scaled(130, 1025))]
    nodes, roots = Leaves(leaves), roots_of(leaves)
    for size in range(1, len(leaves) + 1):
        for seq in range(size):
            path = inclusion_proof(nodes, seq, size)

            rfc6962.check_inclusion(nodes.node(0, seq), seq, size, roots[size], path)

            assert included_root(seq, size, nodes.node(0, seq), path) == roots[size]


@pytest.mark.timeout(600)
def test_every_consistency_proof_verifies(scaled):
    leaves = [b"leaf %d" % n for n in range(scaled(130, 1025))]
    nodes, roots = Leaves(leaves), roots_of(leaves)
    for second in range(1, len(leaves) + 1):
        for first in range(1, second + 1):
            path = consistency_proof(nodes, first, second)

            rfc6962.check_consistency(first, roots[first], second, roots[second], path)

            assert is_consistent(first, roots[first], second, roots[second], path)


def changed(path: list[bytes], chance: random.Random) -> list[bytes]:
    """Return another path."""
    found = list(path)
    kind = chance.randrange(4)
    if kind == 0 or not found:
        found.insert(chance.randrange(len(found) + 1), chance.randbytes(32))
    elif kind == 1:
        del found[chance.randrange(len(found))]
    elif kind == 2:
        at = chance.randrange(len(found))
        found[at] = bytes([found[at][0] ^ 1]) + found[at][1:]
    else:
        found.append(found[-1])
    return found


@pytest.mark.fuzz
def test_no_changed_proof_verifies_here_or_there(scaled):
    chance = random.Random(5)
    leaves = [b"leaf %d" % n for n in range(70)]
    nodes, roots = Leaves(leaves), roots_of(leaves)
    for _ in range(scaled(3_000, 200_000)):
        second = chance.randrange(1, 71)
        first = chance.randrange(1, second + 1)
        path = changed(consistency_proof(nodes, first, second), chance)
        assert not is_consistent(first, roots[first], second, roots[second], path)
        with pytest.raises(Wrong):
            rfc6962.check_consistency(first, roots[first], second, roots[second], path)
        seq = chance.randrange(second)
        path = changed(inclusion_proof(nodes, seq, second), chance)
        assert included_root(seq, second, nodes.node(0, seq), path) != roots[second]
        with pytest.raises(Wrong):
            rfc6962.check_inclusion(nodes.node(0, seq), seq, second, roots[second], path)


@pytest.mark.parametrize(("seq", "size"), [(0, 0), (5, 5), (-1, 3), (9, 3)])
def test_there_is_no_proof_of_what_is_not_in_the_tree(seq, size):
    with pytest.raises(ValueError, match="no record"):
        inclusion_proof(Leaves([b"a"] * 10), seq, size)


@pytest.mark.parametrize(("first", "second"), [(0, 3), (4, 3), (-1, 3)])
def test_there_is_no_proof_from_nothing_or_backwards(first, second):
    with pytest.raises(ValueError, match="no proof"):
        consistency_proof(Leaves([b"a"] * 10), first, second)


# --- a ledger ---


def trusted(state: Path) -> tuple[Path, str]:
    folder, key_file = ledger_paths(state)
    return folder, identity.load(DISK, key_file).verifier.text()


@pytest.mark.parametrize("has_tiles", [True, False], ids=["with tiles", "without"])
async def test_every_record_of_a_ledger_has_a_receipt(tmp_path, has_tiles):
    await kept(tmp_path, 600)
    folder, key = trusted(tmp_path)
    if not has_tiles:
        (folder / "tiles").rename(tmp_path / "away")
    prover = Prover(folder, verifier(key))
    origin = key.split("+")[0]
    for entry in list(walk(DISK, folder, origin))[::7]:
        receipt = await asyncio.to_thread(prover.receipt, entry.seq)

        assert rfc6962.check_receipt(receipt, entry.record, key) == entry.seq
        with pytest.raises(Wrong):
            rfc6962.check_receipt(receipt, entry.record + b" ", key)


async def test_tiles_are_what_the_standard_defines(tmp_path):
    await kept(tmp_path, 600)
    folder, key = trusted(tmp_path)
    records = [entry.record for entry in walk(DISK, folder, key.split("+")[0])]

    tiles = Tiles(DISK, folder)

    assert [tiles.get(0, n) for n in range(2)] == [rfc6962.tile_of(records, 0, n) for n in range(2)]


async def test_a_ledger_only_grows(tmp_path):
    checkpoints = []
    await kept(tmp_path, 0)
    folder, key = trusted(tmp_path)
    for part in range(5):
        await kept(tmp_path, 150, first=part * 150)
        checkpoints.append(rfc6962.open_checkpoint((folder / "checkpoint").read_bytes(), key))
    prover = Prover(folder, verifier(key))
    newest = checkpoints[-1]
    for older in checkpoints:
        path = prover.consistency(older.size)

        rfc6962.check_consistency(older.size, older.root, newest.size, newest.root, path)


async def test_wrong_tiles_never_make_a_wrong_proof(tmp_path):
    await kept(tmp_path, 600)
    folder, key = trusted(tmp_path)
    for path in (folder / "tiles").rglob("*"):
        if path.is_file():
            path.write_bytes(bytes(8192))
    entries = list(walk(DISK, folder, key.split("+")[0]))

    receipt = Prover(folder, verifier(key)).receipt(300)

    assert rfc6962.check_receipt(receipt, entries[300].record, key) == 300


async def test_a_changed_record_has_no_receipt(tmp_path):
    await kept(tmp_path, 20)
    folder, key = trusted(tmp_path)
    (segment,) = sample.segments(tmp_path)
    data = segment.read_bytes()
    record = next(walk(DISK, folder, key.split("+")[0])).record
    other = record.replace(b"id-0", b"id-X")
    segment.write_bytes(data.replace(framed([record]), framed([other])))
    (folder / "tiles").exists()

    with pytest.raises(Damage, match="not those that were signed"):
        Prover(folder, verifier(key)).receipt(0)


async def test_what_was_pruned_is_still_proven(tmp_path):
    await kept(tmp_path, 1200)
    folder, key = trusted(tmp_path)
    records = [entry.record for entry in walk(DISK, folder, key.split("+")[0])]
    await kept(tmp_path, 1, first=1200, retention=Retention(bytes=2_000))
    assert sample.pruned(tmp_path) > 300
    prover = Prover(folder, verifier(key))

    for seq in (0, 1, 255, 256, 300):
        assert rfc6962.check_receipt(prover.receipt(seq), records[seq], key) == seq


async def test_a_record_that_is_not_signed_yet_has_no_receipt(tmp_path):
    await kept(tmp_path, 3)
    folder, key = trusted(tmp_path)

    with pytest.raises(ValueError, match="no record 3"):
        Prover(folder, verifier(key)).receipt(3)


# --- parsers ---


@given(st.binary(max_size=400))
def test_no_bytes_break_the_reader_of_frames(data):
    offset = 0
    with suppress(BadFrame):
        for chunk in chunks(lambda size, offset: data[offset : offset + size], len(data), 0):
            assert len(chunk.records) == len(chunk.offsets)
            offset = chunk.end

    assert 0 <= offset <= len(data)


@pytest.mark.fuzz
def test_no_changed_checkpoint_is_read_as_another(tmp_path, scaled):
    asyncio.run(kept(tmp_path, 3))
    folder, key = trusted(tmp_path)
    note, chance = (folder / "checkpoint").read_bytes(), random.Random(3)
    truth = opened(note, verifier(key))
    for _ in range(scaled(5_000, 1_000_000)):
        data = bytearray(note)
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(data))
            kind = chance.randrange(3)
            if kind == 0:
                data[at] = chance.randrange(256)
            elif kind == 1:
                del data[at]
            else:
                data.insert(at, chance.randrange(256))
            if not data:
                break
        try:
            found = opened(bytes(data), verifier(key))
        except ValueError:
            continue
        assert found == truth


def test_leaf_hashes_are_those_of_the_standard():
    assert leaf_hash(b"") == rfc6962.mth([b""])
