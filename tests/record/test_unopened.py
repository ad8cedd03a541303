"""A ledger that cannot be opened is told apart from a disk that takes nothing."""

import errno

import pytest

from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.segments.sealed import sealed_path
from sidecar.terms.errors import LedgerBroken, LedgerUnwritable
from tests.record import sample
from tests.record.faulty import FaultyDisk

TAKES_NOTHING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@pytest.mark.parametrize("inside", [b"", b"no frame"])
async def test_a_last_segment_whose_sealed_form_cannot_be_read_is_damage(tmp_path, inside):
    await sample.closed(tmp_path, 2, sample.settings())
    (last,) = sample.segments(tmp_path)
    last.unlink()
    sealed_path(last).write_bytes(inside)

    with pytest.raises(LedgerBroken, match="the sealed segment cannot be read"):
        Ledger.open(*ledger_paths(tmp_path), sample.settings())


@pytest.mark.parametrize("number", [*TAKES_NOTHING, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("call", ["write", "open"])
async def test_a_disk_that_takes_nothing_is_no_damage(tmp_path, number, call):
    await sample.closed(tmp_path, 2, sample.settings())
    disk = FaultyDisk()
    disk.fails = lambda _, name: number if name == call else 0

    with pytest.raises((LedgerBroken, LedgerUnwritable)) as refused:
        Ledger.open(*ledger_paths(tmp_path), sample.settings(disk))

    expected = LedgerUnwritable if number in TAKES_NOTHING else LedgerBroken
    assert type(refused.value) is expected
