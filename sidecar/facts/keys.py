"""Issue a workload's key: made once, shown once, kept only as what verifies it.

A key is 256 random bits, so a plain SHA-256 of it is as hard to invert as the key is to guess, and
the lookup of a bearer needs no slow hash. PostgreSQL's clients prove the same key by SCRAM, whose
verifier is made at the same moment, because it cannot be made from the digest later.
"""

import base64
import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from sidecar.facts.scram import make_verifier

# Greppable in a leaked file: secret scanners match on a fixed prefix.
PREFIX: Final = "swk_"
KEY_BYTES: Final = 32
SALT_BYTES: Final = 16


class IssuedKey(msgspec.Struct, frozen=True):
    """A new key: `text` goes to the workload, `key` and `scram` into `sidecar.yaml`."""

    text: str
    key: str
    scram: str

    def __repr__(self) -> str:
        """Return a form without the key, which would otherwise reach a traceback."""
        return f"IssuedKey(key={self.key!r})"


def issue(random: Callable[[int], bytes]) -> IssuedKey:
    """Return a new key and what verifies it.

    Args:
        random: Returns that many bytes fit for cryptography: `secrets.token_bytes`.
    """
    secret = random(KEY_BYTES)
    assert len(secret) == KEY_BYTES
    text = PREFIX + base64.urlsafe_b64encode(secret).decode("ascii").rstrip("=")
    return IssuedKey(text, key_digest(text), make_verifier(text, random(SALT_BYTES)))


def key_digest(text: str) -> str:
    """Return `sha256:<hex>` of a key, the form that `workloads[].key` holds."""
    return "sha256:" + hashlib.sha256(text.encode("utf-8")).hexdigest()
