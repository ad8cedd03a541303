"""Says whether a statement can tell of a row by failing: whether its conditions need a fence.

PostgreSQL evaluates conditions in the order of their cost, so one of the statement's may see rows
before a filter has taken them away. That shows where it can fail, or act, on a value: a division,
a cast, also one that nobody wrote (a `bigint` beside an `oid`), a function, an array, a query as a
value, a LIMIT that is made of a row.

An allow-list, in two halves: the clauses that a statement may have (here), and the conditions that
may stand in them (`condition`). What is shown of the rows that are left, columns and plain
aggregates of them, comes behind every filter of its own query. Nothing correlated is let through,
so that every column is found at its own level. All else is not quiet: it costs an index, no more.
"""

from collections.abc import Callable, Iterator
from typing import Final

from sidecar.domains.data.catalogue import Table
from sidecar.domains.data.enforce.rewriting.quiet.condition import (
    Level,
    Source,
    can_not_fail,
    pinned,
)
from sidecar.domains.data.enforce.rewriting.quiet.settled import is_settled
from sidecar.domains.data.enforce.rewriting.quiet.steady import is_steady
from sidecar.domains.data.enforce.rewriting.references import Node, each
from sidecar.terms.call import Json

Find = Callable[[str | None, str], Table | None]

_AGGREGATES: Final = frozenset(("count", "sum", "avg", "min", "max"))
_CALL: Final = frozenset(("funcname", "args", "agg_star", "agg_distinct", "funcformat", "location"))
_PLAIN: Final = frozenset(("ColumnRef", "A_Const", "ParamRef", "SetToDefault"))
_AROUND: Final = (
    "PrepareStmt", "DeclareCursorStmt", "CopyStmt", "CreateTableAsStmt", "ExplainStmt",
)  # fmt: skip
_SELECT: Final = frozenset((
    "targetList", "fromClause", "whereClause", "groupClause", "sortClause", "distinctClause",
    "limitCount", "limitOffset", "limitOption", "op", "all", "larg", "rarg", "valuesLists",
    "lockingClause", "intoClause", "withClause",
))  # fmt: skip
_INSERT: Final = frozenset((
    "relation", "cols", "selectStmt", "returningClause", "returningList", "override", "withClause",
    "onConflictClause",
))  # fmt: skip
_MERGE: Final = frozenset((
    "relation", "sourceRelation", "joinCondition", "mergeWhenClauses", "withClause",
))  # fmt: skip
_CHANGE: Final = frozenset((
    "relation", "targetList", "whereClause", "fromClause", "usingClause", "returningClause",
    "returningList", "withClause",
))  # fmt: skip


def pins_of(statements: Json, find: Find) -> list[Node] | None:
    """Return what is to be pinned in a statement that can tell of no row, None for any other.

    Nothing in it can fail, or act, on what a row holds once these parameters are `pinned`.

    Args:
        statements: PostgreSQL's tree.
        find: Returns the table of a name, by its schema or None.
    """
    walk = _Walk(statements, find)
    is_quiet = all(walk.statement(one["stmt"], is_outermost=True) for one in statements)
    return walk.pins if is_quiet else None


class _Walk:
    """Goes through the queries of a statement."""

    def __init__(self, statements: Json, find: Find) -> None:
        self.pins: list[Node] = []
        self._find = find
        self._ctes = {one["ctename"] for one in each(statements, "CommonTableExpr")}

    def statement(self, node: Node, *, is_outermost: bool = False) -> bool:
        """Return whether a statement is quiet."""
        ((kind, part),) = node.items()
        if kind in _AROUND:
            query = part.get("query")
            return query is None or self.statement(query, is_outermost=is_outermost)
        if kind == "SelectStmt":
            return self._select(part, is_outermost=is_outermost)
        if kind == "InsertStmt":
            return self._insert(part)
        if kind == "MergeStmt":
            return self._merge(part)
        return kind in ("UpdateStmt", "DeleteStmt") and self._change(part)

    def _select(self, part: Node, *, is_outermost: bool = False) -> bool:
        if not part.keys() <= _SELECT or not self._with(part):
            return False
        if not all(self._select(part[arm]) for arm in ("larg", "rarg") if arm in part):
            return False
        level = self._level(part.get("fromClause", []))
        return (
            level is not None
            and can_not_fail(part.get("whereClause"), level)
            and all(_is_shown(one) for one in _shown(part))
            and all(
                _is_bound(part[limit], is_outermost=is_outermost)
                for limit in ("limitCount", "limitOffset")
                if limit in part
            )
        )

    def _insert(self, part: Node) -> bool:
        conflict = part.get("onConflictClause", {})
        return (
            part.keys() <= _INSERT
            and self._with(part)
            and ("selectStmt" not in part or self.statement(part["selectStmt"]))
            and "whereClause" not in conflict
            and "whereClause" not in conflict.get("infer", {})
            and all(_is_shown(one) for one in [*_shown(part), *_shown(conflict)])
        )

    def _change(self, part: Node) -> bool:
        others = [*part.get("fromClause", []), *part.get("usingClause", [])]
        level = self._level([{"RangeVar": part["relation"]}, *others])
        return (
            part.keys() <= _CHANGE
            and self._with(part)
            and level is not None
            and can_not_fail(part.get("whereClause"), level)
            and all(_is_shown(one) for one in _shown(part))
        )

    def _merge(self, part: Node) -> bool:
        """Return whether a MERGE is quiet: what its WHEN ask and make comes behind the join."""
        level = self._level([{"RangeVar": part["relation"]}, part["sourceRelation"]])
        return (
            part.keys() <= _MERGE
            and self._with(part)
            and level is not None
            and can_not_fail(part["joinCondition"], level)
            and not any(True for _ in each(part["mergeWhenClauses"], "SubLink"))
        )

    def _with(self, part: Node) -> bool:
        clause = part.get("withClause", {})
        return not clause.get("recursive") and all(
            self.statement(one["CommonTableExpr"]["ctequery"]) for one in clause.get("ctes", ())
        )

    def _level(self, items: list[Node]) -> Level | None:
        """Return what the FROM of a query has, None where it is not quiet itself."""
        joins: list[Node] = []
        sources: list[Source] = []
        waiting = list(items)
        while waiting:
            ((kind, part),) = waiting.pop().items()
            if kind == "JoinExpr" and not part.keys() & {"alias", "isNatural"}:
                joins.append(part)
                waiting += [part["larg"], part["rarg"]]
                continue
            source = self._source(kind, part)
            if source is None:
                return None
            sources.append(source)
        level = Level(tuple(sources), self.pins)
        return level if all(_is_quiet_join(one, level) for one in joins) else None

    def _source(self, kind: str, part: Node) -> Source | None:
        name = part.get("alias", {}).get("aliasname")
        if kind == "RangeSubselect" and not part.get("lateral"):
            return Source(name, None) if self.statement(part["subquery"]) else None
        if kind != "RangeVar":
            return None
        return self._table(part, name)

    def _table(self, part: Node, alias: str | None) -> Source:
        schema, name = part.get("schemaname"), part["relname"]
        if "colnames" in part.get("alias", {}) or (schema is None and name in self._ctes):
            return Source(alias or name, None)
        table = self._find(schema, name)
        if table is not None and (table.shows or table.reads or table.definition):
            # What a view's column is made of may fail.
            table = None
        if alias is not None:
            return Source(alias, table)
        return Source(name, table, table.key.schema if table is not None else None)


def _is_quiet_join(part: Node, level: Level) -> bool:
    merged = [name["String"]["sval"] for name in part.get("usingClause", ())]
    return all(level.is_comparable(name) for name in merged) and can_not_fail(
        part.get("quals"), level
    )


def _shown(part: Node) -> Iterator[Node]:
    """Yield the expressions that are evaluated of the rows that are left."""
    lists = ("targetList", "groupClause", "sortClause", "distinctClause", "returningList")
    for name in lists:
        yield from part.get(name, ())
    yield from part.get("returningClause", {}).get("exprs", ())
    for row in part.get("valuesLists", ()):
        yield from row["List"]["items"]


def _is_shown(node: Node) -> bool:
    if not node:
        # DISTINCT without ON.
        return True
    ((kind, part),) = node.items()
    if kind == "ResTarget":
        return "indirection" not in part and _is_shown(part["val"])
    if kind == "SortBy":
        return "useOp" not in part and _is_shown(part["node"])
    if kind == "FuncCall":
        names = [name["String"]["sval"] for name in part["funcname"]]
        is_plain = part.keys() <= _CALL and names[:-1] in ([], ["pg_catalog"])
        arguments = part.get("args", ())
        return is_plain and names[-1] in _AGGREGATES and all("ColumnRef" in x for x in arguments)
    return kind in _PLAIN


def _is_bound(node: Node, *, is_outermost: bool) -> bool:
    """Return whether a LIMIT or OFFSET is a number, which the outermost may learn later."""
    if "ParamRef" in node:
        return is_outermost
    constant: Node = node.get("A_Const", {})
    return bool(constant.get("isnull")) or constant.get("ival", {"ival": -1}).get("ival", 0) >= 0


__all__ = [
    "Find",
    "Level",
    "Source",
    "can_not_fail",
    "is_settled",
    "is_steady",
    "pinned",
    "pins_of",
]
