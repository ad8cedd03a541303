"""Keys of the ledger that are 32 random bytes: a file of hex lines outside of the ledger, 0600.

The first line is the key in use. A second one stands there only while what it has encrypted is
being written again under the first. Beside a key stands a sign that it was made: who finds the sign
alone knows that the key is gone.
"""

import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sidecar.record import disk
from sidecar.record.disk import FOLDER_MODE, NEW, NEW_ONLY, Io
from sidecar.terms.errors import LedgerBroken

KEY_BYTES: Final = 32
_FILE_BYTES_MAX: Final = 1024


def load_or_make(io: Io, path: Path, random_bytes: Callable[[int], bytes]) -> list[bytes]:
    """Return the keys at `path`, a new one where there is none; several processes may ask at once.

    Raises:
        LedgerBroken: The file is malformed or open to others.
        OSError: The disk says no.
    """
    found = load(io, path)
    if found is None:
        _make(io, path, random_bytes)
        found = load(io, path)
    assert found is not None
    return found


def load(io: Io, path: Path) -> list[bytes] | None:
    """Return the keys at `path`, None when there is no file; raises as `load_or_make`."""
    try:
        mode = io.stat(path).st_mode
        data = disk.read_all(io, path, _FILE_BYTES_MAX)
    except FileNotFoundError:
        return None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise LedgerBroken(f"{path}: others may read the key; expected mode 0600")
    try:
        keys = [bytes.fromhex(line) for line in data.decode("ascii").split()]
    except ValueError:
        keys = []
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise LedgerBroken(f"{path}: expected a key of {KEY_BYTES} bytes in hex")
    return keys


def store(io: Io, path: Path, keys: list[bytes]) -> None:
    """Put `keys` at `path` in one step."""
    disk.replace(io, path, _text(keys))


def sign_of(path: Path) -> Path:
    """Return what stands beside the key at `path` from when it was first used."""
    return path.with_suffix(".made")


def keep_sign(io: Io, path: Path) -> None:
    """Keep a sign that there is a key at `path`, and what belongs to it, if none is kept."""
    sign = sign_of(path)
    if sign.exists():
        return
    disk.let_go(io, io.open(sign, NEW))
    disk.sync_folder(io, sign.parent)


def _make(io: Io, path: Path, random_bytes: Callable[[int], bytes]) -> None:
    path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{random_bytes(8).hex()}.tmp")
    fd = io.open(temporary, NEW_ONLY)
    try:
        disk.write_all(io, fd, _text([random_bytes(KEY_BYTES)]))
        io.fsync(fd)
        # A link, unlike a rename, fails where another process was first: then its key is ours; so
        # it is when that one has removed what is only half made.
        with suppress(FileExistsError, FileNotFoundError):
            path.hardlink_to(temporary)
    finally:
        disk.let_go(io, fd)
        with suppress(OSError):
            io.unlink(temporary)
    disk.sync_folder(io, path.parent)


def _text(keys: list[bytes]) -> bytes:
    return "".join(f"{key.hex()}\n" for key in keys).encode()
