"""How many rows the table of persons has: rows cut off just where one ends would be missed by none.

```
<state>/keys/persons.rows   entries: rows u64 | MAC under the table's key 16
```
It stands beside the key, where whoever can write the table cannot write. An entry is added behind
the rows when these are durable, and is not synced: a loss of power leaves an older one, which says
less than is there and never more. One of another key, or that is damaged, says nothing.
"""

import hmac
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from sidecar.record import disk
from sidecar.record.disk import OLD, Io

_ROWS: Final = struct.Struct(">Q")
_MAC_BYTES: Final = 16
_ENTRY_BYTES: Final = _ROWS.size + _MAC_BYTES
# Beyond this it is begun anew, which costs a sync: every 2,730 additions.
_FILE_BYTES_MAX: Final = 64 * 1024


class Rows:
    """The number that stands beside the key at `key_path`; what the disk refuses is done later."""

    def __init__(self, io: Io, key_path: Path) -> None:
        self._io = io
        self._path = key_path.with_suffix(".rows")
        self._fd = -1
        self._size = 0

    def said(self, key: bytes) -> int:
        """Return how many rows there were at least under `key`, 0 where nobody says."""
        try:
            data = disk.read_all(self._io, self._path, _FILE_BYTES_MAX + _ENTRY_BYTES)
        except OSError:
            return 0
        for at in range(len(data) // _ENTRY_BYTES * _ENTRY_BYTES - _ENTRY_BYTES, -1, -_ENTRY_BYTES):
            (rows,) = _ROWS.unpack_from(data, at)
            if hmac.compare_digest(data[at : at + _ENTRY_BYTES], _entry(key, rows)):
                return int(rows)
        return 0

    def put(self, key: bytes, rows: int) -> None:
        """Say that there are `rows` under `key`, and nothing of before."""
        self.close()
        with suppress(OSError):
            disk.replace(self._io, self._path, _entry(key, rows))
            self._fd = self._io.open(self._path, OLD)
            self._size = _ENTRY_BYTES

    def add(self, key: bytes, rows: int) -> None:
        """Say that there are `rows` by now, which are durable."""
        if self._fd < 0 or self._size >= _FILE_BYTES_MAX:
            self.put(key, rows)
            return
        try:
            disk.write_all(self._io, self._fd, _entry(key, rows))
            self._size += _ENTRY_BYTES
        except OSError:
            # Half an entry would part those behind it: the next begins anew.
            self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            disk.let_go(self._io, self._fd)
            self._fd = -1


def _entry(key: bytes, rows: int) -> bytes:
    said = _ROWS.pack(rows)
    return said + hmac.digest(key, b"doorward persons rows\n" + said, "sha256")[:_MAC_BYTES]
