"""What stands beside the ledger and is written by the same process: persons and large inputs."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Final

from sidecar.record.disk import Io
from sidecar.record.fold import Revocations
from sidecar.record.inputs.store import Inputs, inputs_path
from sidecar.record.persons import Persons, persons_in, persons_paths, pseudonymous
from sidecar.record.persons.forget import FORGOTTEN, Known, found, objects_of
from sidecar.record.read import everything
from sidecar.terms.call import Json
from sidecar.terms.errors import LedgerBroken, RecordError
from sidecar.terms.record import AdminRecord, AnyRecord, ApprovalRecord, OpsRecord

TORN: Final = "ledger.persons_torn"
Note = Callable[[str, dict[str, Json]], Awaitable[None]]


class Beside:
    """The table of persons and the side store of one ledger.

    Args:
        state: The folder of all.
        revocations: Whose parties are recorded as handles.
        io: The disk.
        random_bytes: Randomness.
    """

    def __init__(
        self,
        state: Path,
        revocations: Revocations,
        io: Io,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.inputs = Inputs(inputs_path(state), io)
        self._state = state
        self._revocations = revocations
        self._io = io
        self._random = random_bytes
        self._persons: Persons | None = None
        # Two threads: the ledger's, which folds, and one for what persons cost.
        self._lock = threading.Lock()

    def open(self) -> list[tuple[str, dict[str, Json]]]:
        """Read the table where there is one, and return what there is to tell of it; blocks.

        Raises:
            LedgerBroken: It cannot be read.
        """
        path, _ = persons_paths(self._state)
        torn = self._opened().torn if path.exists() else None
        return [] if torn is None else [(TORN, torn)]

    def close(self) -> None:
        """Let go of the files."""
        self.inputs.close()
        if self._persons is not None:
            self._persons.close()

    def known(self) -> Mapping[str, str]:
        """Return `type:id` → handle of everybody who has one."""
        return {} if self._persons is None else self._persons.known

    async def handles(self, persons: Collection[str]) -> Mapping[str, str]:
        """Return the durable handles of `persons`. Raises RecordError."""
        known = self.known()
        if all(person in known for person in persons):
            return {person: known[person] for person in persons}
        return await asyncio.to_thread(self._handles, persons)

    async def forget(self, person: str, note: Note) -> bool:
        """Erase a person and what is sealed of its calls; return whether there was one.

        Args:
            person: `type:id`, or with the handle in the place of the id.
            note: Writes an admin record.

        Raises:
            RecordError: It could not be done, or is revoked: a new handle would lift that unseen.
        """
        known = None if self._persons is None else found(person, self._persons)
        if known is None:
            return False
        if known.value is not None and self._revocations.is_revoked(known.value):
            raise RecordError(f"{known.recorded} is revoked; lift the revocation first")
        await note(FORGOTTEN, {"handle": known.recorded})
        await asyncio.to_thread(self._forget, known)
        return True

    def _handles(self, persons: Collection[str]) -> Mapping[str, str]:
        with self._lock:
            return self._opened().handles_of(persons)

    def _forget(self, known: Known) -> None:
        with self._lock:
            if known.value is not None:
                self._opened().forget(known.value)
                self._revocations.name_with(self._name)
            self._destroy_old_keys(known)
            # After the row: from here on no call is recorded under this handle.
            damaged: list[str] = []
            records = everything(self._io, self._state / "ledger", damaged)
            objects = objects_of(known.handle, records)
            try:
                self.inputs.erase(objects.of_person, known.handle.encode(), objects.named)
            except RecordError as error:
                raise RecordError(
                    f"{known.recorded} stands for nobody now, but side objects of its calls remain:"
                    f" {error}; when that is mended, forget {known.recorded}"
                ) from error
            if damaged:
                raise RecordError(
                    f"{known.recorded} stands for nobody now, and what records name of its calls is"
                    f" erased, but for records that cannot be read, in {', '.join(damaged)}"
                )

    def _destroy_old_keys(self, known: Known) -> None:
        try:
            self._opened().destroy_old_keys()
        except RecordError as error:
            raise RecordError(
                f"{known.recorded} stands for nobody now, but {error}; when that is mended, forget"
                f" {known.recorded}"
            ) from error

    def _opened(self) -> Persons:
        if self._persons is None:
            try:
                self._persons = Persons.open(*persons_paths(self._state), self._io, self._random)
            except LedgerBroken as error:
                raise RecordError(str(error)) from error
            self._revocations.name_with(self._name)
        return self._persons

    def _name(self, party: str) -> str:
        """Return whom a recorded party stands for; one who was forgotten stays a handle."""
        kind, _, handle = party.partition(":")
        persons = self._persons
        value = persons.value_of(handle) if persons is not None else None
        return value if value is not None and value.partition(":")[0] == kind else party


def persons_named(record: AnyRecord) -> list[str]:
    """Return whom a record names in clear; a decision is made without names from the start."""
    if isinstance(record, AdminRecord | OpsRecord | ApprovalRecord):
        return persons_in(record)
    return []


def anonymous(record: AnyRecord, handles: Mapping[str, str]) -> AnyRecord:
    """Return `record` with handles where `persons_named` found somebody."""
    assert isinstance(record, AdminRecord | OpsRecord | ApprovalRecord)
    return pseudonymous(record, handles)
