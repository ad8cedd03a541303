"""Reads the statements that change data: INSERT, UPDATE, DELETE, MERGE.

The table changed is never a CTE and never in sight of the items of FROM or USING beside it.
"""

from collections.abc import Sequence
from typing import Final

from sqlglot import exp

from sidecar.domains.data.parse.access import Accesses
from sidecar.domains.data.parse.nodes import check, name_of, unread
from sidecar.domains.data.parse.query import Queries, alias_of, bare_name, first_name, plain
from sidecar.domains.data.parse.scope import Column, Item, Relation, Scope, read_star
from sidecar.domains.data.parse.sources import Sources
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

_TARGET: Final = frozenset(("this", "db", "catalog", "alias", "only", "joins"))
_INSERT: Final = frozenset(("this", "expression", "conflict", "returning", "with_", "default"))
_UPDATE: Final = frozenset(("this", "expressions", "from_", "where", "returning", "with_"))
_DELETE: Final = frozenset(("this", "using", "where", "returning", "with_"))
_MERGE: Final = frozenset(("this", "using", "on", "whens", "with_", "returning"))
_WHEN: Final = frozenset(("matched", "source", "condition", "then"))
_CONFLICT: Final = frozenset((
    "conflict_keys", "index_predicate", "constraint", "action", "expressions", "where",
))  # fmt: skip


class Changes:
    """Reads data-changing statements into `accesses`."""

    def __init__(self, accesses: Accesses, queries: Queries, sources: Sources) -> None:
        self._accesses = accesses
        self._queries = queries
        self._sources = sources

    def change(self, node: exp.Expression, scope: Scope) -> tuple[Column, ...]:
        """Note what the statement does; return the columns of its RETURNING."""
        scope = self._queries.with_clause(node, scope)
        if isinstance(node, exp.Insert):
            return self._insert(node, scope)
        if isinstance(node, exp.Update):
            return self._update(node, scope)
        if isinstance(node, exp.Delete):
            return self._delete(node, scope)
        if isinstance(node, exp.Merge):
            return self._merge(node, scope)
        raise unread()

    def _target(self, node: object, verb: str) -> Relation:
        if not isinstance(node, exp.Table):
            raise unread()
        check(node, _TARGET)
        if node.args.get("joins"):
            raise unread()
        name, names = alias_of(node)
        if names:
            raise unread()
        self._accesses.verbs.setdefault(verb)
        # MERGE writes whatever its branches say, and locks rows even when they say nothing.
        return self._sources.base(node, name, (), "update" if verb == "merge" else verb)

    def _insert(self, node: exp.Insert, scope: Scope) -> tuple[Column, ...]:
        check(node, _INSERT)
        listed: list[str] | None = None
        target = node.this
        if isinstance(target, exp.Schema):
            check(target, frozenset(("this", "expressions")))
            listed = [name_of(column) for column in target.expressions]
            target = target.this
        relation = self._target(target, "insert")
        width = 0
        if node.args.get("expression") is not None:
            width = len(self._queries.query(node.expression, scope))
        elif not node.args.get("default"):
            raise unread()
        if listed is None:
            self._write_first(relation, width, is_default=bool(node.args.get("default")))
        else:
            self._write(relation, listed, "insert")
        if node.args.get("conflict") is not None:
            self._conflict(node.args["conflict"], relation, scope)
        return self._returning(node, scope.below((relation,)), Item((relation,), relation.columns))

    def _write_first(self, relation: Relation, width: int, *, is_default: bool) -> None:
        """Note an INSERT without a column list: it fills the first columns."""
        assert relation.table is not None
        if not is_default:
            # A call in FROM may have more columns than are known.
            is_known = width and not self._accesses.has_calls
            for column in relation.columns[:width] if is_known else relation.columns:
                for key, name in column.bases:
                    self._accesses.star(key, (name,), "insert")

    def _write(self, relation: Relation, names: Sequence[str], verb: str) -> None:
        assert relation.table is not None
        for name in names:
            if name not in relation.row:
                raise ParseError(
                    reason("parse.unknown_column"), "a column to write that is not listed"
                )
            for key, base in (base for column in relation.named(name) for base in column.bases):
                self._accesses.column(key, base, verb)

    def _conflict(self, node: exp.OnConflict, relation: Relation, scope: Scope) -> None:
        check(node, _CONFLICT)
        action = str(node.args.get("action")).upper()
        level = scope.below((relation,))
        for key in node.args.get("conflict_keys") or ():
            check(key, frozenset(("this", "desc", "nulls_first")))
            self._queries.reader.read_for("predicate", key.this, level)
        if node.args.get("constraint") is not None:
            # The constraint's columns are not known: it may be any of them.
            name_of(node.args["constraint"])
            read_star(relation.columns, self._accesses)
        if node.args.get("index_predicate") is not None:
            self._queries.reader.read_for("predicate", node.args["index_predicate"], level)
        if action == "DO NOTHING":
            return
        if action != "DO UPDATE":
            raise unread()
        self._accesses.verbs.setdefault("update")
        assert relation.table is not None
        self._accesses.touch(relation.table, "update")
        excluded = Relation("excluded", relation.columns, relation.table)
        both = scope.below((relation, excluded))
        self._assign(node.expressions, relation, both)
        self._where(node, both)

    def _assign(
        self, assignments: Sequence[exp.Expression], relation: Relation, level: Scope
    ) -> None:
        for assignment in assignments:
            if not isinstance(assignment, exp.EQ):
                raise unread()
            check(assignment, frozenset(("this", "expression")))
            to = assignment.this
            if isinstance(to, exp.Paren):
                to = exp.Tuple(expressions=[to.this])
            columns = to.expressions if isinstance(to, exp.Tuple) else [to]
            # `SET a.b = …` writes the field b of the column a: no table may stand there.
            names = [first_name(column) for column in columns]
            self._write(relation, [name for name in names if name is not None], "update")
            if None in names:
                raise unread()
            self._queries.reader.read(assignment.expression, level)

    def _update(self, node: exp.Update, scope: Scope) -> tuple[Column, ...]:
        check(node, _UPDATE)
        relation = self._target(node.this, "update")
        others = self._sources.from_clause(node, scope)
        everything = _with(relation, others)
        level = scope.below(everything.relations)
        self._assign(node.expressions, relation, level)
        self._where(node, level)
        return self._returning(node, level, everything)

    def _delete(self, node: exp.Delete, scope: Scope) -> tuple[Column, ...]:
        check(node, _DELETE)
        relation = self._target(node.this, "delete")
        everything = _with(relation, self._sources.using(node.args.get("using") or (), scope))
        level = scope.below(everything.relations)
        self._where(node, level)
        return self._returning(node, level, everything)

    def _merge(self, node: exp.Merge, scope: Scope) -> tuple[Column, ...]:
        check(node, _MERGE)
        relation = self._target(node.this, "merge")
        everything = _with(relation, self._sources.items([node.args["using"]], (), scope))
        level = scope.below(everything.relations)
        self._queries.reader.read_for("join", node.args["on"], level)
        check(node.args["whens"], frozenset(("expressions",)))
        for when in node.args["whens"].expressions:
            self._when(when, relation, level)
        return self._returning(node, level, everything)

    def _when(self, node: exp.When, relation: Relation, level: Scope) -> None:
        check(node, _WHEN)
        assert relation.table is not None
        if node.args.get("condition") is not None:
            self._queries.reader.read_for("predicate", node.args["condition"], level)
        then = node.args.get("then")
        if isinstance(then, exp.Update):
            check(then, frozenset(("expressions",)))
            self._note(relation, "update")
            self._assign(then.expressions, relation, level)
        elif isinstance(then, exp.Insert):
            self._when_insert(then, relation, level)
        elif isinstance(then, exp.Var) and str(then.this).upper() == "DELETE":
            self._note(relation, "delete")
        elif not isinstance(then, exp.Var) or str(then.this).upper() != "DO NOTHING":
            raise unread()

    def _when_insert(self, node: exp.Insert, relation: Relation, level: Scope) -> None:
        check(node, frozenset(("this", "expression")))
        self._note(relation, "insert")
        if not isinstance(node.expression, exp.Tuple):
            raise unread()
        if node.this is None:
            self._write_first(relation, len(node.expression.expressions), is_default=False)
            for value in node.expression.expressions:
                self._queries.reader.read(value, level)
            return
        if not isinstance(node.this, exp.Tuple):
            raise unread()
        names = [bare_name(column) for column in node.this.expressions]
        self._write(relation, [name for name in names if name is not None], "insert")
        if None in names:
            raise unread()
        for value in node.expression.expressions:
            self._queries.reader.read(value, level)

    def _note(self, relation: Relation, verb: str) -> None:
        assert relation.table is not None
        self._accesses.verbs.setdefault(verb)
        self._accesses.touch(relation.table, verb)

    def _where(self, node: exp.Expression, level: Scope) -> None:
        where = node.args.get("where")
        if where is not None:
            check(where, frozenset(("this",)))
            self._queries.reader.read_for("predicate", where.this, level)

    def _returning(self, node: exp.Expression, level: Scope, item: Item) -> tuple[Column, ...]:
        returning = node.args.get("returning")
        if returning is None:
            return ()
        check(returning, frozenset(("expressions",)))
        before, self._accesses.use = self._accesses.use, "returning"
        columns = plain(self._queries.outputs(returning.expressions, item, level))
        self._accesses.use = before
        return columns


def _with(relation: Relation, others: Item) -> Item:
    return Item((relation, *others.relations), (*relation.columns, *others.columns))
