"""Legal holds: while one stands nothing is pruned and nobody is forgotten.

```
<state>/keys/ledger.holds   {"case-17": {"by": "ops", "reason": "…", "since": "2026-…Z"}, …}
```
A hold is a file beside the key, which the operator alone writes: it holds from the moment it stands
there, whether a sidecar runs or not, and no worker can lift it. The ledger records each that is
placed and each that is released, within a second or at its next start, so the log says who held
what, since when, why, and when it was let go. A file that cannot be read holds everything.

Source: Delegated Regulation (EU) 2024/1774 article 22(d): evidence of incidents is retained.
"""

import stat
from pathlib import Path
from typing import Final

import msgspec

from sidecar.record import disk
from sidecar.record.disk import Io
from sidecar.record.keeping.history import HELD, RELEASED, History
from sidecar.record.keeping.told import News
from sidecar.record.limits import HOLDS_BYTES_MAX
from sidecar.terms.errors import RecordError

UNREADABLE: Final = "unreadable"


class Hold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why the log is held.

    Args:
        reason: In the operator's words, which stand in the log for good.
        since: When it was placed.
        by: The user of the machine who placed it.
    """

    reason: str
    since: str
    by: str


_read = msgspec.json.Decoder(dict[str, Hold]).decode


def holds_path(key_file: Path) -> Path:
    """Return where the holds of the ledger with this key stand."""
    return key_file.with_suffix(".holds")


def standing(io: Io, key_file: Path) -> dict[str, Hold]:
    """Return the holds that stand, by name; one of the name `unreadable` where that is not known.

    Raises:
        OSError: The disk says no.
    """
    path = holds_path(key_file)
    try:
        is_open = io.stat(path).st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        data = disk.read_all(io, path, HOLDS_BYTES_MAX)
    except FileNotFoundError:
        return {}
    try:
        return {UNREADABLE: _UNREADABLE} if is_open else _read(data)
    except msgspec.DecodeError:
        return {UNREADABLE: _UNREADABLE}


_UNREADABLE: Final = Hold("what says what is held cannot be read", "", "")


def check_none(io: Io, key_file: Path) -> None:
    """Raise RecordError where something is held, or that cannot be known."""
    try:
        held = ", ".join(sorted(standing(io, key_file)))
    except OSError as error:
        raise RecordError(f"what is held cannot be known: {disk.why(error)}") from error
    if held:
        raise RecordError(f"the ledger is held ({held}): nobody is forgotten meanwhile")


def put(io: Io, key_file: Path, holds: dict[str, Hold]) -> None:
    """Let these holds stand and no others; durable when this returns."""
    path = holds_path(key_file)
    if holds:
        disk.replace(io, path, msgspec.json.encode(holds, order="sorted") + b"\n")
    else:
        io.unlink(path)
        disk.sync_folder(io, path.parent)


class Holds:
    """The holds of one ledger, as its writer sees them."""

    def __init__(self, io: Io, key_file: Path, history: History) -> None:
        self._io, self._key_file = io, key_file
        # What the log knows of, or is about to be told.
        self._told = dict(history.holds)

    def are_any(self) -> bool:
        """Return whether anything is held, also where that cannot be known."""
        try:
            return bool(standing(self._io, self._key_file))
        except OSError:
            return True

    def news(self) -> list[News]:
        """Return what is to be recorded of holds: those that stand and those that do not now."""
        try:
            found = standing(self._io, self._key_file)
        except OSError:
            return []
        told, self._told = self._told, {name: hold.since for name, hold in found.items()}
        placed = [
            (HELD, {"name": name, **msgspec.to_builtins(hold)})
            for name, hold in sorted(found.items())
            if told.get(name) != hold.since
        ]
        gone = [(RELEASED, {"name": name}) for name in sorted(told) if name not in found]
        return [*placed, *gone]
