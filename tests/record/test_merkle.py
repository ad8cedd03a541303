"""The tree that grows equals the recursive definition, written here once more from the RFC."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from sidecar.record.proof.merkle import Tree


def mth(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1, word by word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + mth(leaves[:split]) + mth(leaves[split:])).digest()


def test_the_root_is_that_of_the_definition_at_every_size():
    tree, leaves = Tree(), list[bytes]()
    for number in range(300):
        assert tree.root() == mth(leaves)
        leaves.append(b"leaf %d" % number)
        tree.append(leaves[-1])

    assert tree.size == 300


@given(st.lists(st.binary(max_size=40), max_size=70))
def test_the_root_is_that_of_the_definition_for_any_leaves(leaves):
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)

    assert tree.root() == mth(leaves)


def test_the_vectors_of_certificate_transparency():
    """Source: the reference tree of certificate-transparency (RFC 6962), sizes 1, 2, 3 and 8."""
    leaves = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ]
    tree, roots = Tree(), {}
    for leaf in leaves:
        tree.append(leaf)
        roots[tree.size] = tree.root().hex()

    assert roots[1] == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert roots[2] == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert roots[3] == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    assert roots[8] == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
