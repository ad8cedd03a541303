"""Inclusion and consistency proofs (RFC 6962 §2.1.1, §2.1.2) and the receipt of one record.

A proof is made from the hashes of complete subtrees, which `Nodes` hands out by level and index;
where they come from (tiles, records) is its affair. The receipt is a C2SP tlog-proof: the index,
the inclusion proof and the signed checkpoint in one text that is verified without the log.
"""

from base64 import b64encode
from collections.abc import Sequence
from typing import Protocol

from sidecar.record.proof.merkle import node_hash


class Nodes(Protocol):
    """The hashes of the complete subtrees of one log."""

    def node(self, level: int, index: int) -> bytes:
        """Return the hash over the 2^level leaves that begin with leaf index·2^level."""
        ...


def inclusion_proof(nodes: Nodes, seq: int, size: int) -> list[bytes]:
    """Return what proves that record `seq` is in the tree of `size` records, the leaf's side first.

    Raises:
        ValueError: There is no such record in that tree.
    """
    if not 0 <= seq < size:
        msg = f"no record {seq} in a tree of {size}"
        raise ValueError(msg)
    proof: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _half(end - begin)
        if seq < middle:
            proof.append(range_hash(nodes, middle, end))
            end = middle
        else:
            proof.append(range_hash(nodes, begin, middle))
            begin = middle
    return proof[::-1]


def consistency_proof(nodes: Nodes, first: int, second: int) -> list[bytes]:
    """Return what proves that the tree of `second` records begins with that of `first`.

    Raises:
        ValueError: The first tree is empty or larger than the second.
    """
    if not 0 < first <= second:
        msg = f"no proof from a tree of {first} to one of {second}"
        raise ValueError(msg)
    proof: list[bytes] = []
    begin, end = 0, second
    while first < end:
        middle = begin + _half(end - begin)
        if first <= middle:
            proof.append(range_hash(nodes, middle, end))
            end = middle
        else:
            proof.append(range_hash(nodes, begin, middle))
            begin = middle
    # The first tree as a whole is known to whoever asks; a part of it is not.
    if begin > 0:
        proof.append(range_hash(nodes, begin, first))
    return proof[::-1]


def range_hash(nodes: Nodes, begin: int, end: int) -> bytes:
    """Return the hash of the subtree over leaves `begin` to `end`, as RFC 6962 splits them."""
    found: bytes | None = None
    # INVARIANT: `begin` is a multiple of the largest power of two in `end - begin`, so each set bit
    # of the length is a complete subtree; the smallest stands last.
    length = end - begin
    for level in range(length.bit_length()):
        if length >> level & 1:
            end -= 1 << level
            node = nodes.node(level, end >> level)
            found = node if found is None else node_hash(node, found)
    assert found is not None
    return found


def is_consistent(
    first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Return whether `proof` shows that the second tree begins with the first.

    Source: RFC 9162 §2.1.4.2.
    """
    if first == second:
        return not proof and first_root == second_root
    # A first tree that is complete is its own beginning of the proof.
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if not 0 < first < second or not path:
        return False
    before, after = first - 1, second - 1
    while before & 1:
        before, after = before >> 1, after >> 1
    old = new = path[0]
    for node in path[1:]:
        if after == 0:
            return False
        if before & 1 or before == after:
            old, new = node_hash(node, old), node_hash(node, new)
            while not before & 1 and before:
                before, after = before >> 1, after >> 1
        else:
            new = node_hash(new, node)
        before, after = before >> 1, after >> 1
    return after == 0 and (old, new) == (first_root, second_root)


def included_root(seq: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes | None:
    """Return the root of the tree of `size` records that holds `leaf` as `seq`, None if none can.

    Source: RFC 9162 §2.1.3.2.
    """
    if not 0 <= seq < size:
        return None
    at, last, root = seq, size - 1, leaf
    for node in proof:
        if last == 0:
            return None
        if at & 1 or at == last:
            root = node_hash(node, root)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            root = node_hash(root, node)
        at, last = at >> 1, last >> 1
    return root if last == 0 else None


def receipt(seq: int, proof: Sequence[bytes], note: bytes) -> bytes:
    """Return the tlog-proof of record `seq` under the checkpoint `note`.

    Source: C2SP tlog-proof.
    """
    lines = ["c2sp.org/tlog-proof@v1", f"index {seq}"]
    lines += [b64encode(hash_).decode() for hash_ in proof]
    return "\n".join([*lines, "", ""]).encode() + note


def _half(length: int) -> int:
    """Return the largest power of two below `length`."""
    return 1 << (length - 1).bit_length() - 1
