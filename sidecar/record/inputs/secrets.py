"""The keys of inputs: one that digests are made under, one that sealed values are encrypted under.

Both are derived from 32 random bytes in `<state>/keys/inputs.key`. A digest is HMAC-SHA-256, so who
reads the ledger alone cannot try guesses of what was asked; a sealed form is AES-256-GCM, bound to
the id of its record.
"""

import hashlib
import hmac
import os
from collections.abc import Callable
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sidecar.record.canonical import canonical_text
from sidecar.record.disk import DISK, Io
from sidecar.record.persons import keyfile
from sidecar.terms.call import Json
from sidecar.terms.errors import LedgerBroken
from sidecar.terms.record import SideObject

DIGEST: Final = "hmac-sha256:"
_BLOCK_BYTES: Final = 64
_NONCE_BYTES: Final = 12


def secrets_path(state: Path) -> Path:
    """Return where the key of inputs stands below the state folder."""
    return state / "keys" / "inputs.key"


class Secrets:
    """The digest key and the seal key of one ledger."""

    def __init__(self, key: bytes, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._key = key
        self._random = random_bytes
        pad = hmac.digest(key, b"digest", "sha256").ljust(_BLOCK_BYTES, b"\0")
        # RFC 2104 with both pads hashed once: this is on the way of every call.
        self._inner = sha256(bytes(byte ^ 0x36 for byte in pad))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in pad))

    @classmethod
    def open(cls, path: Path, io: Io = DISK) -> "Secrets":
        """Return the keys at `path`, made where there are none.

        Raises:
            LedgerBroken: They cannot be read, or others may read them.
        """
        try:
            key = keyfile.load_or_make(io, path, os.urandom)[0]
            keyfile.keep_sign(io, path)
            return cls(key)
        except OSError as error:
            raise LedgerBroken(f"{path}: {os.strerror(error.errno or 0)}") from error

    @classmethod
    def passing(cls) -> "Secrets":
        """Return keys that nobody keeps: digests can be compared, seals opened, by this object."""
        return cls(os.urandom(keyfile.KEY_BYTES))

    @cached_property
    def _cipher(self) -> AESGCM:
        return AESGCM(hmac.digest(self._key, b"seal", "sha256"))

    def digest(self, data: bytes) -> str:
        """Return the digest of `data` as it stands in records."""
        return DIGEST + self.mac(data).hex()

    def mac(self, data: bytes) -> bytes:
        """Return the bytes that the digest of `data` says in hex."""
        inner = self._inner.copy()
        inner.update(data)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def begun(self) -> "hashlib._Hash":
        """Return a digest that is yet to be fed; `ended` says what it came to."""
        return self._inner.copy()

    def ended(self, inner: "hashlib._Hash") -> str:
        """Return the digest of what `begun` was fed, as `digest` does of it all at once."""
        outer = self._outer.copy()
        outer.update(inner.digest())
        return DIGEST + outer.hexdigest()

    def digest_of(self, value: Json) -> str:
        """Return the digest of a value; floats stay, for it is a value and no record."""
        if value is False or value is True:
            return self._of_bools[value]
        return self.digest(canonical_text(value))

    @cached_property
    def _of_bools(self) -> tuple[str, str]:
        return self.digest(b"false"), self.digest(b"true")

    def seal(self, id: str, data: bytes) -> SideObject:
        """Return `data` sealed for the record `id`."""
        nonce = self._random(_NONCE_BYTES)
        return side_object(nonce + self._cipher.encrypt(nonce, data, id.encode()))

    def unseal(self, id: str, sealed: bytes) -> bytes | None:
        """Return what was sealed for the record `id`, None where it is not that."""
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, rest, id.encode())
        except (InvalidTag, ValueError):
            return None


def side_object(data: bytes) -> SideObject:
    """Return `data` under its address."""
    return SideObject(f"sha256:{sha256(data).hexdigest()}", data)
