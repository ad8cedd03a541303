"""Recorded decisions as requests that two bundles are asked about.

They are asked as they were understood then, alike under both. A record of which something is lost
says nothing certain and is passed over: `sidecar replay` counts those, and names what is missing.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from sidecar.review.diff.calls import Asked
from sidecar.review.replay.recorded import read_recorded, understood


def of_records(path: Path) -> Iterator[Asked]:
    """Yield the requests that are recorded at `path` and are whole."""
    for found in read_recorded(path):
        if found.text is None:
            continue
        read = understood(found, by_others=True)
        if not read.open:
            told = {"record": str(found.record.id), **_told(read.request)}
            yield Asked(told, read.request, read.request)


def _told(request: object) -> dict[str, object]:
    told: dict[str, object] = msgspec.to_builtins(request)
    shown = ("protocol", "subject", "actors", "targets", "context", "request")
    return {name: told[name] for name in shown if name in told}
