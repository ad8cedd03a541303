"""Find one record, and those that name it: by the index, else by reading the log."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from sidecar.record.audit.index import Index
from sidecar.record.read import Reader


def about(
    folder: Path, id: str, progress: Callable[[int], None] = lambda _count: None
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Return the record `id` and the records that name it as their parent.

    Args:
        folder: The ledger's.
        id: The record's.
        progress: Is told how many records have been indexed.
    """
    with closing(Index.open(folder)) as index:
        index.catch_up(progress)
        found, linked = index.find(id), index.linked(id)
    if found is None:
        # An index is not believed, least of all in what it does not say.
        return _searched(folder, id)
    return orjson.loads(found), [orjson.loads(record) for record in linked]


def _searched(folder: Path, id: str) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    found: dict[str, Any] | None = None
    linked: list[dict[str, Any]] = []
    needle = id.encode()
    for line in Reader(folder).new():
        if needle not in line:
            continue
        record = orjson.loads(line)
        if record["id"] == id:
            found = record
        elif record.get("parent") == id:
            linked.append(record)
    return found, linked
