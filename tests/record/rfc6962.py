"""Verification of proofs, checkpoints and receipts, from the texts of the standards alone.

Nothing here is the ledger's, on purpose: it is judged by what others would write.

| what | text |
|---|---|
| tree hash | RFC 6962 §2.1 (recursive definition) |
| inclusion | RFC 9162 §2.1.3.2 |
| consistency | RFC 9162 §2.1.4.2 |
| signed note, verifier key | C2SP signed-note |
| checkpoint | C2SP tlog-checkpoint |
| tiles | C2SP tlog-tiles |
| receipt | C2SP tlog-proof |
"""

import base64
import hashlib
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Wrong(Exception):
    """It does not verify, or is not what it should be."""


def mth(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1, word by word, over the inputs."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(bytes([0]) + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(bytes([1]) + mth(leaves[:k]) + mth(leaves[k:])).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _shifted(fn: int, sn: int) -> tuple[int, int]:
    """If LSB(fn) is not set, right-shift both until it is set or fn is 0."""
    while fn & 1 == 0 and fn != 0:
        fn, sn = fn >> 1, sn >> 1
    return fn, sn


def check_inclusion(
    leaf_hash: bytes, leaf_index: int, tree_size: int, root_hash: bytes, path: list[bytes]
) -> None:
    """RFC 9162 §2.1.3.2, step by step."""
    if leaf_index >= tree_size:
        raise Wrong("step 1")
    fn, sn = leaf_index, tree_size - 1
    r = leaf_hash
    for p in path:
        if sn == 0:
            raise Wrong("step 4a")
        if fn & 1 or fn == sn:
            r = _node(p, r)
            fn, sn = _shifted(fn, sn)
        else:
            r = _node(r, p)
        fn >>= 1
        sn >>= 1
    if sn != 0 or r != root_hash:
        raise Wrong("step 5")


def check_consistency(
    first: int, first_hash: bytes, second: int, second_hash: bytes, path: list[bytes]
) -> None:
    """RFC 9162 §2.1.4.2, step by step; equal sizes have an empty proof."""
    if first == second:
        if path or first_hash != second_hash:
            raise Wrong("equal sizes")
        return
    if not path:
        raise Wrong("step 1")
    if first & (first - 1) == 0:
        path = [first_hash, *path]
    if _folded(first - 1, second - 1, path) != (first_hash, second_hash, 0):
        raise Wrong("step 7")


def _folded(fn: int, sn: int, path: list[bytes]) -> tuple[bytes, bytes, int]:
    """Steps 4 to 6."""
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            raise Wrong("step 6a")
        if fn & 1 or fn == sn:
            fr, sr = _node(c, fr), _node(c, sr)
            fn, sn = _shifted(fn, sn)
        else:
            sr = _node(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return fr, sr, sn


class Checkpoint(NamedTuple):
    origin: str
    size: int
    root: bytes


def open_note(note: bytes, vkey: str) -> str:
    """C2SP signed-note: return the text, signed by `vkey`, other signatures ignored."""
    name, key_id, key = _read_vkey(vkey)
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError:
        raise Wrong("not UTF-8") from None
    at = whole.rfind("\n\n")
    if at < 0 or not whole.endswith("\n") or any(ord(c) < 0x20 and c != "\n" for c in whole):
        raise Wrong("not a note")
    text, lines = whole[: at + 1], whole[at + 2 :].split("\n")[:-1]
    ours = [blob for who, blob in map(_signature, lines) if (who, blob[:4]) == (name, key_id)]
    if not ours:
        raise Wrong("not signed by the key")
    for blob in ours:
        try:
            key.verify(blob[4:], text.encode())
        except InvalidSignature:
            raise Wrong("signature") from None
    return text


def _read_vkey(vkey: str) -> tuple[str, bytes, Ed25519PublicKey]:
    name, hexid, key = vkey.split("+", 2)
    raw = _b64(key)
    if raw[0] != 1 or len(raw) != 33:
        raise Wrong("not an Ed25519 key")
    key_id = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    if key_id.hex() != hexid:
        raise Wrong("key id")
    return name, key_id, Ed25519PublicKey.from_public_bytes(raw[1:])


def _signature(line: str) -> tuple[str, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\u2014" or not parts[1]:
        raise Wrong("malformed signature line")
    blob = _b64(parts[2])
    if len(blob) < 5:
        raise Wrong("short signature")
    return parts[1], blob


def open_checkpoint(note: bytes, vkey: str) -> Checkpoint:
    """C2SP tlog-checkpoint."""
    lines = open_note(note, vkey).split("\n")
    if len(lines) < 4 or not lines[0]:
        raise Wrong("too few lines")
    if not lines[1].isdecimal() or str(int(lines[1])) != lines[1]:
        raise Wrong("size")
    if lines[0] != vkey.split("+", maxsplit=1)[0]:
        raise Wrong("origin")
    return Checkpoint(lines[0], int(lines[1]), _b64(lines[2]))


def check_receipt(receipt: bytes, record: bytes, vkey: str) -> int:
    """C2SP tlog-proof: return the index at which `record` is proven to stand."""
    first, _, rest = receipt.partition(b"\n")
    if first != b"c2sp.org/tlog-proof@v1":
        raise Wrong("first line")
    if rest.startswith(b"extra "):
        rest = rest.partition(b"\n")[2]
    line, _, rest = rest.partition(b"\n")
    if not line.startswith(b"index "):
        raise Wrong("index")
    index = int(line.removeprefix(b"index "))
    if b"%d" % index != line.removeprefix(b"index "):
        raise Wrong("index form")
    path, note = _path(rest)
    checkpoint = open_checkpoint(note, vkey)
    leaf = hashlib.sha256(b"\x00" + record).digest()
    check_inclusion(leaf, index, checkpoint.size, checkpoint.root, path)
    return index


def _path(rest: bytes) -> tuple[list[bytes], bytes]:
    """The hashes, one a line, and what stands behind the empty line."""
    path: list[bytes] = []
    line, newline, rest = rest.partition(b"\n")
    while line:
        path.append(_b64(line.decode("ascii", "replace")))
        if len(path[-1]) != 32:
            raise Wrong("hash")
        line, newline, rest = rest.partition(b"\n")
    if not newline:
        raise Wrong("no checkpoint")
    return path, rest


def tile_of(leaves: list[bytes], level: int, number: int) -> bytes:
    """C2SP tlog-tiles: the tile's formal definition, over the inputs."""
    width = 256**level
    hashes = []
    for i in range(256):
        begin = (number * 256 + i) * width
        if begin + width > len(leaves):
            break
        hashes.append(mth(leaves[begin : begin + width]))
    return b"".join(hashes)


def _b64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise Wrong("base64") from None
