"""Reads PostgreSQL's own tree of a definition: what is made, changed or dropped.

An allow-list of statements, each with the action that it is and the class of it. Whatever relation
stands in the tree becomes a target, whether or not the catalogue lists it: one without a schema is
each that it may be. Columns of definitions are not told apart: a definition is of a whole table.
"""

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from sidecar.domains.data.catalogue import Relations, TableKey
from sidecar.domains.data.parse.access import Accesses
from sidecar.domains.data.parse.second import Seen
from sidecar.terms.call import Json
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason
from sidecar.terms.words import ActionClass

Node = dict[str, Json]

_OBJECTS: Final = {
    "OBJECT_TABLE": "table", "OBJECT_VIEW": "view", "OBJECT_MATVIEW": "materialized_view",
    "OBJECT_INDEX": "index", "OBJECT_SEQUENCE": "sequence", "OBJECT_SCHEMA": "schema",
    "OBJECT_COLUMN": "column", "OBJECT_TABCONSTRAINT": "constraint",
}  # fmt: skip
# A view is a relation like any other: reading one is a target `table:`, and so is defining it.
_TYPES: Final = {"index": "index", "sequence": "sequence", "schema": "schema"}
_ACCESS_SHARE: Final = 1
# Relations that are only pointed at: a foreign key tells whether a value is there.
_POINTED_AT: Final = ("pktable", "TableLikeClause")


class Defined(msgspec.Struct, frozen=True):
    """One thing that a definition is about."""

    action: str
    cls: ActionClass
    type: str
    schema: str
    name: str


class _Definition:
    """Collects what one statement defines."""

    def __init__(self, relations: Relations, accesses: Accesses) -> None:
        self.relations = relations
        self.accesses = accesses
        self.found: dict[Defined, None] = {}
        self.names: set[str] = set()
        self.kind = ""
        # The query inside.
        self.query: Json = None

    def relation(self, node: Node, cls: ActionClass = "admin", kind: str = "table") -> None:
        """Note a relation as the tree has it."""
        parts = [str(node[part]) for part in ("schemaname", "relname") if part in node]
        self.named(parts, cls, kind)

    def named(
        self, parts: list[str], cls: ActionClass = "admin", kind: str = "table", action: str = ""
    ) -> None:
        """Note what a name may be: that of each schema of the path where it says none."""
        if len(parts) not in (1, 2, 3):
            raise _unread("a name of this many parts")
        # A database before it is the one connected to, or PostgreSQL refuses the statement.
        parts = parts[-2:]
        self.names.update(parts)
        for key in self._keys(parts):
            one = Defined(
                action or self.kind, cls, _TYPES.get(kind, "table"), key.schema, key.table
            )
            self.found.setdefault(one)

    def schema(self, name: str) -> None:
        """Note a schema."""
        self.names.add(name)
        self.found.setdefault(Defined(self.kind, "admin", "schema", name, ""))

    def made(self, node: Node, *, is_new: bool = True) -> None:
        """Note a relation that is made: its name may hide no table nor type that is listed."""
        name = str(node["relname"])
        schema = str(node["schemaname"]) if "schemaname" in node else None
        if node.get("relpersistence") == "t":
            schema = "pg_temp"
            node = {**node, "schemaname": schema}
        own = schema if schema is not None else _first_of(self.accesses.search_path)
        if self.relations.would_hide(own, name, is_new=is_new or schema is not None):
            raise ParseError(reason("parse.ambiguous"), "a new name that hides a listed one")
        self.relation(node)
        if node.get("relpersistence") == "t" and schema == "pg_temp":
            self.names.discard(schema)

    def _keys(self, parts: list[str]) -> list[TableKey]:
        if len(parts) == 2:
            return [TableKey(*parts)]
        if parts[0].startswith("pg_"):
            return [TableKey("pg_catalog", parts[0])]
        path = [step for step in self.accesses.search_path if step != "pg_catalog"]
        listed = [TableKey(s, parts[0]) for s in path]
        known = [key for key in listed if key in self.relations.tables]
        found = known[:1] or listed
        if not found:
            raise ParseError(reason("parse.unknown_table"), "a relation without a schema")
        return found


def _first_of(path: tuple[str, ...]) -> str:
    return next((step for step in path if step != "pg_catalog"), "")


def define(
    seen: Seen, relations: Relations, accesses: Accesses
) -> tuple[str, tuple[Defined, ...], frozenset[str], Json]:
    """Return a statement's kind, what it defines, the names our scanner has to see, its query.

    Raises:
        ParseError: `parse.unsupported` for a statement that is not on the list.
    """
    root, node = next(iter(seen.tree["stmts"][0]["stmt"].items()))
    reader = _READERS.get(root)
    if reader is None:
        raise _unread("this statement")
    definition = _Definition(relations, accesses)
    reader(definition, node)
    query = definition.query
    return definition.kind, tuple(definition.found), frozenset(definition.names), query


def _inside(node: Json, under: str = "") -> Iterator[tuple[str, Node]]:
    """Yield each relation of a tree with the name of what it stands in; queries are not entered."""
    waiting: list[tuple[str, Json]] = [(under, node)]
    while waiting:
        name, one = waiting.pop()
        if isinstance(one, list):
            waiting.extend((name, child) for child in one)
        elif isinstance(one, dict):
            if "relname" in one:
                yield name, one
            waiting.extend(
                (key if key in _POINTED_AT or key == "RangeVar" else name, child)
                for key, child in one.items()
                if key not in ("query", "SelectStmt")
            )


def _every(definition: _Definition, node: Json, made: Node | None = None) -> None:
    """Note every relation of a definition, `made` apart."""
    for under, one in _inside(node):
        if one is made:
            continue
        if under in _POINTED_AT:
            parts = [str(one[part]) for part in ("schemaname", "relname") if part in one]
            definition.named(parts, "read", action="references")
        else:
            definition.relation(one)


def _create(definition: _Definition, node: Node) -> None:
    definition.kind = "create_table"
    definition.made(node["relation"])
    _every(definition, node, node["relation"])


def _create_as(definition: _Definition, node: Node) -> None:
    is_view = node["objtype"] == "OBJECT_MATVIEW"
    definition.kind = "create_materialized_view" if is_view else "create_table_as"
    definition.made(node["into"]["rel"])
    definition.query = node["query"]


def _view(definition: _Definition, node: Node) -> None:
    definition.kind = "create_view"
    definition.made(node["view"])
    definition.query = node["query"]


def _select(definition: _Definition, node: Node) -> None:
    branches = [node]
    while "larg" in branches[-1]:
        branches.append(branches[-1]["larg"])
    first = branches.pop()
    if "intoClause" not in first:
        raise _unread("this statement")
    definition.kind = "select_into"
    definition.made(first["intoClause"]["rel"])
    query = {name: value for name, value in first.items() if name != "intoClause"}
    for branch in reversed(branches):
        query = {**branch, "larg": query}
    definition.query = {"SelectStmt": query}


def _index(definition: _Definition, node: Node) -> None:
    definition.kind = "create_index"
    _every(definition, node)


def _create_schema(definition: _Definition, node: Node) -> None:
    definition.kind = "create_schema"
    if "schemaElts" in node or "schemaname" not in node:
        raise _unread("a schema made with what is in it")
    definition.schema(node["schemaname"])


def _of_sequence(kind: str) -> Callable[["_Definition", Node], None]:
    def read(definition: _Definition, node: Node) -> None:
        definition.kind = kind
        _sequence(definition, node)

    return read


def _sequence(definition: _Definition, node: Node) -> None:
    definition.relation(node["sequence"], kind="sequence")
    for option in node.get("options", ()):
        owner = option["DefElem"].get("arg", {}).get("List", {}).get("items")
        if option["DefElem"]["defname"] == "owned_by" and owner is not None:
            parts = _strings(owner)
            if parts != ["none"]:
                definition.named(parts[:-1])


def _object(name: str) -> str:
    kind = _OBJECTS.get(name)
    if kind is None:
        raise _unread("this kind of object")
    return kind


def _alter(definition: _Definition, node: Node) -> None:
    kind = _object(node["objtype"])
    definition.kind = f"alter_{kind}"
    definition.relation(node["relation"], kind=kind)
    _every(definition, node.get("cmds"))


def _rename(definition: _Definition, node: Node) -> None:
    kind = _object(node["renameType"])
    definition.kind = f"alter_{kind if kind not in ('column', 'constraint') else 'table'}"
    if kind == "schema":
        definition.schema(node["subname"])
        definition.schema(node["newname"])
        return
    old = node["relation"]
    definition.relation(old, kind=kind)
    if kind in ("table", "view", "materialized_view"):
        definition.made({**old, "relname": node["newname"]}, is_new=False)
    definition.names.add(node["newname"])


def _set_schema(definition: _Definition, node: Node) -> None:
    kind = _object(node["objectType"])
    if "relation" not in node:
        raise _unread("this kind of object")
    definition.kind = f"alter_{kind}"
    definition.relation(node["relation"], kind=kind)
    definition.made({**node["relation"], "schemaname": node["newschema"]})


def _drop(definition: _Definition, node: Node) -> None:
    kind = _object(node["removeType"])
    if kind in ("column", "constraint"):
        raise _unread("this kind of object")
    definition.kind = f"drop_{kind}"
    for one in node["objects"]:
        if kind == "schema":
            definition.schema(one["String"]["sval"])
        else:
            definition.named(_strings(one["List"]["items"]), kind=kind)


def _truncate(definition: _Definition, node: Node) -> None:
    definition.kind = "truncate"
    if node.get("behavior") == "DROP_CASCADE":
        raise _unread("TRUNCATE of whatever refers to a table")
    for one in node["relations"]:
        relation = one["RangeVar"]
        definition.relation(relation, "delete")
        for key in list(definition.found) if relation.get("inh") else ():
            table = definition.relations.tables.get(TableKey(key.schema, key.name))
            for child in table.children if table is not None else ():
                definition.found.setdefault(Defined("truncate", "delete", "table", *child))


def _grant(definition: _Definition, node: Node) -> None:
    definition.kind = "grant" if node.get("is_grant") else "revoke"
    kind = _object(node["objtype"])
    for one in node["objects"]:
        if "RangeVar" in one:
            definition.relation(one["RangeVar"], kind=kind)
        elif "String" in one and (kind == "schema" or node["targtype"] != "ACL_TARGET_OBJECT"):
            definition.schema(one["String"]["sval"])
        else:
            raise _unread("this kind of object")


def _comment(definition: _Definition, node: Node) -> None:
    kind = _object(node["objtype"])
    definition.kind = "comment"
    if kind == "schema":
        definition.schema(node["object"]["String"]["sval"])
        return
    parts = _strings(node["object"]["List"]["items"])
    definition.named(parts[:-1] if kind in ("column", "constraint") else parts, kind=kind)


def _of_relations(kind: str) -> Callable[[_Definition, Node], None]:
    def read(definition: _Definition, node: Node) -> None:
        definition.kind = kind
        _every(definition, node)
        if not definition.found:
            raise _unread("a statement for the whole database")

    return read


def _lock(definition: _Definition, node: Node) -> None:
    definition.kind = "lock"
    # ACCESS SHARE is what every SELECT takes: it holds up nobody but who would change the table.
    cls: ActionClass = "list" if node.get("mode") == _ACCESS_SHARE else "admin"
    for one in node["relations"]:
        definition.relation(one["RangeVar"], cls)


def _vacuum(definition: _Definition, node: Node) -> None:
    _of_relations("vacuum" if node.get("is_vacuumcmd") else "analyze")(definition, node)


def _channel(kind: str, cls: ActionClass) -> Callable[[_Definition, Node], None]:
    def read(definition: _Definition, node: Node) -> None:
        name = node["conditionname"]
        definition.kind = kind
        definition.names.add(name)
        definition.found.setdefault(Defined(kind, cls, "channel", "", name))

    return read


def _copy(definition: _Definition, node: Node) -> None:
    """Note what COPY reads or writes: columns, through this connection; never a file or program."""
    if "filename" in node or node.get("is_program") or "whereClause" in node:
        raise _unread("COPY with a file, a program or a condition")
    definition.kind = "copy_query" if "query" in node else "copy"
    if "query" in node:
        definition.query = node["query"]
        return
    relation = node["relation"]
    definition.names.update(str(relation[p]) for p in ("schemaname", "relname") if p in relation)
    accesses = definition.accesses
    table = accesses.find(relation.get("schemaname"), relation["relname"])
    verb = "insert" if node.get("is_from") else "select"
    accesses.touch(table.key, verb)
    listed = _strings(node.get("attlist", []))
    if not set(listed) <= set(table.columns):
        raise ParseError(reason("parse.unknown_column"), "a column that is not listed")
    for column in listed:
        accesses.column(table.key, column, verb)
    if not listed:
        accesses.star(table.key, tuple(table.columns), verb)


def _wraps(kind: str) -> Callable[[_Definition, Node], None]:
    def read(definition: _Definition, node: Node) -> None:
        definition.kind = kind
        definition.query = node["query"]

    return read


def _by_name(definition: _Definition, node: Node) -> None:
    """Note EXECUTE, FETCH and MOVE: what stands behind their name is read apart."""
    fetched = "move" if node.get("ismove") else "fetch"
    definition.kind = "execute" if "name" in node else fetched
    definition.names.add(node.get("name") or node["portalname"])


def _strings(items: Json) -> list[str]:
    return [str(item["String"]["sval"]) for item in items] if isinstance(items, list) else []


_READERS: Final[dict[str, Callable[[_Definition, Node], None]]] = {
    "CreateStmt": _create, "CreateTableAsStmt": _create_as, "ViewStmt": _view,
    "SelectStmt": _select, "IndexStmt": _index, "CreateSchemaStmt": _create_schema,
    "CreateSeqStmt": _of_sequence("create_sequence"),
    "AlterSeqStmt": _of_sequence("alter_sequence"), "AlterTableStmt": _alter,
    "RenameStmt": _rename, "AlterObjectSchemaStmt": _set_schema, "DropStmt": _drop,
    "TruncateStmt": _truncate, "GrantStmt": _grant, "CommentStmt": _comment,
    "LockStmt": _lock, "ReindexStmt": _of_relations("reindex"),
    "RefreshMatViewStmt": _of_relations("refresh"), "VacuumStmt": _vacuum, "CopyStmt": _copy,
    "ListenStmt": _channel("listen", "read"), "NotifyStmt": _channel("notify", "write"),
    "ExplainStmt": _wraps("explain"), "DeclareCursorStmt": _wraps("declare"),
    "PrepareStmt": _wraps("prepare"), "ExecuteStmt": _by_name, "FetchStmt": _by_name,
}  # fmt: skip


def _unread(what: str) -> ParseError:
    return ParseError(reason("parse.unsupported"), f"{what} is not read")
