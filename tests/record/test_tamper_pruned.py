"""The tiles are what is left of pruned records: a log whose tiles are not those is not intact."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from sidecar.cli.log import command
from sidecar.record.keeping.upkeep import Retention
from sidecar.record.proof.tiles import tile_path
from sidecar.terms.errors import LedgerBroken
from tests.record import sample
from tests.record.tampering import flipped
from tests.record.test_upkeep import grown, kept

pytestmark = pytest.mark.timeout(60)


class Pruned(NamedTuple):
    """A log whose first records are gone, and a checkpoint from when they were there."""

    state: Path
    held: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pruned")
    state = folder / "state"

    async def make() -> None:
        ledger = await grown(state, 300)
        await ledger.close()
        shutil.copy(state / "ledger" / "checkpoint", folder / "held")
        await kept(state, 700, first=300)
        await kept(state, 1, first=1000, retention=Retention(bytes=8_000))

    asyncio.run(make())
    return folder


@pytest.fixture
def log(made: Path, tmp_path: Path) -> Pruned:
    shutil.copytree(made, tmp_path / "of")
    found = Pruned(tmp_path / "of" / "state", tmp_path / "of" / "held")
    # Whole tiles, one of which stands for records on both sides.
    assert sample.pruned(found.state) > 512
    assert sample.pruned(found.state) % 256
    return found


def verified(log: Pruned, *more: str) -> tuple[int, str]:
    shown = CliRunner().invoke(command, ["verify", str(log.state), *more])
    return shown.exit_code, shown.stderr


def of_tile(number: int, change: Callable[[bytes], bytes]) -> Callable[[Pruned], Any]:
    def tamper(log: Pruned) -> None:
        path = log.state / "ledger" / "tiles" / tile_path(0, number)
        path.write_bytes(change(path.read_bytes()))

    return tamper


def of_border(at_of: Callable[[int], int]) -> Callable[[Pruned], Any]:
    """Return what changes the tile in which the first record that is left stands."""

    def tamper(log: Pruned) -> None:
        number, within = divmod(sample.pruned(log.state), 256)
        of_tile(number, flipped(at_of(within)))(log)

    return tamper


def gone(log: Pruned) -> None:
    (log.state / "ledger" / "tiles" / tile_path(0, 1)).unlink()


def exchanged(log: Pruned) -> None:
    one, other = (log.state / "ledger" / "tiles" / tile_path(0, number) for number in (0, 1))
    kept_bytes = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept_bytes)


NOT_THEIRS = "the tiles of the pruned records up to"
NOT_ONE = "the tile of records that were pruned: not a tile of 256 hashes"

FOUND: dict[str, tuple[Callable[[Pruned], Any], str]] = {
    "a bit flipped": (of_tile(0, flipped(0)), NOT_THEIRS),
    "a bit flipped in a later tile": (of_tile(1, flipped(4000)), NOT_THEIRS),
    "the first hash of the border": (of_border(lambda _within: 0), NOT_THEIRS),
    "the last pruned hash": (of_border(lambda within: within * 32 - 1), NOT_THEIRS),
    "the first hash that has a record": (of_border(lambda within: within * 32), "of the records"),
    "two tiles exchanged": (exchanged, NOT_THEIRS),
    "cut by a byte": (of_tile(0, lambda data: data[:-1]), NOT_ONE),
    "emptied": (of_tile(0, lambda _: b""), NOT_ONE),
    "a byte more": (of_tile(0, lambda data: data + b"x"), NOT_ONE),
    "removed": (gone, "the tile of records that were pruned: it is missing"),
    "all removed": (lambda log: shutil.rmtree(log.state / "ledger" / "tiles"), "it is missing"),
}


def test_it_is_intact_as_it_was_pruned(log: Pruned) -> None:
    assert verified(log, "--checkpoint", str(log.held)) == (0, "")


@pytest.mark.parametrize("kind", FOUND)
@pytest.mark.parametrize("has_held", [False, True])
def test_it_is_found(log: Pruned, kind: str, *, has_held: bool) -> None:
    tamper, says = FOUND[kind]
    tamper(log)

    # With a true checkpoint from before as well it is the tile that is blamed, not the log.
    code, told = verified(log, *(["--checkpoint", str(log.held)] if has_held else []))

    assert code == 20
    assert "tiles/tile/0/" in told
    assert says in told


@pytest.mark.parametrize("kind", ["a bit flipped", "removed", "all removed"])
def test_no_record_is_proven_by_it(log: Pruned, tmp_path: Path, kind: str) -> None:
    FOUND[kind][0](log)

    blames = "tiles: those of" if kind == "a bit flipped" else "no tile"
    for verb, out, says in (("prove", tmp_path, blames), ("export", tmp_path / "o", "ledger")):
        arguments = [verb, *(["id-1000"] if verb == "prove" else []), "-o", str(out)]
        shown = CliRunner().invoke(command, [*arguments, "--state", str(log.state)])

        assert isinstance(shown.exception, LedgerBroken)
        assert says in str(shown.exception)
