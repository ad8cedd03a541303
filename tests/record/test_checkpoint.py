"""A checkpoint is read only when the key has signed exactly these bytes for this log."""

import hashlib
from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.record.proof.checkpoint import Checkpoint, Verifier, opened, sign, verifier

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORIGIN = "test/0123456789abcdef"
TRUSTED = Verifier(ORIGIN, KEY.public_key())
CHECKPOINT = Checkpoint(ORIGIN, 7, hashlib.sha256(b"root").digest())
NOTE = sign(CHECKPOINT, KEY)


def test_what_was_signed_is_read():
    assert opened(NOTE, TRUSTED) == CHECKPOINT


def test_the_note_is_as_the_format_says():
    text, line = NOTE.decode().split("\n\n")
    assert text.split("\n") == [ORIGIN, "7", b64encode(CHECKPOINT.root).decode()]
    dash, name, encoded = line.rstrip("\n").split(" ")
    raw = b64decode(encoded)
    public = KEY.public_key().public_bytes_raw()
    assert (dash, name) == ("\u2014", ORIGIN)
    assert raw[:4] == hashlib.sha256(ORIGIN.encode() + b"\n\x01" + public).digest()[:4]
    KEY.public_key().verify(raw[4:], f"{text}\n".encode())


def test_no_bit_of_a_note_can_be_changed():
    for position in range(len(NOTE) * 8):
        changed = bytearray(NOTE)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises(ValueError, match=r"."):
            opened(bytes(changed), TRUSTED)


@pytest.mark.parametrize("length", range(len(NOTE)))
def test_no_part_of_a_note_is_enough(length):
    with pytest.raises(ValueError, match=r"."):
        opened(NOTE[:length], TRUSTED)


def test_another_key_of_the_same_name_is_not_believed():
    with pytest.raises(ValueError, match="not signed by the key"):
        opened(sign(CHECKPOINT, Ed25519PrivateKey.generate()), TRUSTED)


def test_a_checkpoint_of_another_log_is_not_believed():
    other = Verifier("test/ffffffffffffffff", KEY.public_key())
    note = sign(CHECKPOINT, KEY)

    with pytest.raises(ValueError, match="not signed by the key"):
        opened(note, other)


def test_the_signature_of_a_witness_is_let_be():
    witness = sign(CHECKPOINT, Ed25519PrivateKey.generate()).decode().rpartition("\n\n")[2]

    assert opened(NOTE + witness.encode(), TRUSTED) == CHECKPOINT


def test_a_verifier_key_is_read_as_it_was_printed():
    assert verifier(TRUSTED.text()).text() == TRUSTED.text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "test",
        "test/0123456789abcdef+00000000+AAAA",
        TRUSTED.text().replace(ORIGIN, "other/0123456789abcdef"),
        TRUSTED.text()[:-4],
        f" a b{TRUSTED.text()}",
    ],
)
def test_a_key_that_does_not_fit_its_name_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        verifier(text)
