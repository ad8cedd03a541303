"""SCRAM-SHA-256 as PostgreSQL speaks it: verifier, server and client, sans-I/O.

The server side holds a verifier alone: with `StoredKey` and `ServerKey` it can check a proof and
prove itself, and whoever steals it cannot log in with it (RFC 5802 §9). No channel binding is
offered, since nothing here ends TLS: a client that demands it (`p=`) is refused, one that could do
it (`y`) is not.

An unknown user is answered with a salt that stays the same from one attempt to the next and fails
only at the proof, so that names cannot be told apart by asking (RFC 5802 §9).

Source: RFC 5802, RFC 7677; the verifier's text form is that of PostgreSQL's pg_authid.rolpassword.
"""

import base64
import binascii
import hashlib
import hmac
import re
import stringprep
import unicodedata
from dataclasses import dataclass
from typing import Final, Self

MECHANISM: Final = "SCRAM-SHA-256"
# PostgreSQL's own default; a workload key has 256 random bits, so stretching adds nothing to it.
ITERATIONS: Final = 4096
# A hostile upstream must not keep us hashing: ten times what is recommended anywhere is enough.
ITERATIONS_MAX: Final = 2_000_000
MESSAGE_BYTES_MAX: Final = 2048
SALT_BYTES: Final = 16
NONCE_BYTES: Final = 18

_VERIFIER = re.compile(
    r"SCRAM-SHA-256\$(?P<iterations>[1-9][0-9]{0,6}):(?P<salt>[A-Za-z0-9+/=]+)"
    r"\$(?P<stored>[A-Za-z0-9+/=]+):(?P<server>[A-Za-z0-9+/=]+)"
)
_CLIENT_FIRST = re.compile(r"(?P<gs2>[ny],,)(?P<bare>n=[^,]*,r=(?P<nonce>[!-+\--~]+))")
_CLIENT_FINAL = re.compile(
    r"(?P<bare>c=(?P<binding>[A-Za-z0-9+/=]+),r=(?P<nonce>[!-+\--~]+)),p=(?P<proof>[A-Za-z0-9+/=]+)"
)
_SERVER_FIRST = re.compile(
    r"r=(?P<nonce>[!-+\--~]+),s=(?P<salt>[A-Za-z0-9+/=]+),i=(?P<iterations>[1-9][0-9]{0,6})"
)
_SERVER_FINAL = re.compile(r"v=(?P<signature>[A-Za-z0-9+/=]+)")


class ScramError(ValueError):
    """The exchange failed; the text says where and never holds what was sent."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """What is kept instead of a password."""

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes

    @classmethod
    def read(cls, text: str) -> Self:
        """Read `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`. Raises ScramError."""
        found = _VERIFIER.fullmatch(text)
        if found is None:
            raise ScramError("not a SCRAM-SHA-256 verifier")
        stored, server = _decoded(found["stored"]), _decoded(found["server"])
        if len(stored) != 32 or len(server) != 32:
            raise ScramError("a key of a SCRAM-SHA-256 verifier has 32 bytes")
        return cls(_bounded(found["iterations"]), _decoded(found["salt"]), stored, server)

    @classmethod
    def decoy(cls, user: str, secret: bytes) -> Self:
        """Return a verifier that no password fits, the same for `user` while `secret` lives."""
        salt = hmac.digest(secret, b"salt:" + user.encode("utf-8", "surrogatepass"), "sha256")
        stored = hmac.digest(secret, b"stored:" + salt, "sha256")
        return cls(ITERATIONS, salt[:SALT_BYTES], stored, hmac.digest(secret, stored, "sha256"))


def make_verifier(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """Return the verifier of `password` in PostgreSQL's text form."""
    salted = _salted(password, salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"{MECHANISM}${iterations}:{_encoded(salt)}${_encoded(stored)}:{_encoded(server)}"


class ScramServer:
    """One login from the server's side: `first`, then `final`."""

    def __init__(self, verifier: Verifier, nonce: bytes) -> None:
        """Take the verifier of who logs in, and fresh randomness of NONCE_BYTES."""
        self._verifier = verifier
        self._own_nonce = _encoded(nonce)
        self._gs2 = ""
        self._nonce = ""
        self._auth_message = ""

    def first(self, message: bytes) -> bytes:
        """Return the challenge for client-first-message. Raises ScramError."""
        found = _matched(_CLIENT_FIRST, message, "client-first-message")
        # The name in it is ignored, as PostgreSQL does: who logs in is said by the startup packet.
        self._gs2 = found["gs2"]
        self._nonce = found["nonce"] + self._own_nonce
        salt, iterations = _encoded(self._verifier.salt), self._verifier.iterations
        answer = f"r={self._nonce},s={salt},i={iterations}"
        self._auth_message = f"{found['bare']},{answer}"
        return answer.encode("ascii")

    def final(self, message: bytes) -> bytes:
        """Return server-final-message when the proof is right. Raises ScramError."""
        found = _matched(_CLIENT_FINAL, message, "client-final-message")
        same_nonce = hmac.compare_digest(found["nonce"], self._nonce)
        if not same_nonce or _decoded(found["binding"]) != self._gs2.encode("ascii"):
            raise ScramError("nonce or channel binding differs from the first message")
        signed = f"{self._auth_message},{found['bare']}".encode("latin-1")
        signature = hmac.digest(self._verifier.stored_key, signed, "sha256")
        client_key = _xor(_decoded(found["proof"]), signature)
        found_key = hashlib.sha256(client_key).digest()
        if not hmac.compare_digest(found_key, self._verifier.stored_key):
            raise ScramError("the proof is wrong")
        return b"v=" + _encoded(hmac.digest(self._verifier.server_key, signed, "sha256")).encode()


class ScramClient:
    """One login from the client's side: `first`, `final`, then `verify`."""

    def __init__(self, password: str, nonce: bytes) -> None:
        """Take the password, and fresh randomness of NONCE_BYTES."""
        self._password = password
        self._nonce = _encoded(nonce)
        self._expected = b""

    def first(self) -> bytes:
        """Return client-first-message; the name is empty, since the startup packet says it."""
        return f"n,,n=,r={self._nonce}".encode("ascii")

    def final(self, challenge: bytes) -> bytes:
        """Return client-final-message for server-first-message. Raises ScramError."""
        found = _matched(_SERVER_FIRST, challenge, "server-first-message")
        if not found["nonce"].startswith(self._nonce) or found["nonce"] == self._nonce:
            raise ScramError("the server's nonce does not continue ours")
        salted = _salted(self._password, _decoded(found["salt"]), _bounded(found["iterations"]))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        bare = f"c=biws,r={found['nonce']}"
        signed = f"n=,r={self._nonce},{found[0]},{bare}".encode("ascii")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        self._expected = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        return f"{bare},p={_encoded(_xor(client_key, signature))}".encode("ascii")

    def verify(self, message: bytes) -> None:
        """Check that server-final-message proves the server. Raises ScramError."""
        found = _matched(_SERVER_FINAL, message, "server-final-message")
        if not self._expected or not hmac.compare_digest(
            _decoded(found["signature"]), self._expected
        ):
            raise ScramError("the server does not know the password either")


def _salted(password: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", _prepared(password).encode(), salt, iterations)


def _prepared(password: str) -> str:
    """Return `password` after SASLprep, or as it is where that has no answer (as PostgreSQL)."""
    if password.isascii():
        return password
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char
        for char in password
        if not stringprep.in_table_b1(char)
    )
    normal = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if not normal or any(_is_prohibited(char) for char in normal) or not _is_one_direction(normal):
        return password
    return normal


def _is_prohibited(char: str) -> bool:
    return any(table(char) for table in _PROHIBITED)


def _is_one_direction(text: str) -> bool:
    """Return whether RFC 3454 §6 holds: right-to-left text is not mixed with left-to-right."""
    if not any(stringprep.in_table_d1(char) for char in text):
        return True
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return ends and not any(stringprep.in_table_d2(char) for char in text)


_PROHIBITED = (
    stringprep.in_table_a1,
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def _matched(pattern: re.Pattern[str], message: bytes, name: str) -> re.Match[str]:
    if len(message) > MESSAGE_BYTES_MAX:
        raise ScramError(f"{name} is too long")
    # Latin-1 keeps every byte; a user name may hold UTF-8, and it is signed as it came.
    found = pattern.fullmatch(message.decode("latin-1"))
    if found is None:
        raise ScramError(f"{name} is malformed or asks for what is not offered")
    return found


def _bounded(digits: str) -> int:
    if int(digits) > ITERATIONS_MAX:
        raise ScramError("too many iterations")
    return int(digits)


def _xor(left: bytes, right: bytes) -> bytes:
    if len(left) != len(right):
        raise ScramError("the proof has the wrong length")
    return bytes(one ^ other for one, other in zip(left, right, strict=True))


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ScramError("not base64") from None
