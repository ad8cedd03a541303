"""A log that is verified is found intact, whatever its writer does meanwhile."""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from sidecar.cli.log import proving
from sidecar.record.audit.beside import Beside
from sidecar.record.disk import DISK
from sidecar.record.keeping.upkeep import Retention
from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.proof.checkpoint import Verifier
from sidecar.record.proof.merkle import Tree
from sidecar.record.segments.walk import Batch
from sidecar.record.verify import Watch, verify
from tests.record import sample
from tests.record.test_erase import recorded
from tests.record.test_log_cli import run
from tests.record.test_persons import ALICE
from tests.record.test_upkeep import kept

# Each of many records is synced, and a disk may be slow.
pytestmark = pytest.mark.timeout(60)


class Meanwhile:
    """Has something done at one moment, once."""

    def __init__(self, at: str, act: Callable[[], object]) -> None:
        self._at, self._act = at, act
        self.came: list[object] = []

    def take(self, batch: Batch, leaves: Sequence[bytes], tree: Tree, signed: int) -> None:
        self._now("take")

    def end(self, size: int, keys: Sequence[Verifier]) -> None:
        self._now("end")

    def _now(self, at: str) -> None:
        if at == self._at and not self.came:
            self.came.append(self._act())


@pytest.mark.parametrize("at", ["take", "end"])
async def test_who_is_forgotten_meanwhile_is_not_missed(tmp_path, at):
    await recorded(tmp_path)
    ledger = Ledger.open(*ledger_paths(tmp_path), sample.settings())
    loop, folder = asyncio.get_running_loop(), ledger_paths(tmp_path)[0]
    meanwhile = Meanwhile(
        at, lambda: asyncio.run_coroutine_threadsafe(ledger.forget(ALICE), loop).result()
    )

    watches: list[Watch] = [meanwhile, Beside(DISK, tmp_path)]
    report = await asyncio.to_thread(verify, folder, ledger.verifier, watches=watches)
    await ledger.close()

    assert report.intact, report.problem
    assert meanwhile.came == [True]
    assert verify(folder, ledger.verifier, watches=[Beside(DISK, tmp_path)]).intact


@pytest.fixture
def acting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Return what has something done once the first records were read by the command."""

    def begin(act: Callable[[], object]) -> None:
        meanwhile = Meanwhile("take", act)

        @contextmanager
        def counted(what: str) -> Iterator[Meanwhile]:
            yield meanwhile

        monkeypatch.setattr(proving, "counted", counted)

    return begin


def test_what_is_pruned_meanwhile_is_not_missing(tmp_path, acting):
    asyncio.run(kept(tmp_path, 600))
    sample.stands(tmp_path)
    acting(lambda: asyncio.run(kept(tmp_path, 1, first=600, retention=Retention(bytes=2_000))))

    shown = run("verify", tmp_path)

    assert shown.exit_code == 0, shown.stderr
    assert f"the first {sample.pruned(tmp_path)} records, as the log says itself" in shown.output


def test_what_is_removed_meanwhile_and_was_not_pruned_is_missing(tmp_path, acting):
    asyncio.run(kept(tmp_path, 600))
    sample.stands(tmp_path)
    acting(lambda: [*map(os.unlink, sample.segments(tmp_path)[:3])])

    shown = run("verify", tmp_path)

    assert shown.exit_code == 20
    assert "no record says that those before were pruned" in shown.stderr
