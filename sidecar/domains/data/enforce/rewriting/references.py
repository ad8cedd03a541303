"""Finds where a statement names tables, in PostgreSQL's tree: which are CTEs, which are written.

Names of CTEs are in sight as PostgreSQL has it: of those behind them in their WITH (all of them
where it is RECURSIVE) and of the whole statement that the WITH belongs to; never with a schema,
never as what is changed.

Source: PostgreSQL manual, §7.8 WITH Queries.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from sidecar.terms.call import Json

_CHANGES: Final = {
    "InsertStmt": "insert", "UpdateStmt": "update", "DeleteStmt": "delete", "MergeStmt": "merge",
}  # fmt: skip
# Where the items beside the table stand that is changed.
SOURCES_OF_CHANGES: Final = {
    "update": "fromClause", "delete": "usingClause", "merge": "sourceRelation",
}  # fmt: skip
# Relations of a locking clause are aliases; those of INTO are made, not read.
_SKIPPED: Final = frozenset(("lockingClause", "intoClause", "into"))

Node = dict[str, Json]


class Reference(NamedTuple):
    """One place where a table is named.

    Args:
        role: read, insert, update, delete, merge; copy and copy_from for COPY.
        node: The RangeVar: `relname`, `schemaname`, `inh`, `alias`, `location`.
        body: Of what changes data the statement, of a read the SELECT whose FROM it stands in.
        sample: It has a TABLESAMPLE.
    """

    role: str
    node: Node
    body: Node
    sample: bool = False

    @property
    def name(self) -> str:
        """Return the table's name."""
        return str(self.node["relname"])

    @property
    def schema(self) -> str | None:
        """Return the schema, None where it is not named."""
        return self.node.get("schemaname")

    @property
    def alias(self) -> str | None:
        """Return the alias."""
        named: Node = self.node.get("alias", {})
        return named.get("aliasname")

    @property
    def width(self) -> int:
        """Return how many columns the alias names."""
        return len(self.node.get("alias", {}).get("colnames", ()))


def references(tree: Json) -> list[Reference]:
    """Return every reference in a tree, in no order.

    The one query of `SET (a, b) = (SELECT …)` stands in the tree once for each column.
    """
    found = _walk(tree, frozenset(), {})
    return list({one.node.get("location", 0): one for one in found}.values())


def beside(changed: Reference) -> Iterator[tuple[str, Node]]:
    """Yield the items that can be named beside a table that is changed, each with its name."""
    found = changed.body.get(SOURCES_OF_CHANGES[changed.role], [])
    waiting = list(found) if isinstance(found, list) else [found]
    while waiting:
        ((kind, node),) = waiting.pop().items()
        if kind == "RangeTableSample":
            waiting.append(node["relation"])
            continue
        named = node.get("alias", {}).get("aliasname") or node.get("relname")
        if kind == "JoinExpr" and named is None:
            waiting += [node["larg"], node["rarg"]]
            named = node.get("join_using_alias", {}).get("aliasname")
        yield named or "", node


def nodes(node: Json) -> Iterator[Node]:
    """Yield every node, at any depth."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, dict):
            yield one
            waiting.extend(one.values())


def each(node: Json, kind: str) -> Iterator[Node]:
    """Yield every node of a kind, at any depth."""
    for one in nodes(node):
        if kind in one:
            yield one[kind]


def _walk(node: Json, ctes: frozenset[str], level: Node) -> Iterator[Reference]:
    if isinstance(node, list):
        for part in node:
            yield from _walk(part, ctes, level)
        return
    if not isinstance(node, dict):
        return
    if "limitOption" in node:
        level = node
    if "withClause" in node:
        inside = _in_sight(node["withClause"], ctes)
        yield from _bodies(node["withClause"], ctes, level)
        ctes = inside
    for kind, part in node.items():
        if kind not in _SKIPPED and kind != "withClause":
            yield from _part(kind, part, ctes, level)


def _part(kind: str, part: Json, ctes: frozenset[str], level: Node) -> Iterator[Reference]:
    if kind == "RangeVar":
        if "schemaname" in part or part["relname"] not in ctes:
            yield Reference("read", part, level)
    elif kind == "RangeTableSample":
        if "RangeVar" in part["relation"]:
            yield Reference("read", part["relation"]["RangeVar"], level, sample=True)
        yield from _walk([part.get("args"), part.get("repeatable")], ctes, level)
    elif kind in _CHANGES:
        yield Reference(_CHANGES[kind], part["relation"], part)
        rest = {name: child for name, child in part.items() if name != "relation"}
        yield from _walk(rest, ctes, level)
    elif kind == "CopyStmt":
        if "relation" in part:
            yield Reference("copy_from" if part.get("is_from") else "copy", part["relation"], part)
        yield from _walk(part.get("query"), ctes, level)
    else:
        yield from _walk(part, ctes, level)


def _bodies(clause: Node, ctes: frozenset[str], level: Node) -> Iterator[Reference]:
    """Walk the queries of a WITH, each with what it sees."""
    if clause.get("recursive"):
        ctes = _in_sight(clause, ctes)
    for cte in clause["ctes"]:
        body = cte["CommonTableExpr"]
        yield from _walk(body["ctequery"], ctes, level)
        ctes |= {body["ctename"]}


def _in_sight(clause: Node, ctes: frozenset[str]) -> frozenset[str]:
    return ctes | {cte["CommonTableExpr"]["ctename"] for cte in clause["ctes"]}
