"""Makes a catalogue's `spec` of what a database has, with the lineage of its views."""

import hashlib
from collections.abc import Mapping
from typing import Final

from sidecar.domains.data.catalogue import Relations, TableKey, compile_catalogue
from sidecar.domains.data.limits import VIEW_CHARS_MAX
from sidecar.domains.data.parse.other.lineage import Lineage, lineage
from sidecar.runtime.catalog.read import Database, Form, Relation
from sidecar.runtime.catalog.types import judge, types_spec
from sidecar.terms.call import Json
from sidecar.terms.domain import CatalogueFile
from sidecar.terms.errors import PolicyError

_KINDS: Final = {
    "p": "partitioned_table", "v": "view", "m": "materialized_view", "f": "foreign_table",
}  # fmt: skip
_FORMS: Final = {"p": "procedure", "a": "aggregate", "w": "window"}
_VOLATILITY: Final = {"i": "immutable", "s": "stable", "v": "volatile"}
_DIGEST_CHARS: Final = 16

Spec = dict[str, Json]


def fresh_spec(database: Database, declared: Mapping[str, Json]) -> Spec:
    """Return what a catalogue says of this database, without anything that people add.

    Args:
        database: As read.
        declared: `functions` of the catalogue so far, for views that call them.
    """
    schemas: Spec = {}
    for (schema, name), relation in database.relations.items():
        said = schemas.setdefault(schema, {})
        if relation.kind == "S":
            said.setdefault("sequences", []).append(name)
        else:
            said.setdefault("tables", {})[name] = _table(relation, database)
    spec: Spec = {"protocol": "sql", "dialect": "postgres", "server": database.server}
    spec["schemas"] = {
        name: {part: said[part] for part in ("tables", "sequences") if part in said}
        for name, said in schemas.items()
    }
    if database.functions:
        spec["functions"] = {
            f"{schema}.{name}": {"forms": [_form(form) for form in forms]}
            for (schema, name), forms in database.functions.items()
            if _is_nameable(schema, name)
        }
    if database.types:
        named = {key: own for key, own in database.types.items() if _is_nameable(*key)}
        spec["types"] = types_spec(named)
        # A domain over another one waits for that.
        while judge(spec["types"], named, _compiled(spec)):
            pass
    _add_lineage(spec, database, declared)
    return spec


def _table(relation: Relation, database: Database) -> Spec:
    said: Spec = {"kind": _KINDS[relation.kind]} if relation.kind in _KINDS else {}
    known = [key for key in relation.parents if key in database.relations]
    parents = [f"{schema}.{name}" for schema, name in known if _is_nameable(schema, name)]
    if parents:
        said["inherits"] = parents
    said["columns"] = {name: {"type": kind} for name, kind in relation.columns.items()}
    for name in relation.generated:
        said["columns"][name]["generated"] = True
    return said


def _form(form: Form) -> Spec:
    said: Spec = {"arguments": form.arguments, "returns": form.returns}
    if len(form.columns) > 1 and form.kind == "f":
        said["columns"] = list(form.columns)
    if form.kind in _FORMS:
        said["kind"] = _FORMS[form.kind]
    said["volatility"] = _VOLATILITY[form.volatility]
    if form.is_leakproof:
        said["leakproof"] = True
    if form.is_definer:
        said["security_definer"] = True
    return said


def definition(query: str) -> str:
    """Return the digest by which a view's query is told from another."""
    return hashlib.sha256(query.encode()).hexdigest()[:_DIGEST_CHARS]


def _add_lineage(spec: Spec, database: Database, declared: Mapping[str, Json]) -> None:
    """Say of each view what its columns show and what it reads, or that it is not known."""
    views = {k: r for k, r in database.relations.items() if r.query is not None}
    if not views:
        return
    touching = {name: said for name, said in declared.items() if {"reads", "writes"} & said.keys()}
    known = {**spec, "functions": {**spec.get("functions", {}), **touching}}
    try:
        relations = _compiled(known)
    except PolicyError:
        # What functions were said to touch is no longer there; the views that call them wait.
        relations = _compiled(spec)
    for (schema, name), view in views.items():
        said = spec["schemas"][schema]["tables"][name]
        assert view.query is not None
        found = lineage(view.query, relations)
        said["definition"] = definition(view.query)
        _add_lines(said, view, _lines(view, found) if found is not None else None)


def _compiled(spec: Spec) -> Relations:
    return compile_catalogue([CatalogueFile("", spec, {}, {})]).relations("")


def _add_lines(said: Spec, view: Relation, lines: tuple[list[list[str]], list[str]] | None) -> None:
    """Say what a view shows, reads and is, or that it is not known."""
    if lines is None:
        said["lineage"] = "unknown"
        return
    shows, reads = lines
    if view.kind == "v" and len(view.query or "") <= VIEW_CHARS_MAX:
        said["query"] = view.query
    if reads:
        said["reads"] = reads
    for column, shown in zip(said["columns"].values(), shows, strict=True):
        if shown:
            column["shows"] = shown


def _lines(view: Relation, found: Lineage) -> tuple[list[list[str]], list[str]] | None:
    """Return a view's lineage as a catalogue has it; None where PostgreSQL knows of more.

    It knows the columns that a view needs, but not that a whole row stands in it; our reading
    knows that and might be wrong: only what satisfies both is believed.
    """
    tables = {key for columns in found.shows for key, _ in columns} | {k for k, _ in found.reads}
    columns = {one for shown in found.shows for one in shown} | set(found.reads)
    for key, column in view.needs:
        table = TableKey(*key)
        if table not in tables or (column is not None and (table, column) not in columns):
            return None
    if len(found.shows) != len(view.columns):
        return None
    named = [*(k for k, _ in columns), *tables]
    if not all(_is_nameable(*key) for key in named):
        return None
    shows = [[_name(key, column) for key, column in shown] for shown in found.shows]
    return shows, [_name(key, column) for key, column in found.reads]


def _name(key: TableKey, column: str | None) -> str:
    return ".".join((*key, column) if column is not None else key)


def _is_nameable(*parts: str) -> bool:
    """Return whether a catalogue can name it: its parts are told apart by dots."""
    return all(part and "." not in part for part in parts)
