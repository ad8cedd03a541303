"""Find one record, and those that name it: by the index, else by reading the log."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sidecar.record.audit.index import Index
from sidecar.record.read import Reader
from sidecar.record.segments.walk import Damage


class Found(NamedTuple):
    """A record, and what belongs to it.

    Args:
        record: None where none is found.
        linked: The records that name it as their parent.
        damage: Where the log is not whole, so that more may have been there.
    """

    record: dict[str, Any] | None
    linked: list[dict[str, Any]]
    damage: Damage | None


def about(folder: Path, id: str, progress: Callable[[int], None] = lambda _count: None) -> Found:
    """Return the record `id` and the records that name it as their parent.

    Args:
        folder: The ledger's.
        id: The record's.
        progress: Is told how many records have been indexed.
    """
    with closing(Index.open(folder)) as index:
        index.catch_up(progress)
        found, linked = index.find(id), index.linked(id)
    if found is None or linked is None or index.damage is not None:
        # An index is not believed, least of all in what it does not say.
        return _searched(folder, id)
    return Found(orjson.loads(found), [orjson.loads(record) for record in linked], None)


def _searched(folder: Path, id: str) -> Found:
    found: dict[str, Any] | None = None
    linked: list[dict[str, Any]] = []
    needle, reader = id.encode(), Reader(folder)
    for line in reader.new():
        if needle not in line:
            continue
        record = orjson.loads(line)
        if record["id"] == id:
            found = record
        elif record.get("parent") == id:
            linked.append(record)
    return Found(found, linked, reader.damage)
