"""Reads FROM: tables, CTEs, subqueries, calls, and the joins between them.

Commas separate items that do not see each other; a join's ON sees its two sides and the levels
around; LATERAL items and calls see what stands to their left.

Source: PostgreSQL manual, §7.2.1 The FROM Clause.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlglot import exp

from sidecar.domains.data.catalogue import TableKey
from sidecar.domains.data.parse.access import Accesses
from sidecar.domains.data.parse.query import Queries
from sidecar.domains.data.parse.scope import (
    Column,
    Item,
    Relation,
    Scope,
    from_more,
    plain,
    read_columns,
    renamed,
    table_relation,
)  # fmt: skip
from sidecar.domains.data.parse.text.functions import ALLOWED, COLUMNS, OTHERWISE_NAMED, VARIED
from sidecar.domains.data.parse.text.shapes.edit import EXTRA
from sidecar.domains.data.parse.text.shapes.fields import GIVING
from sidecar.domains.data.parse.text.shapes.tabled import TABLES
from sidecar.domains.data.parse.tree.joins import Items, Join, beside
from sidecar.domains.data.parse.tree.nodes import alias_of, check, name_of, unread
from sidecar.domains.data.parse.tree.rows import Fields
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

_TABLE: Final = frozenset((
    "this", "db", "catalog", "alias", "only", "joins", "sample", "ordinality", "rows_from",
))  # fmt: skip
_JOIN: Final = frozenset(("this", "on", "using", "side", "kind", "method"))
_SIDES: Final = ("", "LEFT", "RIGHT", "FULL")
_KINDS: Final = ("", "INNER", "OUTER", "CROSS")
_METHODS: Final = ("", "NATURAL")
_SAMPLE: Final = frozenset(("method", "percent", "size", "seed", "expressions"))


class Sources:
    """Reads FROM items into `accesses`."""

    def __init__(self, accesses: Accesses, queries: Queries) -> None:
        self._accesses = accesses
        self._queries = queries

    def from_clause(self, node: exp.Expression, outer: Scope) -> Item:
        """Read the FROM of a SELECT or an UPDATE."""
        clause = node.args.get("from_")
        joins = node.args.get("joins") or []
        if clause is None:
            if joins:
                raise unread()
            return Item((), ())
        check(clause, frozenset(("this",)))
        if _is_mark(clause.this):
            return self._behind(clause.this, outer)
        return self._listed(clause, [clause.this], joins, outer)

    def using(self, nodes: Sequence[exp.Expression], outer: Scope) -> Item:
        """Read the USING of a DELETE."""
        if not nodes:
            return Item((), ())
        if len(nodes) > 1 or not _is_mark(nodes[0]):
            raise unread()
        return self._behind(nodes[0], outer)

    def _behind(self, mark: exp.Expression, outer: Scope) -> Item:
        """Read the items behind the one that begins a list and is none of it (`text/shapes`)."""
        check(mark, frozenset(("this", "joins")))
        joins = mark.args.get("joins") or []
        if not joins or not _is_comma(joins[0]):
            raise unread()
        return self._listed(mark, (), joins, outer)

    def _listed(
        self,
        clause: exp.Expression,
        first: Sequence[exp.Expression],
        joins: Sequence[exp.Join],
        outer: Scope,
    ) -> Item:
        """Read items with commas between them, and note that they are a list of that `clause`."""
        items = self._items(first, joins, outer)
        if len(items) > 1:
            self._accesses.joins[id(clause)] = Items(tuple(item.names for item in items))
        return _beside(items)

    def items(self, first: Sequence[exp.Expression], outer: Scope) -> Item:
        """Read items with commas between them."""
        return _beside(self._items(first, (), outer))

    def _items(
        self, first: Sequence[exp.Expression], joins: Sequence[exp.Join], outer: Scope
    ) -> list[Item]:
        """Read items with commas between them, and the joins that follow the last of them."""
        done: list[Item] = []
        for node in first:
            done.append(self._item(node, done, outer))
        for join in joins:
            check(join, _JOIN)
            if _is_comma(join):
                done.append(self._item(join.this, done, outer))
            else:
                done[-1] = self._join(done[-1], join, done[:-1], outer)
        return done

    def _join(self, left: Item, join: exp.Join, done: Sequence[Item], outer: Scope) -> Item:
        words = [str(join.args.get(word) or "").upper() for word in ("side", "kind", "method")]
        if words[0] not in _SIDES or words[1] not in _KINDS or words[2] not in _METHODS:
            raise unread()
        right = self._item(join.this, [*done, left], outer)
        both = (*left.relations, *right.relations)
        if join.args.get("on") is not None:
            self._queries.reader.read_for("join", join.args["on"], outer.below(both))
        listed = [name_of(name) for name in join.args.get("using") or ()]
        names = [name for name in listed if not name.startswith(EXTRA)]
        if words[2] == "NATURAL":
            self._check_natural((*left.columns, *right.columns))
            for relation in both:
                if relation.table is not None:
                    self._accesses.check_known(relation.table)
            mine = {column.name for column in right.columns}
            names = [c.name for c in left.columns if c.name and c.name in mine]
        columns = self._merged(left, right, names)
        aliases = [name[len(EXTRA) :] for name in listed if name.startswith(EXTRA)]
        # The alias of USING has the merged columns alone, and hides nothing.
        merged = tuple(Relation(alias, columns[: len(set(names))]) for alias in aliases)
        self._accesses.joins[id(join)] = Join(
            left.names,
            right.names,
            words[0],
            words[2] == "NATURAL",
            join.args.get("on") is not None,
            tuple(name for name in listed if not name.startswith(EXTRA)),
            "".join(aliases),
        )
        return Item((*both, *merged), columns, (*left.names, *right.names))

    def _check_natural(self, columns: Sequence[Column]) -> None:
        """Refuse NATURAL where a column's name is not known for sure: it may be one that joins."""
        if self._accesses.has_calls or any(not column.name for column in columns):
            raise ParseError(
                reason("parse.ambiguous"), "NATURAL beside columns whose names are not known"
            )

    def _merged(self, left: Item, right: Item, names: Sequence[str]) -> tuple[Column, ...]:
        """Return the columns of a join: those that USING merges first, then the rest in order."""
        merged: list[Column] = []
        for name in dict.fromkeys(names):
            mine = [column for column in left.columns if column.name == name]
            other = [column for column in right.columns if column.name == name]
            if not mine or not other:
                raise ParseError(
                    reason("parse.unknown_column"), "a column of USING that is not there"
                )
            before = self._accesses.turn_to("join")
            read_columns([*mine, *other], self._accesses)
            self._accesses.uses = before
            bases = tuple(dict.fromkeys(base for c in (*mine, *other) for base in c.bases))
            origins = tuple(dict.fromkeys(one for c in (*mine, *other) for one in c.origins))
            merged.append(Column(name, bases, None, mine[0].is_sure, origins))
        rest = [c for c in (*left.columns, *right.columns) if c.name not in names]
        return (*merged, *rest)

    def _item(self, node: exp.Expression, left: Sequence[Item], outer: Scope) -> Item:
        """Read one item, with the joins that stand inside it."""
        item = self._bare_item(node, left, outer)
        for join in node.args.get("joins") or ():
            check(join, _JOIN)
            if _is_comma(join):
                raise unread()
            item = self._join(item, join, left, outer)
        return item

    def _bare_item(self, node: exp.Expression, left: Sequence[Item], outer: Scope) -> Item:
        self._accesses.count_relation()
        lateral = outer.below([relation for item in left for relation in item.relations])
        if isinstance(node, exp.Table):
            return self._table(node, outer, lateral)
        if isinstance(node, exp.Lateral):
            return self._lateral(node, lateral)
        if isinstance(node, exp.Subquery) and _holds_join(node):
            return self._bracketed_join(node, left, outer)
        if isinstance(node, exp.Subquery | exp.Values):
            return self._derived(node, node, outer)
        raise unread()

    def _table(self, node: exp.Table, outer: Scope, lateral: Scope) -> Item:
        check(node, _TABLE)
        name, names = alias_of(node)
        sample = node.args.get("sample")
        if sample is not None:
            # Not even the items to its left are seen there.
            self._sample(sample, outer)
        if node.args.get("rows_from") or isinstance(node.this, exp.Anonymous | exp.Dot):
            return self._calls(node, name, names, lateral)
        table = name_of(node.this)
        schema = node.args.get("db")
        if schema is None and table in outer.ctes:
            columns = renamed(outer.ctes[table], names)
            shown = tuple(column for column in columns if not column.is_hidden)
            # NATURAL beside it would join by the hidden ones too.
            self._accesses.has_calls |= len(shown) < len(columns)
            return Item((Relation(name or table, columns),), shown, (name or table,))
        return _one(self.base(node, name, names), name or table)

    def base(
        self, node: exp.Table, name: str, names: Sequence[str], verb: str = "select"
    ) -> Relation:
        """Return the relation of a table of the catalogue, noting that it is touched."""
        schema = node.args.get("db")
        table = self._accesses.find(name_of(schema) if schema else None, name_of(node.this))
        if node.args.get("catalog") is not None:
            name_of(node.args["catalog"])
        self._accesses.touch(table.key, verb)
        self._check_places(names, [table.key])
        children = []
        if not node.args.get("only") and verb != "insert":
            children = [self._accesses.table(key) for key in table.children]
        self._accesses.beneath(table, children, verb)
        relation = table_relation(table, name or None, children, self._accesses)
        if not names:
            return relation
        return Relation(
            relation.name, renamed(relation.columns, names), table.key, relation.is_aliased
        )

    def _check_places(self, names: Sequence[str], tables: Sequence[TableKey]) -> None:
        """Check that the columns of `tables` are where they are listed, if `names` go by place."""
        for key in tables if names else ():
            self._accesses.check_known(key)

    def _sample(self, node: exp.TableSample, scope: Scope) -> None:
        check(node, _SAMPLE)
        if str(node.args.get("method")).lower() not in ("bernoulli", "system"):
            raise unread()
        for word in ("percent", "size", "seed"):
            if node.args.get(word) is not None:
                self._queries.reader.read_for("predicate", node.args[word], scope)

    def _lateral(self, node: exp.Lateral, lateral: Scope) -> Item:
        check(node, frozenset(("this", "alias", "ordinality")))
        if isinstance(node.this, exp.Subquery):
            return self._derived(node.this, node, lateral)
        name, names = alias_of(node)
        return self._calls(node, name, names, lateral)

    def _derived(self, query: exp.Expression, aliased: exp.Expression, scope: Scope) -> Item:
        if isinstance(query, exp.Subquery):
            check(query, frozenset(("this", "alias", "joins", "with_", "order", "limit", "offset")))
        name, names = alias_of(aliased)
        if isinstance(query, exp.Subquery) and not set(query.args) & _tails(query):
            columns = self._queries.query(query.this, scope)
        elif isinstance(query, exp.Values):
            columns = self._queries.query(query, scope)
        else:
            raise unread()
        return _one(Relation(name, renamed(plain(columns), names)), name)

    def _bracketed_join(self, node: exp.Subquery, left: Sequence[Item], outer: Scope) -> Item:
        """Read `(a JOIN b …)`; with an alias only that one name is left."""
        check(node, frozenset(("this", "alias", "joins")))
        item = self._item(node.this, left, outer)
        name, names = alias_of(node)
        if not name:
            return item
        if any(column.is_hidden for one in item.relations for column in one.columns):
            # Under an alias they stand between the others.
            raise unread()
        tables = (key for one in item.relations for key in (*one.joined, one.table) if key)
        rows = tuple(dict.fromkeys(tables))
        self._check_places(names, rows)
        return _one(Relation(name, renamed(item.columns, names), joined=rows), name)

    def _calls(self, node: exp.Expression, name: str, names: Sequence[str], lateral: Scope) -> Item:
        """Read `f(…)` or `ROWS FROM (f(…), …)`: the columns are one a call unless known better."""
        name = "" if name == EXTRA else name
        nodes = node.args.get("rows_from") or [node if isinstance(node, exp.Table) else node.this]
        columns: list[Column] = []
        called, is_open, is_row = "", False, False
        mark = len(self._accesses.log)
        # Arguments say how many rows there are.
        before = self._accesses.turn_to("predicate")
        for call in nodes:
            defined: list[str] = []
            # Of a table of JSON or XML all columns are known, and of a row of a known type.
            if call is not node and isinstance(call, exp.Table):
                check(call, frozenset(("this", "db", "alias")))
                # In ROWS FROM only a list of columns with their types may stand behind a call.
                _, defined = alias_of(call)
            called = self._queries.reader.function(call, lateral)
            row = self._queries.reader.result
            is_given = called in GIVING or called not in ALLOWED
            if is_given and isinstance(row, Fields) and row.listed and not defined:
                columns.extend(Column(one, row=row.within(one)) for one in row.listed)
                is_row = True
                continue
            self._accesses.has_calls |= called not in TABLES and not defined
            is_open |= self._is_open(called)
            given = defined or COLUMNS.get(called)
            given = given or (name if name and len(nodes) == 1 else called,)
            is_sure = bool(defined) or self._is_sure(called)
            columns.extend(Column(column, is_sure=is_sure) for column in given)
        self._accesses.uses = before
        if node.args.get("ordinality"):
            columns.append(Column("ordinality"))
        # More aliases than columns: a call of several columns; the aliases are its columns.
        columns.extend(Column("", is_sure=False) for _ in range(len(names) - len(columns)))
        if is_open:
            columns[-1] = msgspec.structs.replace(columns[-1], is_open=True)
        is_value = len(columns) == 1 and called not in TABLES and not is_row
        found = from_more(columns, self._accesses.origins(mark))
        relation = Relation(name or called, renamed(found, names), is_value=is_value)
        return _one(relation, name)

    def _is_sure(self, called: str) -> bool:
        """Return whether a call's columns have known names, whatever its arguments."""
        return not self._is_open(called) and called not in OTHERWISE_NAMED

    def _is_open(self, called: str) -> bool:
        """Return whether a call may have another number of columns, by its types."""
        declared = any(name.endswith(f".{called}") for name in self._accesses.functions)
        return declared or called in VARIED


def _one(relation: Relation, name: str) -> Item:
    return Item((relation,), relation.columns, (name,))


def _beside(items: Sequence[Item]) -> Item:
    return Item(
        tuple(relation for item in items for relation in item.relations),
        tuple(column for item in items for column in item.columns),
        beside([item.names for item in items]),
    )


def _is_mark(node: exp.Expression) -> bool:
    """Return whether this is the item that our own writer put at the beginning of a list."""
    return (
        isinstance(node, exp.Table)
        and isinstance(node.this, exp.Identifier)
        and name_of(node.this) == EXTRA
    )


def _is_comma(join: exp.Join) -> bool:
    return not any(join.args.get(word) for word in ("on", "using", "side", "kind", "method"))


def _holds_join(node: exp.Subquery) -> bool:
    inner = node.this
    while isinstance(inner, exp.Subquery) and not inner.args.get("alias"):
        if inner.args.get("joins"):
            return True
        inner = inner.this
    return isinstance(inner, exp.Table) or (
        isinstance(inner, exp.Subquery | exp.Values) and bool(inner.args.get("alias"))
    )


def _tails(node: exp.Subquery) -> set[str]:
    return {word for word in ("with_", "order", "limit", "offset") if node.args.get(word)}
