"""A ledger with everything beside it, and what somebody with its files might do to them."""

import itertools
import shutil
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from sidecar.policy.archive import Manifest, pack
from sidecar.policy.bundle import digest_of
from sidecar.record.disk import DISK
from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.proof import identity
from sidecar.record.proof.checkpoint import verifier
from sidecar.record.proof.merkle import Tree, leaf_hashes
from sidecar.record.segments.segment import (
    HEADER_BYTES,
    Footer,
    Header,
    chunks,
    footer,
    framed,
    header,
    offsets_digest,
    read_header,
)
from sidecar.terms.decision import BundleStamp
from sidecar.terms.record import SCHEMA, InputRecord, OutcomeRecord, SideObject
from sidecar.terms.words import CallId, PolicyVersion
from tests.record import sample
from tests.record.test_write import Paper, decision, kept, request

POLICY = b"""\
apiVersion: sidecar/v1
kind: Policy
metadata: {name: p}
spec:
  rules:
    - id: r
      effect: deny
      # Salaries are closed.
      when: "'pii' in resource.labels"
    - id: other
      effect: allow
"""
BUNDLE = {"bundle.yaml": b"name: demo\n", "policies/p.yaml": POLICY}
OBJECT = SideObject(f"sha256:{sha256(b'a text').hexdigest()}", b"a text")
RECORDS = 330
HELD = 120


def keep_bundle(state: Path, stamp: BundleStamp) -> None:
    """Keep the bundle as the runtime would."""
    archive = state / "bundles" / f"{stamp.digest.removeprefix('sha256:')}.tar"
    state.mkdir(mode=0o700)
    archive.parent.mkdir()
    archive.write_bytes(pack(BUNDLE, Manifest("demo", "1.0.0", stamp.digest)))


async def made(state: Path) -> None:
    """Write a ledger of every kind of thing, and a copy of it as it was at `HELD` records."""
    stamp = BundleStamp("demo", PolicyVersion("1.0.0"), digest_of(BUNDLE))
    keep_bundle(state, stamp)
    ledger = Ledger.open(
        *ledger_paths(state), sample.settings(segment_bytes_max=30_000, seals=True)
    )
    handles = await ledger.handles(["user:alice"])
    asked = request({"targets": [{"id": "hr.compensation"}]})
    record, _ = kept(asked, Paper(), decision(asked), handles=handles)
    said = InputRecord(record.input.digest, "masked", (), text_object=OBJECT.digest)
    for number in range(0, RECORDS, 3):
        if number == HELD:
            await ledger.close()
            shutil.copytree(state, state.with_name("earlier"))
            ledger = Ledger.open(
                *ledger_paths(state), sample.settings(segment_bytes_max=30_000, seals=True)
            )
        id = CallId(f"id-{number}")
        one = msgspec.structs.replace(
            record, id=id, policy=stamp, outcome="allow", input=said, listener_forwarded=True
        )
        await ledger.write(one, (OBJECT,))
        await ledger.write(
            OutcomeRecord(SCHEMA, CallId(f"out-{number}"), id, sample.TIME, "failed", rows=5)
        )
        await ledger.write(sample.admin(number + 2, "bundle_activated", text="a note"))
    await sample.until_idle(ledger)
    await ledger.close()


# --- the files, taken apart and put together again ---


class Part:
    """One segment, whatever its form: its header, records and end; `put` writes it as it was."""

    def __init__(self, state: Path, number: int) -> None:
        self.state = state
        self.path = sample.segments(state)[number]
        self.data = inside(self.path)
        found = read_header(self.data[:HEADER_BYTES], origin(state))
        assert found is not None
        self.said = found
        self.records: list[bytes] = []
        self.has_end = False
        for chunk in chunks(lambda size, at: self.data[at : at + size], len(self.data)):
            self.records += chunk.records
            self.has_end = chunk.footer is not None

    def put(self, records: Iterable[bytes], *, new_end: bool = True) -> None:
        """Write other records with good checksums, and with an end that fits them or the old."""
        records = list(records)
        frames = b"".join(framed([record]) for record in records)
        end = b""
        if self.has_end and not new_end:
            end = self.data[-128:]
        elif self.has_end:
            end = self.end(records)
        write(self.path, header(self.said, origin(self.state)) + frames + end)

    def end(self, records: list[bytes]) -> bytes:
        tree = Tree()
        for path in sample.segments(self.state):
            if path != self.path and path.name < self.path.name:
                tree.extend(leaf_hashes(records_of(path)))
        tree.extend(leaf_hashes(records))
        sizes = (len(record) + 8 for record in records)
        offsets = list(itertools.accumulate(sizes, initial=HEADER_BYTES))[:-1]
        said = Footer(len(records), tree.size, tree.root(), offsets_digest(offsets))
        return footer(said)


def inside(path: Path) -> bytes:
    data = path.read_bytes()
    return zstandard.ZstdDecompressor().decompress(data) if path.suffix == ".zst" else data


def write(path: Path, data: bytes) -> None:
    """Write a segment in its form, whoever may have taken the permission away."""
    path.chmod(0o600)
    path.write_bytes(zstandard.compress(data) if path.suffix == ".zst" else data)


def records_of(path: Path) -> list[bytes]:
    data = inside(path)
    parts = chunks(lambda size, at: data[at : at + size], len(data))
    return [record for part in parts for record in part.records]


def origin(state: Path) -> str:
    return identity.load(DISK, ledger_paths(state)[1]).origin


def key(state: Path) -> str:
    return identity.load(DISK, ledger_paths(state)[1]).verifier.text()


def renumbered(records: list[bytes], first: int) -> list[bytes]:
    """Return records that say that they are numbers `first` and so on."""
    found = []
    for seq, record in enumerate(records, first):
        head, _, tail = record.partition(b'"seq":')
        found.append(head + b'"seq":%d' % seq + tail[tail.index(b"}") :])
    return found


def of_segment(
    number: int,
    change: Callable[[list[bytes]], list[bytes]],
    *,
    new_end: bool = True,
    renumber: bool = False,
) -> Callable[[Path], None]:
    """Return what changes the records of one segment."""

    def tamper(state: Path) -> None:
        part = Part(state, number)
        records = change(part.records)
        if renumber:
            records = renumbered(records, part.said.first_seq)
        part.put(records, new_end=new_end)

    return tamper


def of_header(number: int, **change: Any) -> Callable[[Path], None]:
    def tamper(state: Path) -> None:
        part = Part(state, number)
        said: Header = part.said._replace(**change)
        write(part.path, header(said, origin(state)) + part.data[HEADER_BYTES:])

    return tamper


def of_file(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Return what changes the bytes of the one file that `name`, a pattern, finds."""

    def tamper(state: Path) -> None:
        path = max(state.glob(name))
        path.chmod(0o600)
        path.write_bytes(change(path.read_bytes()))

    return tamper


def of_files(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Return what changes the bytes of every file that `name`, a pattern, finds."""

    def tamper(state: Path) -> None:
        for path in state.glob(name):
            path.write_bytes(change(path.read_bytes()))

    return tamper


def removed(name: str, at: int = -1) -> Callable[[Path], None]:
    return lambda state: sorted(state.glob(name))[at].unlink()


def flipped(at: int) -> Callable[[bytes], bytes]:
    """Return what flips a bit of the byte `at`."""
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at:][1:]


def signed_by(state: Path, text: str) -> bytes:
    """Return a note with `text` that another key has signed under our name."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from sidecar.record.proof.checkpoint import signed_note

    return signed_note(text, verifier(key(state)).name, Ed25519PrivateKey.generate())
