"""Pulls a catalogue: the database's structure over a file's labels and comments."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from sidecar.runtime.catalog.fresh import fresh_spec
from sidecar.runtime.catalog.labels import Proposal, proposals, with_labels
from sidecar.runtime.catalog.merge import Change, changes, merged
from sidecar.runtime.catalog.read import Database
from sidecar.runtime.catalog.write import Comments, written
from sidecar.syntax.yaml12 import Document, load_documents
from sidecar.terms.call import Json
from sidecar.terms.errors import ConfigError, PolicyError

_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9-]+")
API: Final = "sidecar/v1"


class Pulled(msgspec.Struct, frozen=True):
    """What a pull would write, and how that differs from what stands there.

    Args:
        text: The whole file.
        changed: Between the file and the database.
        unread: Views of which no lineage is known: statements over them are refused.
        undeclared: Functions that nobody has said of what they touch: calls are refused.
        proposed: Labels that columns might carry.
    """

    text: str
    changed: list[Change]
    unread: list[str]
    undeclared: list[str]
    proposed: list[Proposal]


def pulled(
    database: Database,
    path: Path | None,
    schemas: Sequence[str] = (),
    upstream: str | None = None,
    *,
    labelled: bool = False,
) -> Pulled:
    """Return what to write of a database.

    Args:
        database: As read.
        path: The file so far, where there is one; else its name gives the catalogue's.
        schemas: Only these; all where none is named.
        upstream: For a catalogue that is new: whose statements it is for.
        labelled: Put the labels that are proposed on their columns.

    Raises:
        ConfigError: The file is no catalogue of SQL, or would be larger than a bundle's may be.
        PolicyError: The file is no YAML.
    """
    document, comments = _existing(path)
    spec: dict[str, Json] = (document.get("spec") or {}) if document else {}
    if upstream is not None:
        spec = {**spec, "upstream": upstream}
    fresh = fresh_spec(_of_schemas(database, schemas), spec.get("functions") or {})
    now = merged(spec, fresh)
    proposed = proposals(now)
    changed = changes(spec, now)
    if labelled:
        now = with_labels(now, proposed)
    whole = {**(document or _new(path)), "spec": now}
    return Pulled(
        _readable(whole, comments, path),
        changed,
        [name for name, said in _tables(now) if "lineage" in said],
        [
            n
            for n, said in now.get("functions", {}).items()
            if not {"reads", "writes"} & said.keys()
        ],
        proposed,
    )


def _readable(whole: dict[str, Json], comments: Comments, path: Path | None) -> str:
    """Return a catalogue's text, which a bundle can read again."""
    text = written(whole, comments)
    try:
        found = load_documents(str(path or "catalog.yaml"), text.encode())
    except PolicyError as error:
        said = "the catalogue would be too large to be read; pull schemas of it with --schema"
        raise ConfigError(f"{said}: {error}") from None
    assert [one.value for one in found] == [whole]
    return text


def _existing(path: Path | None) -> tuple[dict[str, Json] | None, Comments]:
    if path is None or not path.exists():
        return None, Comments()
    data = path.read_bytes()
    documents = load_documents(str(path), data)
    if len(documents) != 1 or not _is_catalogue(documents[0]):
        raise ConfigError(f"{path}: expected one document of `kind: Catalog`, `protocol: sql`")
    found = documents[0]
    return found.value, Comments.of(data.decode("utf-8"), found)


def _is_catalogue(document: Document) -> bool:
    value = document.value
    if not isinstance(value, dict) or value.get("kind") != "Catalog":
        return False
    spec = value.get("spec")
    return isinstance(spec, dict) and spec.get("protocol") == "sql"


def _new(path: Path | None) -> dict[str, Json]:
    name = _NOT_IN_NAMES.sub("-", path.stem.lower()).strip("-") if path is not None else ""
    return {"apiVersion": API, "kind": "Catalog", "metadata": {"name": name or "database"}}


def _of_schemas(database: Database, schemas: Sequence[str]) -> Database:
    """Return the part of a database that lies in these schemas."""
    if not schemas:
        return database
    return Database(
        database.server,
        {key: one for key, one in database.relations.items() if key[0] in schemas},
        {key: one for key, one in database.functions.items() if key[0] in schemas},
        {key: one for key, one in database.types.items() if key[0] in schemas},
    )


def _tables(spec: dict[str, Json]) -> list[tuple[str, dict[str, Json]]]:
    return [
        (f"{schema}.{table}", one)
        for schema, said in spec["schemas"].items()
        for table, one in (said.get("tables") or {}).items()
    ]
