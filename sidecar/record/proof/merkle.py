"""The Merkle tree of RFC 6962 as it grows: O(log n) hashes in hand, leaves by the batch.

A tree of n leaves is kept as the roots of its perfect subtrees, one for each set bit of n. New
leaves are merged level by level; the root folds the perfect subtrees from the right. Both give the
MTH of RFC 6962 §2.1, whose recursive definition the tests implement beside.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _hashlib import HASH

EMPTY: Final = sha256(b"").digest()
HASH_BYTES: Final = 32


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of one entry (RFC 6962 §2.1, prefix 0x00)."""
    return sha256(b"\x00" + entry).digest()


def leaf_begun(entry: bytes) -> "HASH":
    """Return the hash of an entry that begins so, to be gone on with."""
    return sha256(b"\x00" + entry)


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """Return the hash of each entry."""
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (RFC 6962 §2.1, prefix 0x01)."""
    return sha256(b"\x01" + left + right).digest()


def parents(nodes: Sequence[bytes]) -> list[bytes]:
    """Return the parent of each pair of `nodes`; the last of an odd number has none."""
    return [
        sha256(b"\x01" + left + right).digest()
        for left, right in zip(nodes[::2], nodes[1::2], strict=False)
    ]


class Tree:
    """A tree that only grows."""

    __slots__ = ("_perfect", "size")

    def __init__(self, size: int = 0, frontier: Sequence[bytes] = ()) -> None:
        """Begin with the first `size` leaves, of which `frontier` is what the tree keeps.

        Raises:
            ValueError: It is not the frontier of a tree of that size.
        """
        found = iter(frontier)
        self.size = size
        # By level, lowest first: the root of the perfect subtree of 2^level leaves, if there is
        # one.
        self._perfect: list[bytes | None] = [None] * size.bit_length()
        if len(frontier) != size.bit_count() or any(len(node) != HASH_BYTES for node in frontier):
            msg = "not the frontier of a tree of this size"
            raise ValueError(msg)
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                self._perfect[level] = next(found)

    @property
    def frontier(self) -> list[bytes]:
        """Return the roots of the perfect subtrees, largest first."""
        return [node for node in reversed(self._perfect) if node is not None]

    def append(self, entry: bytes) -> None:
        """Add one leaf."""
        self.extend([leaf_hash(entry)])

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add the leaves that have these hashes."""
        self.size += len(leaves)
        level, nodes = 0, list(leaves)
        while nodes:
            if level == len(self._perfect):
                self._perfect.append(None)
            waiting = self._perfect[level]
            if waiting is not None:
                nodes.insert(0, waiting)
            self._perfect[level] = nodes[-1] if len(nodes) & 1 else None
            nodes = parents(nodes)
            level += 1

    def root(self) -> bytes:
        """Return the tree head over all leaves so far."""
        nodes = [node for node in self._perfect if node is not None]
        if not nodes:
            return EMPTY
        root = nodes[0]
        for node in nodes[1:]:
            root = node_hash(node, root)
        return root
