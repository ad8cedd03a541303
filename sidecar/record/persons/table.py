"""The table of persons: handle ↔ `type:id`, encrypted, durable before a handle is first used.

```
magic 8 | id of the key 8 | rows: length u32 | nonce 12 | AES-256-GCM of {handle, value}
```
Rows are appended; the place of each is bound into its encryption, so none can be moved or taken out
by who has not the key; how many there are stands beside the key (`rows.py`), so none can be cut off
unseen either. Forgetting writes the whole table again, without the row and under a new key, and
destroys the old key: neither the file nor an old copy of it gives the value back.
"""

import itertools
import os
import struct
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sidecar.record import disk
from sidecar.record.disk import DISK, FOLDER_MODE, OLD, READ, Io
from sidecar.record.limits import PERSONS_BYTES_MAX, PERSONS_MAX, READ_BYTES
from sidecar.record.persons import keyfile
from sidecar.record.persons.names import new_handles
from sidecar.record.persons.rows import Rows
from sidecar.terms.call import Json
from sidecar.terms.errors import LedgerBroken, RecordError

_MAGIC: Final = b"DWPERS1\n"
_KEY_ID_BYTES: Final = 8
_HEAD_BYTES: Final = len(_MAGIC) + _KEY_ID_BYTES
_NONCE_BYTES: Final = 12
_LENGTH: Final = struct.Struct(">I")
_ROW_BYTES_MAX: Final = 64 * 1024
# Rows are appended a few at a time; a longer tail that cannot be read is no torn write.
_TORN_BYTES_MAX: Final = 1024 * 1024


class _Row(msgspec.Struct, frozen=True):
    handle: str
    value: str


_read_row = msgspec.json.Decoder(_Row).decode
Random = Callable[[int], bytes]


def persons_paths(state: Path) -> tuple[Path, Path]:
    """Return the table and its key below the state folder."""
    return state / "persons.table", state / "keys" / "persons.key"


class Persons:
    """The table of one ledger. One process opens it for writing; see `Persons.read` for others."""

    def __init__(self, path: Path, key_path: Path, io: Io, random_bytes: Random) -> None:
        self._path = path
        self._key_path = key_path
        self._io = io
        self._random = random_bytes
        self._known: dict[str, str] = {}
        self._values: dict[str, str] = {}
        self._key = b""
        self._tried = b""
        self._rows = 0
        self._end = 0
        self._fd = -1
        self._is_sound = True
        self._rows_max = PERSONS_MAX
        self._count = Rows(io, key_path)
        # How many rows are missing at the end that were durable.
        self.missing = 0
        # What is missing or was cut off at the end, where something was.
        self.torn: dict[str, Json] | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        key_path: Path,
        io: Io = DISK,
        random_bytes: Random = os.urandom,
        rows_max: int = PERSONS_MAX,
    ) -> "Persons":
        """Return the table at `path`, a new one where there is none; blocks while it is read.

        Beyond `rows_max` it takes nobody new.

        Raises:
            LedgerBroken: It cannot be read, or its key is absent.
        """
        table = cls(path, key_path, io, random_bytes)
        table._rows_max = rows_max
        try:
            table._open()
        except OSError as error:
            table.close()
            why = os.strerror(error.errno or 0)
            raise LedgerBroken(f"{error.filename or path}: {why}") from error
        return table

    @classmethod
    def read(cls, path: Path, key_path: Path, io: Io = DISK) -> "Persons":
        """Return the table for looking up alone: empty where there is no file or no key.

        Raises:
            LedgerBroken: It is there and cannot be read.
        """
        table = cls(path, key_path, io, os.urandom)
        try:
            # Twice: between key and table somebody may have been forgotten.
            if not table._read_only():
                table._read_only()
        except OSError as error:
            raise LedgerBroken(f"{path}: {os.strerror(error.errno or 0)}") from error
        return table

    @property
    def known(self) -> Mapping[str, str]:
        """Return value → handle of everybody, live."""
        return self._known

    def value_of(self, handle: str) -> str | None:
        """Return whom `handle` stands for, None when that is not known (any more)."""
        return self._values.get(handle)

    def handle_of(self, value: str) -> str:
        """Return the handle of `value`, a new one made durable first. Raises RecordError."""
        return self.handles_of((value,))[value]

    def handles_of(self, values: Collection[str]) -> dict[str, str]:
        """Return the handle of each of `values`; new ones are durable when this returns.

        Raises:
            RecordError: They could not be made durable; nothing may be recorded of them.
        """
        absent = list(dict.fromkeys(value for value in values if value not in self._known))
        if absent:
            numbers = [int.from_bytes(self._random(16), "big") for _ in absent]
            self._add(new_handles(absent, numbers))
        return {value: self._known[value] for value in values}

    def forget(self, value: str) -> bool:
        """Delete the row of `value`; return whether there was one.

        When this returns, no file of ours holds it.

        Raises:
            RecordError: It could not be done; it may be tried again.
        """
        if value not in self._known:
            return False
        rest = {known: handle for known, handle in self._known.items() if known != value}
        try:
            self._rewrite(rest)
        except OSError as error:
            raise RecordError(f"the table of persons: {os.strerror(error.errno or 0)}") from error
        return True

    def destroy_old_keys(self) -> None:
        """Remove what is left of keys that could open older copies of the table.

        Raises:
            RecordError: It could not be done; it may be tried again.
        """
        try:
            disk.remove_left(self._io, self._key_path)
        except OSError as error:
            raise RecordError(
                f"a key of the table of persons is left: {disk.why(error)}"
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            disk.let_go(self._io, self._fd)
            self._fd = -1
        self._count.close()

    # --- reading ---

    def _open(self) -> None:
        with suppress(FileNotFoundError):
            # What a crash left behind before it had its name.
            self._io.unlink(self._path.with_name(f"{self._path.name}.tmp"))
        if self._is_there():
            keys = keyfile.load(self._io, self._key_path)
            if keys is None:
                raise LedgerBroken(f"{self._key_path}: the key of the table of persons is absent")
        else:
            keys = keyfile.load_or_make(self._io, self._key_path, self._random)
            self._begin(keys[0])
            keyfile.keep_sign(self._io, self._key_path)
        if not self._load(keys):
            raise LedgerBroken(f"{self._path}: its key is not the one at {self._key_path}")
        self._fd = self._io.open(self._path, OLD)
        self._cut_off()
        # What a process that was killed has written may be durable only now.
        self._io.fsync(self._fd)
        if self.missing:
            cut = self.torn or {"file": self._path.name, "offset": self._end, "bytes": 0}
            self.torn = {**cut, "rows": self.missing}
        self._count.put(self._key, self._rows)
        if len(keys) > 1:
            keyfile.store(self._io, self._key_path, [self._key])

    def _cut_off(self) -> None:
        """Set what is behind the last whole row aside, and cut it off."""
        size = self._io.fstat(self._fd).st_size
        if size == self._end:
            return
        if size - self._end > _TORN_BYTES_MAX:
            raise LedgerBroken(f"{self._path}:{self._end}: a row is not as written")
        torn = self._io.read(self._fd, size - self._end, self._end)
        disk.replace(self._io, self._path.with_name(f"{self._path.name}.torn"), torn)
        self.torn = {"file": self._path.name, "offset": self._end, "bytes": len(torn)}
        self._io.ftruncate(self._fd, self._end)

    def _read_only(self) -> bool:
        keys = keyfile.load(self._io, self._key_path)
        return keys is None or not self._is_there() or self._load(keys)

    def _is_there(self) -> bool:
        try:
            self._io.stat(self._path)
        except FileNotFoundError:
            return False
        return True

    def _begin(self, key: bytes) -> None:
        self._path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        # In one step: a head that was written in part could never be opened.
        disk.replace(self._io, self._path, _head(key))

    def _load(self, keys: Collection[bytes]) -> bool:
        """Read every row; return whether one of `keys` is the table's."""
        # INVARIANT: before the table, to which a writer only adds.
        counts = {key: self._count.said(key) for key in keys}
        data = _read_whole(self._io, self._path)
        key = next((key for key in keys if data.startswith(_head(key))), None)
        if key is None:
            return False
        self._key, self._known, self._values, self._rows = key, {}, {}, 0
        self._end = _HEAD_BYTES
        cipher = AESGCM(key)
        at, is_whole = _HEAD_BYTES, True
        for place in itertools.count():
            sealed = _sealed_row(data, at)
            if sealed is None:
                self.missing = max(counts[key] - self._rows, 0)
                return True
            row = _opened(cipher, sealed, place)
            at += _LENGTH.size + len(sealed)
            is_whole = is_whole and row is not None
            if row is not None:
                if not is_whole:
                    raise LedgerBroken(f"{self._path}:{self._end}: a row is not as written")
                self._take(row)
                self._end = at
        return True

    def _take(self, row: _Row) -> None:
        self._known[row.value] = row.handle
        self._values[row.handle] = row.value
        self._rows += 1

    # --- writing ---

    def _add(self, handles: Mapping[str, str]) -> None:
        """Append rows; where the disk says no, nothing of them is known."""
        assert self._fd >= 0
        if len(self._known) + len(handles) > self._rows_max:
            raise RecordError(
                f"the table of persons is full: it has {len(self._known)} of at most "
                f"{self._rows_max}; forget whom no record needs to name any more"
            )
        try:
            if not self._is_sound:
                self._rewrite(dict(self._known))
            data = self._encrypted(self._key, handles, self._rows)
            if self._end + len(data) > PERSONS_BYTES_MAX:
                raise RecordError(f"the table of persons is full: {self._end} bytes")
            disk.write_all(self._io, self._fd, data)
            self._io.fdatasync(self._fd)
        except OSError as error:
            # What a failed sync has left of a file cannot be known: the next goes to a new one.
            self._is_sound = False
            raise RecordError(f"the table of persons: {os.strerror(error.errno or 0)}") from error
        self._end += len(data)
        for value, handle in handles.items():
            self._take(_Row(handle, value))
        self._count.add(self._key, self._rows)

    def _rewrite(self, known: dict[str, str]) -> None:
        """Write the table again under a new key; only `known` are in it."""
        if not self._is_sound:
            self._key = self._standing()
        key, old = self._random(keyfile.KEY_BYTES), self._key
        self._tried = key
        # From where the new table stands until it is opened, ours has no name any more.
        self._is_sound = False
        # Both keys stand until the new table does: a crash leaves one that can be opened.
        keyfile.store(self._io, self._key_path, [key, old])
        data = _head(key) + self._encrypted(key, known, 0)
        disk.replace(self._io, self._path, data)
        self._key = key
        fd = self._io.open(self._path, OLD)
        self.close()
        self._fd, self._end, self._rows = fd, len(data), len(known)
        self._is_sound = True
        for value in self._known.keys() - known.keys():
            # In place, since readers hold this very dict.
            del self._values[self._known.pop(value)]
        self._count.put(key, self._rows)
        keyfile.store(self._io, self._key_path, [key])

    def _standing(self) -> bytes:
        """Return the key of the table that stands: the one of a rewriting that failed, or ours."""
        fd = self._io.open(self._path, READ)
        try:
            head = self._io.read(fd, _HEAD_BYTES, 0)
        finally:
            disk.let_go(self._io, fd)
        return self._tried if head == _head(self._tried) else self._key

    def _encrypted(self, key: bytes, handles: Mapping[str, str], first: int) -> bytes:
        cipher = AESGCM(key)
        rows = []
        for place, (value, handle) in enumerate(handles.items(), first):
            nonce = self._random(_NONCE_BYTES)
            text = msgspec.json.encode(_Row(handle, value))
            sealed = cipher.encrypt(nonce, text, _LENGTH.pack(place))
            rows.append(_LENGTH.pack(len(nonce) + len(sealed)) + nonce + sealed)
        return b"".join(rows)


def _head(key: bytes) -> bytes:
    return _MAGIC + sha256(b"doorward persons" + key).digest()[:_KEY_ID_BYTES]


def _opened(cipher: AESGCM, row: bytes, place: int) -> _Row | None:
    nonce, sealed = row[:_NONCE_BYTES], row[_NONCE_BYTES:]
    try:
        return _read_row(cipher.decrypt(nonce, sealed, _LENGTH.pack(place)))
    except (InvalidTag, ValueError, msgspec.DecodeError):
        return None


def _sealed_row(data: bytes, at: int) -> bytes | None:
    """Return the row at `at`, None where there is none that is whole."""
    start = at + _LENGTH.size
    if start > len(data):
        return None
    (length,) = _LENGTH.unpack_from(data, at)
    if length > _ROW_BYTES_MAX or start + length > len(data):
        return None
    return data[start : start + length]


def _read_whole(io: Io, path: Path) -> bytes:
    fd = io.open(path, READ)
    try:
        if io.fstat(fd).st_size > PERSONS_BYTES_MAX:
            raise LedgerBroken(f"{path}: larger than {PERSONS_BYTES_MAX} bytes")
        pieces, at = [], 0
        while at <= PERSONS_BYTES_MAX and (piece := io.read(fd, READ_BYTES, at)):
            pieces.append(piece)
            at += len(piece)
        if at > PERSONS_BYTES_MAX:
            raise LedgerBroken(f"{path}: larger than {PERSONS_BYTES_MAX} bytes")
        return b"".join(pieces)
    finally:
        disk.let_go(io, fd)
