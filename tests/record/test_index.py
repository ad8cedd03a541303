"""The index finds what is in the log, is made anew whenever it must be, and is never believed."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from sidecar.record.audit.find import about
from sidecar.record.audit.index import INDEX, Index
from sidecar.record.keeping.upkeep import Retention
from sidecar.record.segments.segment import HEADER_BYTES
from tests.record import sample
from tests.record.test_upkeep import kept

# Each of many records is synced, and a disk may be slow.
pytestmark = pytest.mark.timeout(60)


def found(folder: Path, id: str) -> bytes | None:
    with closing(Index.open(folder)) as index:
        index.catch_up()
        return index.find(id)


async def test_every_record_is_found_in_open_and_sealed_segments(tmp_path):
    await kept(tmp_path, 400)
    folder = tmp_path / "ledger"
    assert len(sample.segments(tmp_path)) > 2
    with closing(Index.open(folder)) as index:
        taken = index.catch_up()
        again = index.catch_up()
        for number in (0, 1, 150, 399):
            record = index.find(f"id-{number}")
            assert record is not None
            assert orjson.loads(record)["log"]["seq"] == number

    assert (taken, again) == (400, 0)
    assert (folder / INDEX).stat().st_mode & 0o777 == 0o600


async def test_what_is_new_is_taken_in(tmp_path):
    folder = tmp_path / "ledger"
    await kept(tmp_path, 10)
    before = found(folder, "id-10")
    await kept(tmp_path, 200, first=10)

    assert before is None
    assert found(folder, "id-10") is not None
    assert found(folder, "id-209") is not None


@pytest.mark.parametrize("damage", [b"", b"not a table", os.urandom(5000)], ids=len)
async def test_a_damaged_index_is_made_anew(tmp_path, damage):
    folder = tmp_path / "ledger"
    await kept(tmp_path, 10)
    assert found(folder, "id-3") is not None
    (folder / INDEX).write_bytes(damage)

    assert found(folder, "id-3") is not None


async def test_an_index_of_another_log_is_made_anew(tmp_path):
    await kept(tmp_path / "a", 10)
    await kept(tmp_path / "b", 5)
    found(tmp_path / "a" / "ledger", "id-3")
    shutil.copy(tmp_path / "a" / "ledger" / INDEX, tmp_path / "b" / "ledger" / INDEX)

    assert found(tmp_path / "b" / "ledger", "id-3") is not None
    assert found(tmp_path / "b" / "ledger", "id-9") is None


async def test_an_index_that_lies_about_a_place_is_not_believed(tmp_path):
    folder = tmp_path / "ledger"
    await kept(tmp_path, 10)
    found(folder, "id-3")
    with closing(sqlite3.connect(folder / INDEX)) as table:
        table.execute("update records set offset = (select offset from records where seq = 5)")
        table.commit()

    assert found(folder, "id-3") is None
    record, *_ = about(folder, "id-3")
    assert record is not None
    assert record["log"]["seq"] == 3


@pytest.mark.parametrize("place", [-(2**63), -1, 0, 1, HEADER_BYTES + 1, 2**62])
@pytest.mark.parametrize("table", ["records", "about"])
async def test_an_index_that_names_no_place_of_a_sealed_segment_is_not_believed(
    tmp_path, table, place
):
    folder = tmp_path / "ledger"
    await kept(tmp_path, 20, segment_bytes_max=2000)
    found(folder, "id-3")
    with closing(sqlite3.connect(folder / INDEX)) as rows:
        rows.execute(f"update {table} set segment = 0, offset = ?", (place,))
        rows.commit()

    record, *_ = about(folder, "id-3")

    assert record is not None
    assert record["log"]["seq"] == 3


async def test_an_index_that_denies_a_record_is_not_believed(tmp_path):
    folder = tmp_path / "ledger"
    await kept(tmp_path, 10)
    found(folder, "id-3")
    with closing(sqlite3.connect(folder / INDEX)) as table:
        table.execute("delete from records where seq = 3")
        table.commit()

    record, *_ = about(folder, "id-3")

    assert record is not None


async def test_what_was_pruned_is_not_found(tmp_path):
    folder = tmp_path / "ledger"
    await kept(tmp_path, 1200)
    found(folder, "id-3")
    await kept(tmp_path, 1, first=1200, retention=Retention(bytes=2_000))

    assert found(folder, "id-3") is None
    assert found(folder, "id-1200") is not None
