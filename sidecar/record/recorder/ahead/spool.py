"""A file of what was answered for and is not acknowledged: it outlives every process of ours.

One worker writes it and one recorder reads it, once that worker is gone: what is written to a file
is in the hands of the machine, whoever is killed then. It is never synced: of what the end of the
machine takes, a `gap` tells.

```
 floor(8)  -  │ number(8) length(4) what was said … number(8) │ number(8) … │ 0
 up to this frame all is written         one entry            │ the next    │ the end
```
Entries stand one behind the other, in the order of their numbers, which grow by one from frame to
frame of a worker's life. Once nothing of it is needed the next entry begins at the front: what
stands behind is of before, and a zero says so. An entry that was not written to its end lacks its
number there; nobody was answered for it.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Final

from sidecar.record.limits import SPOOL_BYTES_MAX

NAME_BYTES: Final = 32
# What stands for the name where there is no spool.
NONE: Final = b"-" * NAME_BYTES
_FLOOR: Final = Struct("<Q")
_FIRST: Final = 16
_HEAD: Final = Struct("<QI")
_NUMBER: Final = Struct("<Q")
_END: Final = bytes(_HEAD.size)


class Spool:
    """A worker's, by the descriptor that it was handed.

    Args:
        name: The file's.
        fd: The file, from now on the spool's.
    """

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self._fd = fd
        self._at = _FIRST

    def put(self, number: int, said: bytes) -> bool:
        """Take what was said in the frame of this number; return whether it stands there."""
        entry = b"".join((_HEAD.pack(number, len(said)), said, _NUMBER.pack(number), _END))
        if self._at + len(entry) > SPOOL_BYTES_MAX:
            return False
        try:
            taken = os.pwrite(self._fd, entry, self._at)
        except OSError:
            return False
        if taken < len(entry):
            return False
        self._at += len(entry) - len(_END)
        return True

    def begin_anew(self) -> None:
        """Take note that nothing of it is needed any more."""
        self._at = _FIRST

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


def lent(path: Path) -> int:
    """Return a descriptor for a worker: while it is open nobody else reads the file.

    Raises OSError.
    """
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def check_free(fd: int) -> None:
    """Return where no worker has the file any more. Raises OSError, BlockingIOError for that."""
    fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)


def hand_over(connected: socket.socket, name: str, fd: int | None) -> None:
    """Send a spool over a connection, before all else; None where there is none. Raises OSError."""
    if fd is None:
        connected.sendall(NONE)
    else:
        socket.send_fds(connected, [name.encode()], [fd])


def received(connected: socket.socket) -> Spool | None:
    """Return the spool that came over a connection. Raises OSError, BlockingIOError while none."""
    said, fds, _, _ = socket.recv_fds(connected, NAME_BYTES, 1)
    if len(fds) != 1:
        return None
    os.set_inheritable(fds[0], False)  # noqa: FBT003 - the standard library's own signature
    return Spool(said.decode("ascii", "replace"), fds[0])


def raise_floor(fd: int, number: int) -> None:
    """Say that all frames up to this one are written. Raises OSError."""
    os.pwrite(fd, _FLOOR.pack(number), 0)


def entries(fd: int) -> Iterator[bytes]:
    """Yield what was said in each frame that may not be written. Raises OSError."""
    data = os.pread(fd, SPOOL_BYTES_MAX, 0)
    if len(data) < _FIRST:
        return
    (floor,) = _FLOOR.unpack_from(data)
    at, last = _FIRST, 0
    while at + _HEAD.size <= len(data):
        number, length = _HEAD.unpack_from(data, at)
        begin = at + _HEAD.size
        end = begin + length
        if number <= last or end + _NUMBER.size > len(data):
            return
        if _NUMBER.unpack_from(data, end) != (number,):
            return
        if number > floor:
            yield data[begin:end]
        at, last = end + _NUMBER.size, number
