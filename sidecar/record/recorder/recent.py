"""The ids of a log's last records, read when a recorder starts: they may be sent to it again."""

from pathlib import Path

import orjson

from sidecar.record.disk import Io
from sidecar.record.fold import RecentIds
from sidecar.record.read import last_records


def recent_ids(io: Io, folder: Path, count_max: int) -> RecentIds:
    """Return the ids of the last `count_max` records; what is torn at the end is none."""
    recent = RecentIds(count_max)
    for line in last_records(io, folder, count_max):
        recent.add(orjson.loads(line)["id"])
    return recent
