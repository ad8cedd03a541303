"""The few calls by which the ledger touches the disk, behind one seam that tests can fail."""

import errno
import fcntl
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from sidecar.terms.errors import LedgerBroken, LedgerUnwritable

FILE_MODE: Final = 0o600
# Of what is written for good.
READ_ONLY: Final = 0o400
FOLDER_MODE: Final = 0o700
# Every write goes to the end: in a file that somebody has cut it then stands where it is seen to be
# wrong, and never behind a hole.
NEW: Final = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NEW_ONLY: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND
OLD: Final = os.O_RDWR | os.O_APPEND
READ: Final = os.O_RDONLY
FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY
# FS_IOC_GETVERSION of linux/fs.h, with its answer of the size of a long.
_GET_GENERATION: Final = 0x80087601
_GENERATION_BYTES: Final = 8
_TAKES_NOTHING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class Io(Protocol):
    """What the ledger asks of the operating system; every method may raise OSError."""

    def open(self, path: Path, flags: int) -> int:
        """Return a descriptor of `path`, never of a symbolic link."""
        ...

    def close(self, fd: int) -> None:
        """Close `fd`."""
        ...

    def read(self, fd: int, size: int, offset: int) -> bytes:
        """Return at most `size` bytes from `offset`, fewer at the end."""
        ...

    def write(self, fd: int, data: bytes) -> int:
        """Write at the end and return how many bytes were taken, which may be fewer than given."""
        ...

    def fdatasync(self, fd: int) -> None:
        """Return when the file's data and size are on stable storage."""
        ...

    def fsync(self, fd: int) -> None:
        """Return when the file or folder with all it says of itself is on stable storage."""
        ...

    def ftruncate(self, fd: int, size: int) -> None:
        """Cut the file to `size`."""
        ...

    def chmod(self, fd: int, mode: int) -> None:
        """Change who may read and write the file."""
        ...

    def fstat(self, fd: int) -> os.stat_result:
        """Return what is open."""
        ...

    def generation(self, fd: int) -> int:
        """Return what tells a file from those that had its inode before, 0 where nobody says."""
        ...

    def stat(self, path: Path) -> os.stat_result:
        """Return what stands at `path` now."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Move a file over another in one step."""
        ...

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        ...

    def mkdir(self, folder: Path) -> None:
        """Make a folder and those above it that are not there."""
        ...

    def access(self, path: Path) -> bool:
        """Return whether we may still read and write what stands at `path`."""
        ...

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, sorted."""
        ...

    def lock(self, fd: int) -> None:
        """Take the one lock of a folder; BlockingIOError when somebody else has it."""
        ...


class Disk:
    """The real disk. Descriptors are not inherited by child processes (PEP 446)."""

    def open(self, path: Path, flags: int) -> int:
        """Return a descriptor of `path`, never of a symbolic link, nor of what may never answer."""
        # A pipe or a device in the place of a file would be waited for.
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, FILE_MODE)
        mode = os.fstat(fd).st_mode
        if stat.S_ISREG(mode) or (flags & os.O_DIRECTORY and stat.S_ISDIR(mode)):
            return fd
        os.close(fd)
        if stat.S_ISDIR(mode):
            # Else a read would fail, which does not know what it reads.
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise OSError(errno.EINVAL, "not a file", str(path))

    def close(self, fd: int) -> None:
        """Close `fd`."""
        os.close(fd)

    def read(self, fd: int, size: int, offset: int) -> bytes:
        """Return at most `size` bytes from `offset`, fewer at the end."""
        return os.pread(fd, size, offset)

    def write(self, fd: int, data: bytes) -> int:
        """Write at the end and return how many bytes were taken, which may be fewer than given."""
        return os.write(fd, data)

    def fdatasync(self, fd: int) -> None:
        """Return when the file's data and size are on stable storage."""
        if sys.platform == "darwin":
            # fsync there leaves the data in the drive's cache.
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(fd)

    def fsync(self, fd: int) -> None:
        """Return when the file or folder with all it says of itself is on stable storage."""
        os.fsync(fd)

    def ftruncate(self, fd: int, size: int) -> None:
        """Cut the file to `size`."""
        os.ftruncate(fd, size)

    def chmod(self, fd: int, mode: int) -> None:
        """Change who may read and write the file."""
        os.fchmod(fd, mode)

    def fstat(self, fd: int) -> os.stat_result:
        """Return what is open."""
        return os.fstat(fd)

    def generation(self, fd: int) -> int:
        """Return what tells a file from those that had its inode before, 0 where nobody says."""
        if sys.platform != "linux":
            return 0
        try:
            found = fcntl.ioctl(fd, _GET_GENERATION, bytes(_GENERATION_BYTES))
        except OSError:
            return 0
        return int.from_bytes(found, sys.byteorder)

    def stat(self, path: Path) -> os.stat_result:
        """Return what stands at `path` now."""
        return path.stat()

    def rename(self, old: Path, new: Path) -> None:
        """Move a file over another in one step."""
        old.rename(new)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def mkdir(self, folder: Path) -> None:
        """Make a folder and those above it that are not there."""
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)

    def access(self, path: Path) -> bool:
        """Return whether we may still read and write what stands at `path`."""
        # Whoever runs it as root may always, but took the permission away for a reason.
        owner_may = path.stat().st_mode & 0o600 == 0o600
        return owner_may and os.access(path, os.R_OK | os.W_OK)

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, sorted."""
        return sorted(entry.name for entry in folder.iterdir())

    def lock(self, fd: int) -> None:
        """Take the one lock of a folder; BlockingIOError when somebody else has it."""
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


DISK: Final = Disk()


def let_go(io: Io, fd: int) -> None:
    """Close `fd`; a close that fails has closed, and what had to be durable was synced before."""
    with suppress(OSError):
        io.close(fd)


def why(error: OSError) -> str:
    """Return why a call failed, without paths: the text may reach a caller."""
    return error.strerror or str(error)


def unopened(failed: BaseException, text: str) -> LedgerBroken | LedgerUnwritable:
    """Return why a ledger cannot be opened: a disk that is full says nothing of what is on it."""
    cause: BaseException | None = failed
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__
    takes_nothing = cause is not None and cause.errno in _TAKES_NOTHING
    return LedgerUnwritable(text) if takes_nothing else LedgerBroken(text)


def write_all(io: Io, fd: int, data: bytes) -> None:
    """Write the whole of `data`: a write may take fewer bytes and say so without an error."""
    while data:
        taken = io.write(fd, data)
        if taken <= 0:
            msg = "the disk takes no bytes"
            raise OSError(msg)
        data = data[taken:]


def read_all(io: Io, path: Path, bytes_max: int) -> bytes:
    """Return a small file; OSError when it holds more than `bytes_max`."""
    fd = io.open(path, READ)
    try:
        data = io.read(fd, bytes_max + 1, 0)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        let_go(io, fd)
    if len(data) > bytes_max:
        raise OSError(errno.EFBIG, f"it holds more than {bytes_max} bytes", str(path))
    return data


def replace(io: Io, path: Path, data: bytes) -> None:
    """Put `data` at `path` in one step: a crash leaves the old file or the new, never half."""
    temporary = path.with_name(f"{path.name}.tmp")
    fd = io.open(temporary, NEW)
    try:
        write_all(io, fd, data)
        io.fsync(fd)
    finally:
        let_go(io, fd)
    io.rename(temporary, path)
    sync_folder(io, path.parent)


def remove_left(io: Io, path: Path) -> None:
    """Remove for good what was left behind where `path` was made: it may be another name of it."""
    left = [name for name in io.names(path.parent) if name.startswith(f"{path.name}.")]
    left = [name for name in left if name.endswith(".tmp")]
    for name in left:
        io.unlink(path.with_name(name))
    if left:
        sync_folder(io, path.parent)


def sync_folder(io: Io, folder: Path) -> None:
    """Make the names in `folder` durable: a file is only there after a crash when its name is."""
    fd = io.open(folder, FOLDER)
    try:
        io.fsync(fd)
    finally:
        let_go(io, fd)
