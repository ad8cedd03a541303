"""Logs of every released version are read and verified: the schema is only ever added to.

`golden/records/<version>` is written once and never changed (`golden_log.py`).
"""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jsonschema import Draft202012Validator

from sidecar.cli.log import told
from sidecar.record.canonical import split
from sidecar.record.fold import Revocations
from sidecar.terms.record import LoggedRecord
from tests.record.golden_log import FOLDER

ROOT = Path(__file__).parents[2]
VERSIONS = sorted(folder.name for folder in FOLDER.iterdir())
KINDS = {"decision", "outcome", "admin", "approval", "ops", "gap"}


def lines(version: str) -> list[bytes]:
    return (FOLDER / version / "records.jsonl").read_bytes().splitlines()


def root(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1, as it is written there."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    cut = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + root(leaves[:cut]) + root(leaves[cut:])).digest()


def test_there_is_a_released_version():
    assert VERSIONS[0] == "v1"


@pytest.mark.parametrize("version", VERSIONS)
def test_it_holds_every_kind_of_record(version):
    assert {orjson.loads(line)["kind"] for line in lines(version)} >= KINDS


@pytest.mark.parametrize("version", VERSIONS)
def test_every_record_is_canonical_of_the_schema_and_understood(version):
    schema = Draft202012Validator(json.loads((ROOT / "schemas" / "record.schema.json").read_text()))
    for seq, line in enumerate(lines(version)):
        said: dict[str, Any] = orjson.loads(line)
        assert rfc8785.dumps(json.loads(line)) == line
        place = said.pop("log")
        assert place["seq"] == seq
        assert [error.message for error in schema.iter_errors(said)] == []
        read = msgspec.json.decode(line, type=LoggedRecord)
        halves = split(read)
        assert halves.head + b"," + halves.tail == rfc8785.dumps(said)
        told.line({**said, "log": place})


@pytest.mark.parametrize("version", VERSIONS)
def test_its_checkpoint_is_signed_over_exactly_these_records(version):
    name, key_id, key = (FOLDER / version / "ledger.vkey").read_text().strip().split("+", 2)
    note = (FOLDER / version / "checkpoint").read_bytes()
    text, _, signature = note.partition(b"\n\n")
    origin, size, told_root = text.decode().split("\n")[:3]
    _, signer, sealed = signature.decode().split(" ")
    raw = base64.b64decode(sealed)

    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key)[1:])
    public.verify(raw[4:], text + b"\n")
    assert (signer, origin, raw[:4].hex()) == (name, name, key_id)
    assert int(size) == len(lines(version))
    assert base64.b64decode(told_root) == root(lines(version))


@pytest.mark.parametrize("version", VERSIONS)
def test_state_is_folded_from_it(version):
    revocations = Revocations()
    for line in lines(version):
        revocations.apply(orjson.loads(line))

    assert len(revocations.parties) == 1
