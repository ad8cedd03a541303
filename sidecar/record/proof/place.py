"""Where a ledger stands: a copy of it does not go on as if it were the same.

```
<state>/keys/ledger.place          the folder's inode, the machine's id (machine-id(5)), and of the
                                   last start its name, and inode and generation of its file
<state>/keys/ledger.<name>.start   an empty file, made anew by each start
```
Two copies that both go on are two histories under one key, and a backup that goes on forgets what
came after it. So a ledger that is found elsewhere is refused until somebody says that it was moved,
which is recorded. A backup that is put back into the very folder brings another file of another
start, or the file of this one anew; its generation tells it from one whose inode it was given.

Not seen is a copy of a whole disk to a machine of the same id, nor a backup from since the last
start that is written over what stands there, file by file, so that none is made anew; the
checkpoints that others hold tell of those. The device's number is not looked at: it changes with a
restart. Neither are times: whoever gives the folder to another user changes those.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sidecar.record import disk
from sidecar.record.disk import NEW_ONLY, READ, Io
from sidecar.record.limits import NOTE_BYTES_MAX
from sidecar.terms.errors import LedgerBroken

MOVED: Final = "ledger_moved"
UNKNOWN: Final = "ledger.place_unknown"
_MACHINE: Final = Path("/etc/machine-id")
_START: Final = re.compile(r"start ([0-9a-f]{16}) (\d+\.\d+)\n\Z")
_NAME_BYTES: Final = 8
_REMEDY: Final = (
    " If it goes on here and nowhere else, say so: `sidecar log key --moved`; it is recorded"
)


def machine_id() -> str:
    """Return what names the machine, empty where it does not say."""
    try:
        return _MACHINE.read_bytes().decode().strip()
    except (OSError, ValueError):
        return ""


def here(io: Io, folder: Path, machine: str) -> str:
    """Return what says where the ledger in `folder` stands."""
    return f"inode {io.stat(folder).st_ino}\nmachine {machine or '-'}\n"


def known(io: Io, key_file: Path) -> str | None:
    """Return where the ledger of a key stood when it was last opened, None when nobody says."""
    try:
        return disk.read_all(io, _file(key_file), NOTE_BYTES_MAX).decode(errors="replace")
    except FileNotFoundError:
        return None


def check(io: Io, folder: Path, key_file: Path, machine: str, *, is_marked: bool) -> None:
    """Refuse a ledger that stood elsewhere.

    Args:
        io: The disk.
        folder: The ledger's.
        key_file: Where its key stands.
        machine: Names the machine.
        is_marked: Whether it was ever written by one that keeps marks, and so a place.

    Raises:
        LedgerBroken: It did, or what says where it stood is gone.
    """
    before = known(io, key_file)
    if before is None:
        if is_marked:
            raise LedgerBroken(f"{_file(key_file)}: where the ledger stood is gone.{_REMEDY}")
        return
    start = _START.search(before)
    is_here = start is not None and before[: start.start()] == here(io, folder, machine)
    if start is None or not is_here or _seen(io, _start_file(key_file, start[1])) != start[2]:
        raise LedgerBroken(f"{folder}: the ledger was copied, restored or moved.{_REMEDY}")


def keep(
    io: Io, folder: Path, key_file: Path, machine: str, random_bytes: Callable[[int], bytes]
) -> None:
    """Keep that the ledger stands here, and is started."""
    name = random_bytes(_NAME_BYTES).hex()
    path = _start_file(key_file, name)
    fd = io.open(path, NEW_ONLY)
    try:
        io.fsync(fd)
    finally:
        disk.let_go(io, fd)
    disk.sync_folder(io, path.parent)
    now = f"{here(io, folder, machine)}start {name} {_seen(io, path)}\n"
    disk.replace(io, _file(key_file), now.encode())
    for other in io.names(path.parent):
        if other != path.name and _is_start(key_file, other):
            io.unlink(path.with_name(other))


def _seen(io: Io, path: Path) -> str | None:
    """Return what tells this very file from others, None when it is not there."""
    with suppress(FileNotFoundError):
        fd = io.open(path, READ)
        try:
            return f"{io.fstat(fd).st_ino}.{io.generation(fd)}"
        finally:
            disk.let_go(io, fd)
    return None


def _is_start(key_file: Path, name: str) -> bool:
    return name.startswith(f"{key_file.stem}.") and name.endswith(".start")


def _start_file(key_file: Path, name: str) -> Path:
    return key_file.with_name(f"{key_file.stem}.{name}.start")


def _file(key_file: Path) -> Path:
    return key_file.with_suffix(".place")
