"""Reads the statements that change data: INSERT, UPDATE, DELETE, MERGE.

The table changed is never a CTE and never in sight of the items of FROM or USING beside it. What a
column was set to comes back from RETURNING, and `excluded` is what was to be inserted: both have
the origins of those values.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from sqlglot import exp

from sidecar.domains.data.parse.access import Accesses, Origins
from sidecar.domains.data.parse.expression import is_default
from sidecar.domains.data.parse.query import Queries
from sidecar.domains.data.parse.scope import (
    Column,
    Item,
    Relation,
    Scope,
    from_all,
    from_more,
    plain,
    read_star,
)  # fmt: skip
from sidecar.domains.data.parse.sources import Sources
from sidecar.domains.data.parse.tree.nodes import (
    alias_of,
    assigned,
    bare_name,
    check,
    name_of,
    row_alias,
    unread,
)  # fmt: skip
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

# What columns were set to came from.
_Given = dict[str, Origins]


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
        values: tuple[Column, ...] = ()
        if node.args.get("expression") is not None:
            values = self._queries.query(node.expression, scope)
        elif not node.args.get("default"):
            raise unread()
        if listed is None:
            self._write_first(relation, len(values), is_default=bool(node.args.get("default")))
        else:
            self._write(relation, listed, "insert")
        columns = listed if listed is not None else [column.name for column in relation.columns]
        given = self._placed(columns, values)
        if node.args.get("conflict") is not None:
            _add(given, self._conflict(node.args["conflict"], relation, given, scope))
        if node.args.get("returning") is None:
            return ()
        new = _holding(relation, given)
        return self._returning(node, scope.below((new,)), Item((new,), new.columns), relation)

    def _placed(self, names: Sequence[str], values: Sequence[Column]) -> _Given:
        """Return what each column is given by the values in its place."""
        if self._accesses.has_calls:
            # How many columns stand before a value is not known.
            return dict.fromkeys(names, from_all(values))
        return {name: from_all((value,)) for name, value in zip(names, values, strict=False)}

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

    def _conflict(
        self, node: exp.OnConflict, relation: Relation, given: _Given, scope: Scope
    ) -> _Given:
        """Note what ON CONFLICT does; return what it sets columns to."""
        check(node, _CONFLICT)
        action = str(node.args.get("action")).upper()
        new = _holding(relation, given)
        level = scope.below((new,))
        # Whether they are taken is told, whichever constraint it is that says so.
        before = self._accesses.turn_to("predicate")
        for key, name in (one for origins in given.values() for one in origins):
            self._accesses.used(key, name)
        self._accesses.uses = before
        for key in node.args.get("conflict_keys") or ():
            check(key, frozenset(("this", "desc", "nulls_first")))
            self._queries.reader.read_for("predicate", key.this, level)
        if node.args.get("constraint") is not None:
            # The constraint's columns are not known: it may be any of them.
            name_of(node.args["constraint"])
            before = self._accesses.turn_to("predicate")
            read_star(relation.columns, self._accesses)
            self._accesses.uses = before
        if node.args.get("index_predicate") is not None:
            self._queries.reader.read_for("predicate", node.args["index_predicate"], level)
        if action == "DO NOTHING":
            return {}
        if action != "DO UPDATE":
            raise unread()
        self._accesses.verbs.setdefault("update")
        assert relation.table is not None
        self._accesses.touch(relation.table, "update")
        excluded = Relation("excluded", new.columns, relation.table)
        both = scope.below((relation, excluded))
        assigned = self._assign(node.expressions, relation, both)
        self._where(node, both)
        return assigned

    def _assign(
        self, assignments: Sequence[exp.Expression], relation: Relation, level: Scope
    ) -> _Given:
        """Note what SET does; return what it sets columns to."""
        given: _Given = {}
        for assignment in assignments:
            if not isinstance(assignment, exp.EQ):
                raise unread()
            check(assignment, frozenset(("this", "expression")))
            to = assignment.this
            if isinstance(to, exp.Paren):
                to = exp.Tuple(expressions=[to.this])
            columns = to.expressions if isinstance(to, exp.Tuple) else [to]
            # `SET a.b = …` writes the field b of the column a: no table may stand there.
            parts = [assigned(column) for column in columns]
            names = [name for name, _ in parts]
            self._write(relation, [name for name in names if name is not None], "update")
            if None in names:
                raise unread()
            mark = len(self._accesses.log)
            for index in (index for _, within in parts for index in within):
                self._queries.reader.read(index, level)
            self._queries.reader.read(assignment.expression, level)
            origins = self._accesses.origins(mark)
            _add(given, {name: origins for name in names if name is not None})
        return given

    def _update(self, node: exp.Update, scope: Scope) -> tuple[Column, ...]:
        check(node, _UPDATE)
        relation = self._target(node.this, "update")
        others = self._sources.from_clause(node, scope)
        everything = _with(relation, others)
        level = scope.below(everything.relations)
        given = self._assign(node.expressions, relation, level)
        self._where(node, level)
        if node.args.get("returning") is None:
            return ()
        everything = _with(_holding(relation, given), others)
        return self._returning(node, scope.below(everything.relations), everything, relation)

    def _delete(self, node: exp.Delete, scope: Scope) -> tuple[Column, ...]:
        check(node, _DELETE)
        relation = self._target(node.this, "delete")
        everything = _with(relation, self._sources.using(node.args.get("using") or (), scope))
        level = scope.below(everything.relations)
        self._where(node, level)
        return self._returning(node, level, everything, relation)

    def _merge(self, node: exp.Merge, scope: Scope) -> tuple[Column, ...]:
        check(node, _MERGE)
        relation = self._target(node.this, "merge")
        others = self._sources.items([node.args["using"]], scope)
        everything = _with(relation, others)
        level = scope.below(everything.relations)
        self._queries.reader.read_for("join", node.args["on"], level)
        check(node.args["whens"], frozenset(("expressions",)))
        given: _Given = {}
        for when in node.args["whens"].expressions:
            _add(given, self._when(when, relation, scope.below(_in_sight(when, relation, others))))
        everything = _with(_holding(relation, given), others)
        return self._returning(node, scope.below(everything.relations), everything, relation)

    def _when(self, node: exp.When, relation: Relation, level: Scope) -> _Given:
        """Note what one WHEN of MERGE does; return what it sets columns to."""
        check(node, _WHEN)
        assert relation.table is not None
        if node.args.get("condition") is not None:
            self._queries.reader.read_for("predicate", node.args["condition"], level)
        then = node.args.get("then")
        if isinstance(then, exp.Update):
            check(then, frozenset(("expressions",)))
            self._note(relation, "update")
            return self._assign(then.expressions, relation, level)
        if isinstance(then, exp.Insert):
            return self._when_insert(then, relation, level)
        if isinstance(then, exp.Var) and str(then.this).upper() == "DELETE":
            self._note(relation, "delete")
        elif not isinstance(then, exp.Var) or str(then.this).upper() != "DO NOTHING":
            raise unread()
        return {}

    def _when_insert(self, node: exp.Insert, relation: Relation, level: Scope) -> _Given:
        check(node, frozenset(("this", "expression")))
        self._note(relation, "insert")
        if node.expression is None and _is_all_default(node.this):
            return {}
        if not isinstance(node.expression, exp.Tuple):
            raise unread()
        values = node.expression.expressions
        # `t.*` is several values.
        self._accesses.has_calls |= any(
            isinstance(value, exp.Dot | exp.Column) and value.is_star for value in values
        )
        if node.this is None:
            self._write_first(relation, len(values), is_default=False)
            return self._values([column.name for column in relation.columns], values, level)
        if not isinstance(node.this, exp.Tuple):
            raise unread()
        names = [bare_name(column) for column in node.this.expressions]
        listed = [name for name in names if name is not None]
        self._write(relation, listed, "insert")
        if None in names:
            raise unread()
        return self._values(listed, values, level)

    def _values(
        self, names: Sequence[str], values: Sequence[exp.Expression], level: Scope
    ) -> _Given:
        """Read the values of MERGE's INSERT; return what they give to the columns."""
        found = []
        for value in values:
            mark = len(self._accesses.log)
            self._queries.reader.read(value, level)
            found.append(Column("", origins=self._accesses.origins(mark)))
        return self._placed(names, found)

    def _note(self, relation: Relation, verb: str) -> None:
        assert relation.table is not None
        self._accesses.verbs.setdefault(verb)
        self._accesses.touch(relation.table, verb)

    def _where(self, node: exp.Expression, level: Scope) -> None:
        where = node.args.get("where")
        if where is not None:
            check(where, frozenset(("this",)))
            self._queries.reader.read_for("predicate", where.this, level)

    def _returning(
        self, node: exp.Expression, level: Scope, item: Item, old: Relation
    ) -> tuple[Column, ...]:
        """Note what RETURNING reads; `level` has the changed row first, `old` is as it was.

        Both go by names of their own that no other item has (from PostgreSQL 18 on).
        """
        returning = node.args.get("returning")
        if returning is None:
            return ()
        check(returning, frozenset(("expressions",)))
        shown = list(returning.expressions)
        taken = {relation.name for relation in level.relations}
        both = {"old": old, "new": level.relations[0]}
        while shown and (renamed := row_alias(shown[0])) is not None:
            shown.pop(0)
            row, name = renamed
            if name in taken or name in both or row not in both:
                raise unread()
            both[name] = both.pop(row)
        more = (Relation(n, r.columns, r.table) for n, r in both.items() if n not in taken)
        level = level.beside((*level.relations, *more))
        before = self._accesses.turn_to("returning")
        columns = plain(self._queries.outputs(shown, item, level))
        self._accesses.uses = before
        return columns


def _in_sight(when: exp.Expression, relation: Relation, others: Item) -> tuple[Relation, ...]:
    """Return what a WHEN of MERGE sees: of rows that one side has not, the other side alone."""
    if when.args.get("matched"):
        return (relation, *others.relations)
    return (relation,) if when.args.get("source") else others.relations


def _is_all_default(node: object) -> bool:
    """Return whether this is what the parser makes of `INSERT DEFAULT VALUES`: a lone DEFAULT."""
    return (
        isinstance(node, exp.Tuple)
        and len(node.expressions) == 1
        and is_default(node.expressions[0])
    )


def _add(given: _Given, more: Mapping[str, Origins]) -> None:
    for name, origins in more.items():
        given[name] = tuple(dict.fromkeys((*given.get(name, ()), *origins)))


def _holding(relation: Relation, given: Mapping[str, Origins]) -> Relation:
    """Return a relation whose columns hold what they were given."""
    columns = (
        from_more((c,), given[c.name])[0] if given.get(c.name) else c for c in relation.columns
    )
    return msgspec.structs.replace(relation, columns=tuple(columns))


def _with(relation: Relation, others: Item) -> Item:
    return Item((relation, *others.relations), (*relation.columns, *others.columns))
