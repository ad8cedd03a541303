"""Verify a Doorward log, an export of one, or the receipt of one record, without Doorward.

This one file is all that is needed, with Python 3.11 or newer and the package `cryptography`:

    python verifier.py --key ledger.vkey LOG [--checkpoint HELD]... [--json]
    python verifier.py --key ledger.vkey --receipt RECEIPT --record RECORD

LOG is a ledger's folder (files `.seg`; sealed ones, `.seg.zst`, need Python 3.14 or the package
`zstandard`) or the folder that `sidecar log export` wrote. HELD is a checkpoint that was kept
elsewhere: the log must begin with its records.

What is proven: every record stands unchanged at its number, none is missing or added, up to the
signed checkpoint. `with_bytes` says how many records are there to be read: an export of some proves
those, and not that there are no others that fit. Not proven: who wrote it; what the key's owner
rewrote before a checkpoint was handed out; the cells of a table that was made of records (CSV,
Parquet).

Exit codes: 0 proven, 20 not intact, 2 cannot be judged (wrong use, unreadable form).

Sources: RFC 6962 §2.1, RFC 9162 §2.1.3.2; C2SP signed-note, tlog-checkpoint, tlog-tiles,
tlog-proof. Shares no code with the rest of Doorward.
"""

import argparse
import hmac
import json
import re
import struct
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from sidecar.record.outside.forms import (
    BYTES,
    FRAME_BYTES_MAX,
    Leaf,
    exported,
    is_export,
    is_ledger,
    ledger,
    manifest,
    upper_tiles,
)
from sidecar.record.outside.notes import (
    NOTE_BYTES_MAX,
    Key,
    Note,
    Tampered,
    Tree,
    Unusable,
    base64_read,
    expect,
    given_file,
    included_root,
    leaf_hash,
    read_file,
    read_key,
    read_note,
)

PROVEN, NOT_INTACT, CANNOT = 0, 20, 2
ENDLESS = 1 << 62
# What reading may end in, of what was made by whoever is to be judged.
FORMLESS = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError,
    struct.error,
)  # fmt: skip
PLACE = re.compile(rb'"log":\{"epoch":"([0-9a-f]{16})","origin":"([^"]*)","seq":(\d+)\}')


class Story:
    """What the records say of themselves: keys that follow each other, outcomes that never came."""

    def __init__(self) -> None:
        self.rotations: list[dict[str, Any]] = []
        self.open: set[str] = set()
        self.pruned_to = 0
        self.bytes = 0
        self.first = -1

    def take(self, seq: int, record: bytes, *, is_signed: bool) -> None:
        """Take in one record; almost every one says nothing here, and none that is not signed."""
        self.bytes += 1
        self.first = seq if self.first < 0 else self.first
        if is_signed:
            self._hear(record)

    def _hear(self, record: bytes) -> None:
        if b'"kind":"outcome"' in record:
            self.open.discard(str(json.loads(record).get("parent")))
        elif b'"listener_forwarded":true' in record:
            said = json.loads(record)
            if said.get("listener_forwarded") is True:
                self.open.add(str(said.get("id")))
        elif b'"event":"key_rotated"' in record:
            said = json.loads(record)
            if (said.get("kind"), said.get("event")) == ("admin", "key_rotated"):
                self.rotations.append({"seq": said["log"]["seq"], **said["detail"]})
        elif b'"event":"pruned"' in record:
            said = json.loads(record)
            if (said.get("kind"), said.get("event")) == ("admin", "pruned"):
                self.pruned_to = max(self.pruned_to, int(said["detail"]["last"]) + 1)

    def terms(self, trusted: Sequence[Key]) -> list[tuple[Key, int, int]]:
        """Return each key that a trusted one leads to, and which sizes it may sign."""
        found: list[tuple[Key, int, int]] = []
        first = 0
        for said in self.rotations:
            old, new = read_key(said["old"]), read_key(said["new"])
            statement = f"doorward.key-rotation/1\n{said['seq']}\n{old.text}\n{new.text}\n".encode()
            is_vouched = old.signed(base64_read(said["by_old"]), statement)
            is_vouched = is_vouched and new.signed(base64_read(said["by_new"]), statement)
            if not is_vouched or (found and found[-1][0].text != old.text):
                raise Tampered(f"record {said['seq']}: a key that both keys did not sign for")
            found[-1:] = [(old, first, said["seq"] + 1), (new, said["seq"] + 1, ENDLESS)]
            first = said["seq"] + 1
        is_ours = {key.text for key in trusted} & {key.text for key, _, _ in found}
        return found if is_ours else [(key, 0, ENDLESS) for key in trusted]


def check_signed(note: Note, story: Story, trusted: Sequence[Key]) -> None:
    """Refuse a checkpoint that no trusted key has signed, nor one that follows it."""
    if any(note.is_by(key) for key in trusted):
        return
    terms = story.terms(trusted)
    if not any(first <= note.size <= last and note.is_by(key) for key, first, last in terms):
        raise Tampered(f"{note.file}: the checkpoint is not signed by the key")


def check_place(leaf: Leaf, seq: int, origin: str) -> None:
    """Refuse a record that says that it is another one, or of another log."""
    if leaf.record is None:
        return
    name, _, epoch = origin.rpartition("/")
    wanted = (epoch.encode(), json.dumps(name).encode()[1:-1], b"%d" % seq)
    if not any(found.groups() == wanted for found in PLACE.finditer(leaf.record)):
        raise Tampered(f"{leaf.where}: the record does not say that it is number {seq} of this log")


def verify_log(folder: Path, trusted: Sequence[Key], held: Sequence[Path]) -> dict[str, Any]:
    """Verify a log; Tampered says what is wrong first."""
    walk = judged_leaves(folder, trusted, held)
    while True:
        try:
            next(walk)
        except StopIteration as end:
            found: dict[str, Any] = end.value
            return found
        except FORMLESS as error:
            raise Tampered(f"it is not of the form of a log: {type(error).__name__}") from None


def judged_leaves(
    folder: Path, trusted: Sequence[Key], held: Sequence[Path]
) -> Generator[Leaf, None, dict[str, Any]]:
    """Yield every leaf of a log, and return what is proven of them once all have been seen."""
    note = read_note("checkpoint", note_of(folder / "checkpoint"))
    notes = [note, *(read_note(str(path), given_file(path, NOTE_BYTES_MAX)) for path in held)]
    if any(one.origin != trusted[0].name for one in notes):
        raise Tampered("the checkpoint is not of this log")
    tree, story = Tree(), Story()
    check_roots(tree, notes)
    said = None if is_ledger(folder) else manifest(folder)
    leaves = ledger(folder, note, tree) if said is None else exported(folder, note, said)
    for leaf in leaves:
        check_place(leaf, tree.size, note.origin)
        if leaf.record is not None:
            story.take(tree.size, leaf.record, is_signed=tree.size < note.size)
        tree.append(leaf.hash)
        check_roots(tree, notes)
        yield leaf
    for one in notes:
        if one.size > tree.size:
            raise Tampered(f"{one.file}: {one.size} records were signed and {tree.size} are there")
        check_signed(one, story, trusted)
        if one.size > note.size:
            text = f"the log's own checkpoint is older, it signs {note.size} records"
            raise Tampered(f"{one.file}: {text}")
    check_pruned(story, said)
    if said is not None:
        upper_tiles(folder, note.size)
    return {
        "origin": note.origin,
        "records": tree.size,
        "with_bytes": story.bytes,
        "signed": note.size,
        "root": note.root.hex(),
        "without_outcome": len(story.open),
    }


def check_pruned(story: Story, said: dict[str, Any] | None) -> None:
    """Refuse a log that begins later than its own records say that it was pruned."""
    whole = 256 if said is not None and said["format"] == "tiles" else 1
    is_claimed = said is None or (said["complete"] and said["format"] in BYTES)
    if is_claimed and story.first > -(-story.pruned_to // whole) * whole:
        raise Tampered(f"no record says that those before {story.first} were pruned")


def note_of(path: Path) -> bytes:
    """Return the bytes of the checkpoint of a log."""
    if not (is_ledger(path.parent) or is_export(path.parent) or path.exists()):
        raise Unusable(f"{path.parent}: neither a ledger's folder nor an export")
    try:
        return read_file(path, NOTE_BYTES_MAX)
    except OSError:
        raise Tampered("checkpoint: there is no signed checkpoint") from None


def check_roots(tree: Tree, notes: Sequence[Note]) -> None:
    """Compare the root with that of each checkpoint of this size."""
    for note in notes:
        if note.size == tree.size and not hmac.compare_digest(note.root, tree.root()):
            text = f"the first {note.size} records are not those that were signed"
            raise Tampered(f"{note.file}: {text}")


def verify_receipt(receipt: Path, record: bytes, trusted: Sequence[Key]) -> dict[str, Any]:
    """Verify that a record stands in the log (C2SP tlog-proof)."""
    head, _, tail = given_file(receipt, 2 * NOTE_BYTES_MAX).partition(b"\n\n")
    try:
        seq, proof = read_proof(head.decode("ascii"))
    except (ValueError, IndexError):
        raise Tampered(f"{receipt}: not a receipt (tlog-proof)") from None
    note = read_note(str(receipt), tail)
    if note.origin != trusted[0].name or not any(note.is_by(key) for key in trusted):
        raise Tampered(f"{receipt}: the checkpoint is not signed by the key")
    root = included_root(seq, note.size, leaf_hash(record), proof)
    if root is None or not hmac.compare_digest(root, note.root):
        raise Tampered(f"{receipt}: the record is not number {seq} of the log that was signed")
    return {"origin": note.origin, "seq": seq, "signed": note.size, "root": note.root.hex()}


def read_proof(head: str) -> tuple[int, list[bytes]]:
    """Read which record a receipt is of, and its siblings in the tree."""
    first, *said = head.split("\n")
    if said[0].startswith("extra "):
        base64_read(said.pop(0).removeprefix("extra "))
    seq = int(said[0].removeprefix("index "))
    proof = [base64_read(line) for line in said[1:]]
    is_one = first == "c2sp.org/tlog-proof@v1" and said[0] == f"index {seq}" and seq >= 0
    expect(is_so=is_one and all(len(one) == 32 for one in proof), text="not a receipt")
    return seq, proof


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("log", nargs="?", type=Path, help="ledger's folder, or an export")
    parser.add_argument("--key", action="append", default=[], help="verifier key, or its file")
    parser.add_argument("--checkpoint", action="append", default=[], type=Path, metavar="HELD")
    parser.add_argument("--receipt", type=Path, help="receipt of one record (tlog-proof)")
    parser.add_argument("--record", type=Path, help="the record's bytes")
    parser.add_argument("--json", action="store_true", help="one line for programs")
    found = parser.parse_args(given)
    if not found.key or (found.log is None) == (found.receipt is None):
        parser.error("expected --key, and a log or a receipt")
    if found.receipt is not None and found.record is None:
        parser.error("--receipt: expected --record")
    return found


def judged(given: argparse.Namespace) -> dict[str, Any]:
    """Verify what was asked for."""
    trusted = [read_key(text) for text in given.key]
    if given.receipt is None:
        return verify_log(given.log, trusted, given.checkpoint)
    record = given_file(given.record, FRAME_BYTES_MAX + 1).removesuffix(b"\n")
    return verify_receipt(given.receipt, record, trusted)


def main(given: Sequence[str]) -> int:
    """Verify, tell, and return the exit code."""
    asked = arguments(given)
    code, problem, found = PROVEN, "", dict[str, Any]()
    try:
        found = judged(asked)
    except Tampered as error:
        code, problem = NOT_INTACT, str(error)
    except (Unusable, OSError) as error:
        code, problem = CANNOT, str(error)
    if asked.json:
        said = {"proven": code == PROVEN, **found, **({"problem": problem} if problem else {})}
        sys.stdout.write(json.dumps(said) + "\n")
    elif problem:
        word = "NOT INTACT" if code == NOT_INTACT else "CANNOT BE JUDGED"
        sys.stderr.write(
            "".join(c if c.isprintable() else "?" for c in f"{word}  {problem}") + "\n"
        )
    else:
        sys.stdout.write("proven\n")
        for name, value in found.items():
            sys.stdout.write(f"{name:<16} {value}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
