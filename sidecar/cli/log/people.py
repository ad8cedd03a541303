"""Who the persons in records are: handles joined with the table that stands beside the ledger.

Where the table or its key is not at hand (a copy that an auditor was given) and for who was
forgotten, the handle is what is shown.
"""

from pathlib import Path
from typing import Any

import orjson

from sidecar.record.persons import Persons, persons_paths
from sidecar.record.persons.names import HANDLE, MACHINES
from sidecar.terms.call import Json

_Stamp = tuple[int, int, int] | None


class People:
    """Names for handles; the table is read again when it has changed and a handle is unknown."""

    def __init__(self, state: Path) -> None:
        self._path, self._key_path = persons_paths(state)
        self._stamp: _Stamp = None
        self._ids: dict[str, str] = {}

    def line(self, record: bytes) -> bytes:
        """Return one record's JSON with names where handles stand."""
        if b"p_" not in record:
            return record
        return orjson.dumps(self.record(orjson.loads(record)), option=orjson.OPT_SORT_KEYS)

    def record(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return one record with names where handles stand."""
        told: dict[str, Any] = self._told(record)
        kept = told.get("input", {})
        if isinstance(kept, dict) and kept.get("text"):
            # A text of JSON inside of JSON: a name in it is escaped twice.
            text = self._told(orjson.loads(record["input"]["text"]))
            kept["text"] = orjson.dumps(text).decode()
        return told

    def _told(self, value: Json) -> Json:
        if isinstance(value, str):
            return HANDLE.sub(lambda found: self._id(found[0]), value) if "p_" in value else value
        if isinstance(value, dict):
            # A machine is named in clear: one that calls itself by a handle is not that person.
            kept = "id" if "id" in value and value.get("type") in MACHINES else None
            return {
                self._told(name): member if name == kept else self._told(member)
                for name, member in value.items()
            }
        if isinstance(value, list):
            return [self._told(member) for member in value]
        return value

    def _id(self, handle: str) -> str:
        if handle not in self._ids:
            self._read()
        return self._ids.get(handle, handle)

    def _read(self) -> None:
        stamp = self._seen()
        if stamp == self._stamp:
            return
        known = Persons.read(self._path, self._key_path).known
        self._ids = {handle: value.partition(":")[2] for value, handle in known.items()}
        self._stamp = stamp

    def _seen(self) -> _Stamp:
        try:
            seen = self._path.stat()
        except OSError:
            return None
        return seen.st_ino, seen.st_size, seen.st_mtime_ns


class Strangers(People):
    """Keeps handles, and every record to the byte."""

    def __init__(self) -> None:
        super().__init__(Path())

    def line(self, record: bytes) -> bytes:
        """Return it as it is."""
        return record

    def record(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return it as it is."""
        return record
