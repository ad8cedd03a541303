"""What stands beside the log and belongs to it: bundles, persons, inputs.

The log proves itself; these are compared with what it says of them:

| what | is compared |
|---|---|
| `bundles/` | each bundle by which something was decided, by its digest |
| `persons.table` | that it opens, with all rows; that subjects who were never forgotten are in it |
| `inputs/` | each object that a record names, by its digest; absent ones unless some were erased |

What is not at hand in a copy of the ledger, which has no `keys/`, is told as not checked.

A person may be forgotten meanwhile, by a record that was signed after the checkpoint that is proven
here: so who was there, before that was read, is not missed.
"""

import hmac
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import orjson

from sidecar.policy.archive import unpack
from sidecar.policy.limits import BUNDLE_BYTES_MAX
from sidecar.record import disk
from sidecar.record.disk import Io
from sidecar.record.inputs.store import Inputs, inputs_path
from sidecar.record.persons import Persons, persons_paths
from sidecar.record.persons.forget import FORGOTTEN
from sidecar.record.proof.checkpoint import Verifier
from sidecar.record.proof.merkle import Tree
from sidecar.record.segments.walk import Batch, Damage
from sidecar.terms.errors import LedgerBroken, PolicyError

BUNDLES = "bundles"
KEYS = "keys"
_POLICY = b',"policy":{'
_SUBJECT = b',"subject":{"id":"p_'
_OBJECT = re.compile(rb'_object":"(sha256:[0-9a-f]{64})"')
_FORGOTTEN = f'"event":"{FORGOTTEN}"'.encode()
_ACTIVATED = b'"event":"bundle_activated"'
_FORWARDED = b'"listener_forwarded":true'
_OUTCOME = b'"kind":"outcome"'


class Checked(msgspec.Struct):
    """What was compared, by how many there were; None for what is not at hand.

    Args:
        bundles: Bundles by which something was decided.
        persons: Persons in the table.
        objects: Side objects that records name and that are there.
        without_outcome: Decisions of which no outcome is recorded (yet).
    """

    bundles: int | None = None
    persons: int | None = None
    objects: int | None = None
    without_outcome: int = 0


def _says_forgotten(record: bytes) -> bool:
    """Return whether a record says so itself, and not something within it."""
    said = orjson.loads(record)
    return (said.get("kind"), said.get("event")) == ("admin", FORGOTTEN)


class Beside:
    """Looks at each batch of records as the log is verified, and then at what they name.

    INVARIANT: made before the checkpoint is read.
    """

    def __init__(self, io: Io, state: Path) -> None:
        self._io, self._state = io, state
        self._there_before = self._there()
        self._policies: dict[bytes, int] = {}
        self._subjects: dict[bytes, int] = {}
        self._objects: dict[str, int] = {}
        self._open: dict[str, None] = {}
        self._has_forgotten = self._has_activated = False
        self.checked = Checked()

    def take(self, batch: Batch, leaves: Sequence[bytes], tree: Tree, signed: int) -> None:
        """Take in what records name. No record is read but those that say something new.

        Nor one that is not signed: whoever can write the folder could have somebody forgotten.
        """
        count = max(signed - batch.first_seq, 0)
        told = zip(batch.records[:count], batch.heads[:count], strict=True)
        for at, (record, head) in enumerate(told):
            seq = batch.first_seq + at
            policy = record.find(_POLICY, head)
            if policy >= 0:
                self._decision(record, head, seq, record[policy : record.find(b"}", policy) + 1])
            elif record.endswith(_OUTCOME, 0, head):
                self._open.pop(str(orjson.loads(record).get("parent")), None)
            else:
                if _FORGOTTEN in record and not self._has_forgotten:
                    self._has_forgotten = _says_forgotten(record)
                self._has_activated = self._has_activated or _ACTIVATED in record

    def end(self, size: int, keys: Sequence[Verifier]) -> None:
        """Compare what stands beside the log with what its records say of it.

        Raises:
            Damage: Something is not what a record names.
        """
        self.checked.without_outcome = len(self._open)
        # A state folder has all of it, a copy of the ledger has what was copied with it.
        is_state = (self._state / KEYS).is_dir()
        if (self._state / BUNDLES).is_dir() or (is_state and self._has_activated):
            self.checked.bundles = self._check_bundles(self._state / BUNDLES)
        table, key = persons_paths(self._state)
        if key.exists() and (table.exists() or self._subjects):
            self.checked.persons = self._check_persons(table, key)
        inputs = inputs_path(self._state)
        if inputs.is_dir() or (is_state and self._objects):
            self.checked.objects = self._check_objects(inputs)

    def _there(self) -> frozenset[str]:
        """Return the handles and the side objects that stand there now, as far as can be read."""
        found = set[str]()
        with suppress(LedgerBroken):
            found.update(Persons.read(*persons_paths(self._state)).known.values())
        with suppress(OSError):
            found.update(Inputs(inputs_path(self._state), self._io).examined())
        return frozenset(found)

    def _is_missed(self, name: str) -> bool:
        """Return whether what is not there has been gone before, and nobody was forgotten."""
        return not self._has_forgotten and name not in self._there_before

    def _decision(self, record: bytes, head: int, seq: int, policy: bytes) -> None:
        if policy not in self._policies:
            self._policies[policy] = seq
        subject = record.rfind(_SUBJECT, head)
        if subject >= 0:
            begin = subject + len(_SUBJECT) - 2
            self._subjects.setdefault(record[begin : record.find(b'"', begin)], seq)
        if record.rfind(b'_object":"sha256:', 0, head) >= 0:
            for found in _OBJECT.finditer(record, 0, head):
                self._objects.setdefault(found[1].decode(), seq)
        if record.endswith(_FORWARDED, 0, head):
            self._open[str(orjson.loads(record).get("id"))] = None

    def digests(self) -> dict[str, int]:
        """Return the bundles by which something was decided, each with the first such record."""
        found: dict[str, int] = {}
        for text, seq in self._policies.items():
            try:
                said = orjson.loads(text.removeprefix(_POLICY[:-1]))
            except orjson.JSONDecodeError:
                # A value that only looks like it.
                continue
            if isinstance(said, dict) and isinstance(said.get("digest"), str):
                found.setdefault(said["digest"], seq)
        return found

    def _check_bundles(self, folder: Path) -> int:
        found = self.digests()
        for digest, seq in found.items():
            name = f"{digest.removeprefix('sha256:')}.tar"
            file = f"{BUNDLES}/{name}"
            try:
                data = disk.read_all(self._io, folder / Path(name).name, BUNDLE_BYTES_MAX)
                _, manifest = unpack(name, data)
            except (FileNotFoundError, ValueError):
                # A name that no file can have is a bundle that is not there.
                text = "the bundle by which it was decided is missing"
                raise Damage(file, None, seq, text) from None
            except OSError as error:
                text = f"the bundle by which it was decided cannot be read: {disk.why(error)}"
                raise Damage(file, None, seq, text) from None
            except PolicyError as error:
                text = f"the bundle by which it was decided was changed: {error}"
                raise Damage(file, None, seq, text) from None
            if not hmac.compare_digest(manifest.digest.encode(), digest.encode()):
                raise Damage(file, None, seq, "another bundle than the one by which it was decided")
        return len(found)

    def _check_persons(self, path: Path, key_path: Path) -> int:
        try:
            table = Persons.read(path, key_path)
        except LedgerBroken as error:
            text = f"the table of persons was changed: {error}"
            raise Damage(path.name, None, None, text) from None
        for handle, seq in self._subjects.items():
            name = handle.decode("ascii", "replace")
            if table.value_of(name) is None and self._is_missed(name):
                text = "its subject is not in the table of persons, and nobody was forgotten"
                raise Damage(path.name, None, seq, text)
        if table.missing:
            raise Damage(path.name, None, None, f"rows are missing at its end: {table.missing}")
        return len(table.known)

    def _check_objects(self, folder: Path) -> int:
        there, count = Inputs(folder, self._io).examined(), 0
        for digest, seq in self._objects.items():
            if there.get(digest) is False:
                raise Damage("inputs", None, seq, f"its side object {digest[:19]}… was changed")
            count += digest in there
            if digest not in there and self._is_missed(digest):
                text = f"its side object {digest[:19]}… is missing, and nobody was forgotten"
                raise Damage("inputs", None, seq, text)
        return count
