"""Keys, checkpoints and the tree, read from the standards alone: shares no code with the ledger.

Sources: RFC 6962 §2.1, RFC 9162 §2.1.3.2; C2SP signed-note, tlog-checkpoint.
"""

import base64
import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

# Sixteen signatures of the largest kind, and more.
NOTE_BYTES_MAX = 128 * 1024


class Tampered(Exception):
    """What is there is not what was signed."""


class Unusable(Exception):
    """It cannot be judged."""


def expect_file(path: Path) -> None:
    """Raise Tampered for a pipe, a device or a folder in the place of a file."""
    if path.exists() and not path.is_file():
        raise Tampered(f"{path.name}: not a file")


def read_file(path: Path, bytes_max: int) -> bytes:
    """Return what a file holds; a pipe or a device in its place is never waited for.

    Raises:
        Tampered: It is no file but a link for one, or larger than any such file is.
        OSError: It is not there.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        fd = os.open(path, flags)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise Tampered(f"{path.name}: not a file") from None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Tampered(f"{path.name}: not a file")
    with os.fdopen(fd, "rb") as file:
        data = file.read(bytes_max + 1)
    if len(data) > bytes_max:
        raise Tampered(f"{path.name}: larger than any such file is")
    return data


def given_file(path: Path, bytes_max: int) -> bytes:
    """Return what a file holds that somebody named, as `read_file`; links are followed."""
    return read_file(Path(os.path.realpath(path)), bytes_max)


# --- notes and keys (C2SP signed-note, tlog-checkpoint) ---


class Key(NamedTuple):
    """A verifier key `name+id+base64(1, public key)`."""

    text: str
    name: str
    key_id: bytes
    public: Ed25519PublicKey

    def signed(self, raw: bytes, text: bytes) -> bool:
        """Return whether `raw` is this key's signature of `text`."""
        try:
            self.public.verify(raw, text)
        except InvalidSignature:
            return False
        return True


class Note(NamedTuple):
    """A checkpoint whose signatures are still to be judged."""

    file: str
    text: str
    signatures: list[tuple[str, bytes]]
    origin: str
    size: int
    root: bytes

    def is_by(self, key: Key) -> bool:
        """Return whether `key` has signed it; a bad signature under its name and id is none."""
        ours = [raw[4:] for name, raw in self.signatures if (name, raw[:4]) == key[1:3]]
        return bool(ours) and all(key.signed(raw, self.text.encode()) for raw in ours)


def is_name(name: str) -> bool:
    """Return whether `name` may name a key: not empty, no spaces, no plus."""
    return name != "" and "+" not in name and not any(map(str.isspace, name))


def expect(*, is_so: bool, text: str) -> None:
    """Raise ValueError unless `is_so`."""
    if not is_so:
        raise ValueError(text)


def base64_read(text: str) -> bytes:
    """Return what canonical base64 holds; ValueError for anything else."""
    raw = base64.b64decode(text, validate=True)
    expect(is_so=base64.b64encode(raw).decode() == text, text="not canonical base64")
    return raw


def read_key(text: str) -> Key:
    """Read a verifier key, or the file that holds one."""
    path = Path(text)
    if "+" not in text or path.exists():
        with path.open("rb") as file:
            text = file.read(NOTE_BYTES_MAX).decode("utf-8", "replace")
    try:
        name, key_id, encoded = text.strip().split("+", 2)
        raw = base64_read(encoded)
        found = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
        expect(
            is_so=raw[:1] == b"\x01" and found.hex() == key_id,
            text="its id does not fit, or it is not of Ed25519",
        )
        return Key(text.strip(), name, found, Ed25519PublicKey.from_public_bytes(raw[1:]))
    except ValueError as error:
        raise Unusable(f"--key: not a verifier key: {error}") from None


def read_note(file: str, data: bytes) -> Note:
    """Read a checkpoint; nothing in it is believed before `Note.is_by`."""
    try:
        whole = data[:NOTE_BYTES_MAX].decode()
        text, tail = whole[: whole.rindex("\n\n") + 1], whole[whole.rindex("\n\n") + 2 :]
        is_text = all(char == "\n" or ord(char) >= 32 for char in whole)
        expect(is_so=is_text and tail.endswith("\n"), text="not a note")
        signatures = list[tuple[str, bytes]]()
        for line in tail[:-1].split("\n"):
            dash, name, encoded = line.split(" ")
            signatures.append((name, base64_read(encoded)))
            is_one = dash == "\u2014" and is_name(name) and len(signatures[-1][1]) > 4
            expect(is_so=is_one, text="not a signature")
        origin, size, root, *_ = text.split("\n")
        is_size = str(int(size)) == size and int(size) >= 0
        is_one = origin != "" and is_size and len(base64_read(root)) == 32
        expect(is_so=is_one, text="not a checkpoint")
    except ValueError:
        raise Tampered(f"{file}: the checkpoint is not a signed note") from None
    return Note(file, text, signatures, origin, int(size), base64_read(root))


# --- the tree (RFC 6962 §2.1) ---


def leaf_hash(record: bytes) -> bytes:
    """Return the hash of one record."""
    return hashlib.sha256(b"\x00" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that grows: the roots of its perfect subtrees, largest first."""

    def __init__(self) -> None:
        self.size = 0
        self._roots: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add a leaf."""
        at = self.size
        while at & 1:
            leaf, at = node_hash(self._roots.pop(), leaf), at >> 1
        self._roots.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return the tree head."""
        if not self._roots:
            return hashlib.sha256(b"").digest()
        found = self._roots[-1]
        for node in reversed(self._roots[:-1]):
            found = node_hash(node, found)
        return found


def included_root(seq: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes | None:
    """Return the root that an inclusion proof leads to (RFC 9162 §2.1.3.2), None for none."""
    at, last, found = seq, size - 1, leaf
    for node in proof:
        if last == 0:
            return None
        if at & 1 or at == last:
            found = node_hash(node, found)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, node)
        at, last = at >> 1, last >> 1
    return found if last == 0 and seq < size else None
