"""Records as rows of a table: CSV for spreadsheets, Parquet for analysis.

A row is a reading of a record; what proves something is the record's bytes, which Parquet has in
its column `record`, and to which `leaf_hash` and `seq` lead back.
"""

import csv
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson

COLUMNS: Final = (
    "seq", "time", "kind", "id", "parent", "outcome", "reason", "event", "subject", "actors",
    "listener", "protocol", "phase", "upstream", "targets", "rules", "bundle", "version", "digest",
    "message", "leaf_hash",
)  # fmt: skip
_ROWS_AT_ONCE: Final = 5_000
# What a spreadsheet takes for a formula (OWASP, CSV Injection); and their full-width forms.
_COMPUTED: Final = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
Join = Callable[[bytes], bytes]


class Csv:
    """Writes a row a record."""

    def __init__(self, path: Path, join: Join) -> None:
        self._join = join
        self._file = path.open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file)
        self._rows.writerow(COLUMNS)

    def add(self, seq: int, leaf: bytes, record: bytes) -> None:
        """Take one record."""
        row = row_of(orjson.loads(self._join(record)), leaf)
        self._rows.writerow([seq, *(escaped(row[name]) for name in COLUMNS[1:])])

    def close(self) -> None:
        """Take no more."""
        self._file.close()


class Parquet:
    """Writes rows some thousands at a time; ImportError where pyarrow is absent."""

    def __init__(self, path: Path, join: Join) -> None:
        self._join = join
        self._arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
        text = [(name, self._arrow.string()) for name in COLUMNS[1:-1]]
        binary = [(name, self._arrow.binary()) for name in ("leaf_hash", "record")]
        self._schema = self._arrow.schema([("seq", self._arrow.int64()), *text, *binary])
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._waiting: list[dict[str, Any]] = []

    def add(self, seq: int, leaf: bytes, record: bytes) -> None:
        """Take one record."""
        row: dict[str, Any] = dict(row_of(orjson.loads(self._join(record)), leaf))
        row |= {"seq": seq, "leaf_hash": leaf, "record": record}
        self._waiting.append(row)
        if len(self._waiting) == _ROWS_AT_ONCE:
            self._put()

    def close(self) -> None:
        """Write the rest and the end of the file."""
        if self._waiting:
            self._put()
        self._writer.close()

    def _put(self) -> None:
        self._writer.write_table(self._arrow.Table.from_pylist(self._waiting, schema=self._schema))
        self._waiting.clear()


def escaped(text: str) -> str:
    """Return a cell that no spreadsheet computes."""
    return f"'{text}" if text.startswith(_COMPUTED) else text


def row_of(record: dict[str, Any], leaf: bytes) -> dict[str, str]:
    """Return the cells of one record, by column; the number is the caller's."""
    policy = record.get("policy", {})
    row = {name: str(record.get(name, "")) for name in COLUMNS[1:]}
    return row | {
        "outcome": str(record.get("outcome") or record.get("result", "")),
        "subject": _party(record.get("subject")),
        "actors": " ".join(map(_party, record.get("actors", []))),
        "targets": "\n".join(
            f"{one['outcome']} {one['action']} {one['resource']}"
            for one in record.get("targets", [])
        ),
        "rules": " ".join(
            f"{one['policy']}/{one['id']}:{one['effect']}:{one['status']}"
            for one in record.get("rules", [])
        ),
        "bundle": str(policy.get("bundle", "")),
        "version": str(policy.get("version", "")),
        "digest": str(policy.get("digest", "")),
        "leaf_hash": leaf.hex(),
    }


def _party(party: dict[str, str] | None) -> str:
    return "" if party is None else f"{party['type']}:{party['id']}"
