"""The Merkle tree of RFC 6962 as it grows: O(log n) hashes in hand, one leaf at a time.

A tree of n leaves is kept as the roots of its perfect subtrees, largest first (the set bits of n).
A new leaf merges as many of them as n has trailing ones; the root folds them from the right. Both
give the MTH of RFC 6962 §2.1, whose recursive definition the tests implement beside.
"""

from hashlib import sha256

EMPTY = sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of one entry (RFC 6962 §2.1, prefix 0x00)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (RFC 6962 §2.1, prefix 0x01)."""
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that only grows."""

    __slots__ = ("_perfect", "size")

    def __init__(self) -> None:
        self.size = 0
        self._perfect: list[bytes] = []

    def append(self, entry: bytes) -> None:
        """Add one leaf."""
        node, size = leaf_hash(entry), self.size
        while size & 1:
            node = node_hash(self._perfect.pop(), node)
            size >>= 1
        self._perfect.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Return the tree head over all leaves so far."""
        if not self._perfect:
            return EMPTY
        *rest, root = self._perfect
        for node in reversed(rest):
            root = node_hash(node, root)
        return root
