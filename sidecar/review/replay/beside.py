"""What stands beside the log and says more than it: names, keys, side objects, entities, bundles.

All of it may be absent, as it is for an auditor who was given a copy of the log alone. Then this
answers None, and who asks says what is missing.
"""

import hmac
from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Final

from sidecar.facts.sources import Table, entities_table
from sidecar.policy.archive import unpack
from sidecar.record.disk import DISK
from sidecar.record.inputs import Secrets, secrets_path
from sidecar.record.inputs.store import Inputs, Place, inputs_path
from sidecar.record.persons import Persons, keyfile, persons_paths
from sidecar.terms.call import Json
from sidecar.terms.errors import ConfigError, PolicyError

_DIGEST: Final = "sha256:"


class Beside:
    """What stands in one state folder; None for none."""

    def __init__(self, state: Path | None) -> None:
        self._state = state
        self._entities: dict[str, Table | None] = {}

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Return handle → `type:id`; empty where the table is not at hand. Raises LedgerBroken."""
        if self._state is None:
            return {}
        known = Persons.read(*persons_paths(self._state)).known
        return {handle: value for value, handle in known.items()}

    @cached_property
    def secrets(self) -> Secrets | None:
        """Return the keys of inputs, None where they are not at hand. Raises LedgerBroken."""
        if self._state is None:
            return None
        keys = keyfile.load(DISK, secrets_path(self._state))
        return None if keys is None else Secrets(keys[0])

    @cached_property
    def _inputs(self) -> Inputs | None:
        return None if self._state is None else Inputs(inputs_path(self._state))

    @cached_property
    def _places(self) -> dict[str, Place]:
        return {} if self._inputs is None else dict(self._inputs.places())

    def side_object(self, digest: str) -> bytes | None:
        """Return a side object, None where it is gone. Raises OSError."""
        place = self._places.get(digest)
        if place is None or self._inputs is None:
            return None
        return self._inputs.at(digest, place)

    def unsealed(self, id: str, digest: str) -> bytes | None:
        """Return what was sealed for the record `id`, None where it or its key is gone."""
        sealed = self.side_object(digest) if self.secrets is not None else None
        if sealed is None or self.secrets is None:
            return None
        return self.secrets.unseal(id, sealed)

    def entity(self, revision: str, kind: str, name: str) -> tuple[Json] | None:
        """Return what entities of this revision say, in a tuple; None where they are not kept."""
        if revision not in self._entities:
            self._entities[revision] = self._table(revision)
        table = self._entities[revision]
        return None if table is None else (table.get(kind, {}).get(name),)

    def _table(self, revision: str) -> Table | None:
        name = f"{revision.removeprefix(_DIGEST)}.yaml"
        data = self._read("entities", name) if _is_digest(revision) else None
        if data is None or not hmac.compare_digest(sha256(data).hexdigest(), name[:-5]):
            return None
        try:
            return entities_table(name, data)
        except ConfigError:
            return None

    def bundle_files(self, digest: str) -> Mapping[str, bytes] | None:
        """Return the files of a bundle that was active, None where they are not kept."""
        name = f"{digest.removeprefix(_DIGEST)}.tar"
        data = self._read("bundles", name) if _is_digest(digest) else None
        try:
            files, manifest = unpack(name, data) if data is not None else ({}, None)
        except PolicyError:
            return None
        is_it = manifest is not None and hmac.compare_digest(manifest.digest, digest)
        return files if is_it else None

    def _read(self, *steps: str) -> bytes | None:
        try:
            return None if self._state is None else self._state.joinpath(*steps).read_bytes()
        except OSError:
            return None


def _is_digest(text: str) -> bool:
    hexadecimal = text.removeprefix(_DIGEST)
    return len(hexadecimal) == 64 and all(letter in "0123456789abcdef" for letter in hexadecimal)
