"""Notes the columns that a definition looks at in every row, and tells of by failing.

A CHECK, a UNIQUE key, NOT NULL, another type or an index over an expression is tried on all rows
that are there: that it cannot be made is a bit of what they hold, and a generated column holds what
it is made of. So each column in it is read, as a condition, whatever is done to the table.

A name that the table does not have is one that the same statement makes, or it is refused: it may
be a column that the catalogue does not list yet.
"""

from collections.abc import Collection, Iterator
from typing import Final

from sidecar.domains.data.catalogue import Table
from sidecar.domains.data.parse.access import Accesses
from sidecar.terms.call import Json
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

Node = dict[str, Json]

_KEYS: Final = ("keys", "fk_attrs", "including")
_OF_A_COLUMN: Final = ("AT_SetNotNull", "AT_AlterColumnType")
_WHOLE: Final = "*"


def note_checked(tree: Json, accesses: Accesses) -> None:
    """Note what ALTER TABLE, CREATE INDEX and new partitions look at."""
    root, node = next(iter(tree["stmts"][0]["stmt"].items()))
    before = accesses.turn_to("predicate")
    if root in ("AlterTableStmt", "IndexStmt"):
        _note(node["relation"], _names(node), accesses, _made(node))
    for one in _each(node, "Constraint"):
        if "pktable" in one:
            _note(one["pktable"], _strings(one.get("pk_attrs")), accesses)
    for one in _each(node, "PartitionCmd"):
        # Its rows have to be within the bounds of the new partition.
        _note(one["name"], [_WHOLE], accesses)
    if root == "CreateStmt" and "partbound" in node:
        # Those of the default partition have to be without.
        for parent in node.get("inhRelations", ()):
            _note(parent["RangeVar"], [_WHOLE], accesses)
    accesses.uses = before


def _note(relation: Node, names: list[str], accesses: Accesses, made: Collection[str] = ()) -> None:
    try:
        table = accesses.find(relation.get("schemaname"), relation["relname"])
    except ParseError:
        # What is not listed has no labels; the definition itself is a target.
        return
    if not {*table.columns, *made, *table.key, _WHOLE, ""}.issuperset(names):
        raise ParseError(reason("parse.unknown_column"), "a column that is not listed")
    for one in (table, *(accesses.table(key) for key in table.children)):
        _note_columns(one, names, accesses)


def _note_columns(table: Table, names: list[str], accesses: Accesses) -> None:
    if _WHOLE in names or table.key.table in names:
        accesses.whole_row(table.key)
    for name in names:
        if name in table.columns:
            accesses.column(table.key, name)


def _made(node: Node) -> set[str]:
    """Return the columns that are not there yet; with IF NOT EXISTS one may be."""
    added = (one for one in _each(node, "AlterTableCmd") if not one.get("missing_ok"))
    return {made.get("colname", "") for one in added for made in _each(one, "ColumnDef")}


def _names(node: Node) -> list[str]:
    """Return the names of the columns that a definition looks at; `*` for all."""
    found: list[str] = []
    for one in _each(node, "ColumnRef"):
        found += [part.get("String", {}).get("sval", _WHOLE) for part in one["fields"]]
    for one in _each(node, "Constraint"):
        found += [name for part in _KEYS for name in _strings(one.get(part))]
    is_plain_index = "indexParams" in node and not node.get("unique")
    for one in () if is_plain_index else _each(node, "IndexElem"):
        found.append(one.get("name", ""))
    for one in _each(node, "AlterTableCmd"):
        if one.get("subtype") in _OF_A_COLUMN:
            found.append(one["name"])
    return found


def _strings(items: Json) -> list[str]:
    return [item["String"]["sval"] for item in items or ()]


def _each(node: Json, kind: str) -> Iterator[Node]:
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, dict):
            if kind in one:
                yield one[kind]
            waiting.extend(one.values())
