"""Checkpoints as C2SP signed notes: `origin / size / root`, signed with Ed25519.

The text is three lines; a signature line is an em dash, the key's name, and base64 over key id and
signature. The key id is the first four bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key). The key's
name is the origin of the log, so a checkpoint of another log never verifies. Base64 is read
canonically: bits that a lenient reader ignores would be bytes that can be changed unseen.

Source: C2SP signed-note and tlog-checkpoint.
"""

import binascii
import hmac
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ED25519 = b"\x01"
_DASH = "\u2014"


class Checkpoint(NamedTuple):
    """The first `size` records of `origin` have this Merkle root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the note's text, each line ended."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


class Verifier(NamedTuple):
    """A public key under its name; `text` is what an auditor is handed."""

    name: str
    key: Ed25519PublicKey

    @property
    def key_id(self) -> bytes:
        """Return the four bytes by which a signature line names its key."""
        named = self.name.encode() + b"\n" + _ED25519 + self.key.public_bytes_raw()
        return sha256(named).digest()[:4]

    def text(self) -> str:
        """Return `name+id+base64(type, key)`, the note format's verifier key."""
        encoded = b64encode(_ED25519 + self.key.public_bytes_raw()).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"


def verifier(text: str) -> Verifier:
    """Read a verifier key. ValueError when it is not one or not of Ed25519."""
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    raw = _base64(encoded)
    if not is_name(name) or len(raw) != 33 or raw[:1] != _ED25519:
        msg = "not an Ed25519 verifier key of the form name+id+key"
        raise ValueError(msg)
    found = Verifier(name, Ed25519PublicKey.from_public_bytes(raw[1:]))
    if found.key_id.hex() != key_id:
        msg = "the verifier key's id does not fit its name and key"
        raise ValueError(msg)
    return found


def is_name(name: str) -> bool:
    """Return whether `name` may name a key: not empty, no spaces, no plus."""
    return bool(name) and "+" not in name and name.isprintable() and not any(map(str.isspace, name))


def sign(checkpoint: Checkpoint, *keys: Ed25519PrivateKey) -> bytes:
    """Return `checkpoint` as a note signed with each key under the origin's name."""
    return signed_note(checkpoint.text(), checkpoint.origin, *keys)


def signed_note(text: str, name: str, *keys: Ed25519PrivateKey) -> bytes:
    """Return `text`, whose lines are ended, as a note signed with each key under `name`."""
    assert text.endswith("\n")
    lines = []
    for key in keys:
        signer = Verifier(name, key.public_key())
        signature = b64encode(signer.key_id + key.sign(text.encode())).decode()
        lines.append(f"{_DASH} {name} {signature}\n")
    return f"{text}\n{''.join(lines)}".encode()


def opened(note: bytes, trusted: Verifier) -> Checkpoint:
    """Return the checkpoint of a note that `trusted` has signed.

    Signatures of others (witnesses) are let be.

    Raises:
        ValueError: The note is malformed, of another origin, or not signed by `trusted`.
    """
    text = note_text(note, trusted)
    if text is None:
        msg = "the checkpoint is not signed by the key"
        raise ValueError(msg)
    return _read(text, trusted.name)


def note_text(note: bytes, trusted: Verifier) -> str | None:
    """Return the text of a note, None when `trusted` has not signed it.

    Raises:
        ValueError: The note is malformed.
    """
    text, separator, tail = note.decode().rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        msg = "the checkpoint is not a signed note"
        raise ValueError(msg)
    text += "\n"
    # One that goes by the key's name and id and is not the key's spoils the note (signed-note).
    is_signed = {_is_signed(text, line, trusted) for line in tail[:-1].split("\n")}
    return text if True in is_signed and False not in is_signed else None


def _is_signed(text: str, line: str, trusted: Verifier) -> bool | None:
    """Return whether a signature is right, None for somebody else's."""
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    raw = _base64(encoded)
    is_one = bool(name) and "+" not in name and not any(c < " " or c.isspace() for c in name)
    if dash != _DASH or not is_one or len(raw) < 5:
        msg = "the checkpoint has a malformed signature line"
        raise ValueError(msg)
    if name != trusted.name or not hmac.compare_digest(raw[:4], trusted.key_id):
        return None
    try:
        trusted.key.verify(raw[4:], text.encode())
    except InvalidSignature:
        return False
    return True


def _read(text: str, origin: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) != 4 or lines[0] != origin or not lines[1].isascii() or not lines[1].isdigit():
        msg = "the checkpoint is not of this log"
        raise ValueError(msg)
    found = Checkpoint(origin, int(lines[1]), _base64(lines[2]))
    if found.text() != text or len(found.root) != 32:
        msg = "the checkpoint is not in canonical form"
        raise ValueError(msg)
    return found


def _base64(text: str) -> bytes:
    """Read canonical base64: what is read must be what would be written."""
    try:
        raw = b64decode(text.encode("utf-8", "replace"), validate=True)
    except binascii.Error:
        raw = b""
    if b64encode(raw).decode() != text:
        msg = "not canonical base64"
        raise ValueError(msg)
    return raw
