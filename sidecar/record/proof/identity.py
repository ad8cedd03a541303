"""Who signs this ledger: the key, the origin, and the last checkpoint that the key has signed.

They stand together outside of the ledger's folder, so that whoever can write the ledger cannot also
say how long it was:

```
<state>/keys/ledger.key      Ed25519, PKCS 8, 0600
<state>/keys/ledger.origin   name/epoch; the epoch is random, so a second life is another log
<state>/keys/ledger.signed   the last checkpoint signed: a shorter or another ledger is refused
<state>/keys/ledger.marks    the keys of the marks that each batch bears, others with each start;
                             without one, none is asked
<state>/keys/ledger.next     while a key is rotated: the one that will follow
```
"""

import re
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from sidecar.record import disk
from sidecar.record.disk import DISK, FOLDER_MODE, NEW_ONLY, Io
from sidecar.record.limits import NOTE_BYTES_MAX
from sidecar.record.proof.checkpoint import Checkpoint, Verifier, is_name, opened, sign
from sidecar.record.proof.marks import MARK_KEY_BYTES, Marks
from sidecar.record.proof.merkle import Tree
from sidecar.terms.errors import LedgerBroken

_ORIGIN = re.compile(r"([^\s+]+)/([0-9a-f]{16})\Z")
_EPOCH_BYTES: Final = 8


class Identity(NamedTuple):
    """The key of one ledger and the origin it signs for; `following` is about to take its place."""

    key: Ed25519PrivateKey
    origin: str
    key_file: Path
    following: Ed25519PrivateKey | None = None
    # None in a log of before there were marks: what it ends with bears none.
    marks: Marks | None = None

    @property
    def epoch(self) -> str:
        """Return the random part of the origin."""
        return self.origin.rpartition("/")[2]

    @property
    def name(self) -> str:
        """Return the configured part of the origin."""
        return self.origin.rpartition("/")[0]

    @property
    def verifier(self) -> Verifier:
        """Return what an auditor is handed."""
        return Verifier(self.origin, self.key.public_key())

    def verifier_texts(self) -> set[str]:
        """Return the verifier keys of both."""
        keys = [self.key] if self.following is None else [self.key, self.following]
        return {Verifier(self.origin, key.public_key()).text() for key in keys}

    @property
    def signed_file(self) -> Path:
        """Return where the last signed checkpoint stands, beside the key."""
        return _signed_file(self.key_file)

    def sign(self, checkpoint: Checkpoint, *also: Ed25519PrivateKey) -> bytes:
        """Return `checkpoint` as a note signed by this key, and by those that follow it."""
        return sign(checkpoint, self.key, *also)

    def last_signed(self, io: Io) -> Checkpoint | None:
        """Return the last checkpoint that this key has signed, None when there is none.

        Raises:
            LedgerBroken: The file is there and is not ours.
        """
        try:
            note = _read(io, self.signed_file)
        except FileNotFoundError:
            return None
        try:
            return opened(note, self.verifier)
        except ValueError as error:
            raise LedgerBroken(f"{self.signed_file}: {error}") from None


def is_there(key_file: Path) -> bool:
    """Return whether a key stands at `key_file`."""
    # A link that leads nowhere is no absent key.
    return key_file.exists() or key_file.is_symlink()


def has_signed(key_file: Path) -> bool:
    """Return whether the key has signed records: there was a ledger.

    Raises:
        LedgerBroken: What it has signed cannot be read.
    """
    try:
        lines = _read(DISK, _signed_file(key_file)).splitlines()
    except FileNotFoundError:
        # A new key has signed that there is nothing yet.
        return is_there(key_file)
    return lines[1:2] != [b"0"]


def load(io: Io, key_file: Path) -> Identity:
    """Return the identity at `key_file`.

    Raises:
        LedgerBroken: The key or the origin is absent, malformed, or open to others.
    """
    try:
        pem = _read(io, key_file)
        mode = _mode(io, key_file)
        said = _read(io, _origin_file(key_file))
    except FileNotFoundError as error:
        raise LedgerBroken(f"{error.filename}: the ledger's key or origin is absent") from None
    for path in (key_file.parent, _signed_file(key_file), _origin_file(key_file)):
        with suppress(FileNotFoundError):
            if _mode(io, path) & (stat.S_IWGRP | stat.S_IWOTH):
                raise LedgerBroken(f"{path}: others may write what stands beside the ledger's key")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise LedgerBroken(f"{key_file}: others may read the ledger's key; expected mode 0600")
    origin = ""
    with suppress(UnicodeDecodeError):
        origin = said.decode().strip()
    if not _ORIGIN.match(origin) or not is_name(origin):
        raise LedgerBroken(f"{_origin_file(key_file)}: not an origin of the form name/epoch")
    return Identity(_key(pem, key_file), origin, key_file, None, _marks(io, key_file, origin))


def create(io: Io, key_file: Path, name: str, random_bytes: Callable[[int], bytes]) -> Identity:
    """Make a new key and a new origin; never over a key that is there."""
    origin = f"{name}/{random_bytes(_EPOCH_BYTES).hex()}"
    if not _ORIGIN.match(origin) or not is_name(origin):
        raise LedgerBroken(f"`{name}` cannot name a ledger: expected no spaces and no plus")
    key_file.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    # The origin first: a key without one would be an identity that is half made.
    disk.replace(io, _origin_file(key_file), origin.encode() + b"\n")
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    # And what it has signed, nothing yet: a key without that began a log whose end is not known.
    disk.replace(io, _signed_file(key_file), sign(Checkpoint(origin, 0, Tree().root()), key))
    _write_new(io, key_file, pem, random_bytes(_EPOCH_BYTES).hex())
    return Identity(key, origin, key_file)


def _marks(io: Io, key_file: Path, origin: str) -> Marks | None:
    path = _marks_file(key_file)
    try:
        found = _read(io, path)
        mode = _mode(io, path)
    except FileNotFoundError:
        return None
    with suppress(ValueError):
        if not mode & (stat.S_IRWXG | stat.S_IRWXO):
            return Marks.read(found, origin)
    raise LedgerBroken(f"{path}: not keys of marks that nobody else may read")


def new_marks(io: Io, who: Identity, random_bytes: Callable[[int], bytes]) -> Marks:
    """Put a new key of marks in the place of those before, whose marks nobody believes any more.

    INVARIANT: whoever calls this has signed all that bears one of those.
    """
    return _kept(io, who, Marks(random_bytes(MARK_KEY_BYTES), who.origin))


def marks_from(
    io: Io, who: Identity, before: Marks, seq: int, random_bytes: Callable[[int], bytes]
) -> Marks:
    """Put a new key of marks beside those before, whose marks are believed before record `seq`."""
    return _kept(io, who, before.followed(random_bytes(MARK_KEY_BYTES), seq))


def _kept(io: Io, who: Identity, marks: Marks) -> Marks:
    disk.replace(io, _marks_file(who.key_file), marks.data())
    return marks


def next_key(io: Io, key_file: Path) -> Ed25519PrivateKey | None:
    """Return the key that is to follow the one at `key_file`, None when there is none."""
    following = _next_file(key_file)
    try:
        return _key(_read(io, following), following)
    except FileNotFoundError:
        return None


def make_next(io: Io, key_file: Path) -> Ed25519PrivateKey:
    """Make the key that is to follow the one at `key_file`, durable, and return it."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    disk.replace(io, _next_file(key_file), pem)
    return key


def take_next(io: Io, key_file: Path) -> None:
    """Put the key that follows in the place of the one at `key_file`, which is gone then."""
    io.rename(_next_file(key_file), key_file)
    disk.sync_folder(io, key_file.parent)


def _read(io: Io, path: Path) -> bytes:
    """Return one of the files beside the key; FileNotFoundError where there is none.

    Raises:
        LedgerBroken: It is no file, or none of this kind, or not ours to read.
    """
    try:
        return disk.read_all(io, path, NOTE_BYTES_MAX)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LedgerBroken(f"{path}: {disk.why(error)}") from error


def _mode(io: Io, path: Path) -> int:
    """Return who may do what with a file or folder; raises as `_read`."""
    try:
        return io.stat(path).st_mode
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LedgerBroken(f"{path}: {disk.why(error)}") from error


def _next_file(key_file: Path) -> Path:
    return key_file.with_suffix(".next")


def _write_new(io: Io, key_file: Path, pem: bytes, unique: str) -> None:
    """Put the key in place in one step and never over another one."""
    temporary = key_file.with_name(f"{key_file.name}.{unique}.tmp")
    fd = io.open(temporary, NEW_ONLY)
    try:
        disk.write_all(io, fd, pem)
        io.fsync(fd)
        # A link, unlike a rename, fails where something stands already.
        key_file.hardlink_to(temporary)
    finally:
        disk.let_go(io, fd)
        with suppress(OSError):
            io.unlink(temporary)
    disk.sync_folder(io, key_file.parent)


def _key(pem: bytes, key_file: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise LedgerBroken(f"{key_file}: not a private key in PEM form") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise LedgerBroken(f"{key_file}: expected an Ed25519 key")
    return key


def _marks_file(key_file: Path) -> Path:
    return key_file.with_suffix(".marks")


def _origin_file(key_file: Path) -> Path:
    return key_file.with_suffix(".origin")


def _signed_file(key_file: Path) -> Path:
    return key_file.with_suffix(".signed")
