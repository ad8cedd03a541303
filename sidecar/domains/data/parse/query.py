"""Reads queries: SELECT, set operations, VALUES, and WITH before any of them.

Every query is read completely whether or not anything outside uses its columns: PostgreSQL checks
privileges for all of it, and a subquery that nobody asks still runs.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from sqlglot import exp

from sidecar.domains.data.limits import COLUMNS_MAX, REPEATS_MAX
from sidecar.domains.data.parse.access import Accesses, Origins
from sidecar.domains.data.parse.expression import Reader
from sidecar.domains.data.parse.scope import (
    Column,
    Columns,
    Item,
    Scope,
    both_of,
    from_all,
    from_more,
    is_there,
    plain,
    read_star,
    renamed,
)  # fmt: skip
from sidecar.domains.data.parse.text.shapes.edit import EXTRA
from sidecar.domains.data.parse.tree.nodes import (
    alias_of,
    bare_body,
    bare_name,
    check,
    in_order,
    name_of,
    unbracketed,
    unread,
    whole_of,
)  # fmt: skip
from sidecar.domains.data.parse.tree.outputs import Called, called
from sidecar.domains.data.parse.tree.rows import Fields, Row, one_type
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

_SELECT: Final = frozenset((
    "expressions", "from_", "joins", "where", "group", "having", "windows", "order", "limit",
    "offset", "distinct", "with_", "locks",
))  # fmt: skip
_SET_OPERATION: Final = frozenset(
    ("this", "expression", "distinct", "with_", "order", "limit", "offset")
)
_VALUES: Final = frozenset(("expressions", "alias", "order", "limit", "offset"))
_BRACKETED: Final = frozenset(("this", "with_", "order", "limit", "offset", "locks"))
_GROUPS: Final = (exp.Rollup, exp.Cube, exp.GroupingSets, exp.Tuple, exp.Paren)
_CHANGES: Final = (exp.Insert, exp.Update, exp.Delete, exp.Merge)
_EXPRESSIONS: Final = frozenset(("expressions",))
_THIS: Final = frozenset(("this",))
_ALIAS: Final = frozenset(("this", "alias"))
_KEY: Final = frozenset(("this", "desc", "nulls_first"))
_COUNT: Final = frozenset(("expression",))
_LOCK: Final = frozenset(("update", "expressions", "wait", "key"))

# Of a 32-bit number.
_PLACE_DIGITS_MAX: Final = 10


class _Recursive(NamedTuple):
    """What a recursive query is called, its columns, and those that SEARCH and CYCLE add."""

    name: str
    names: Sequence[str]
    more: Sequence[str]


Change = Callable[[exp.Expression, Scope], tuple[Column, ...]]
From = Callable[[exp.Expression, Scope], Item]


class Queries:
    """Reads queries into `accesses`; `change` reads the statements that change data, in a WITH."""

    def __init__(self, accesses: Accesses) -> None:
        self.accesses = accesses
        self.reader = Reader(accesses, self.query)
        self._repeats = 0
        # Set by `statement`, which knows all readers; they need each other.
        self.change: Change
        self.from_clause: From

    def query(self, node: exp.Expression, scope: Scope) -> tuple[Column, ...]:
        """Note what a query reads; return its columns.

        Args:
            node: A SELECT, a set operation, VALUES, or one of them in brackets.
            scope: The level around it.
        """
        if isinstance(node, exp.Select):
            return self._select(node, scope)
        if isinstance(node, exp.SetOperation):
            return self._set_operation(node, scope, None)
        if isinstance(node, exp.Values):
            return self._values(node, scope)
        if isinstance(node, exp.Subquery):
            return self._bracketed(node, scope)
        raise unread()

    def with_clause(self, node: exp.Expression, scope: Scope) -> Scope:
        """Note what the CTEs before `node` do; return the level with their names."""
        clause = node.args.get("with_")
        if clause is None:
            return scope
        check(clause, frozenset(("expressions", "recursive")))
        is_recursive = bool(clause.args.get("recursive"))
        for cte in in_order(clause.expressions) if is_recursive else clause.expressions:
            check(cte, frozenset(("this", "alias", "materialized")))
            name, listed = alias_of(cte)
            names = [column for column in listed if not column.startswith(EXTRA)]
            body = bare_body(cte.this)
            if is_recursive and isinstance(body, exp.SetOperation):
                more = [column[len(EXTRA) :] for column in listed if column.startswith(EXTRA)]
                columns = self._set_operation(body, scope, _Recursive(name, names, more))
            elif isinstance(body, _CHANGES):
                columns = self.change(body, scope)
            else:
                columns = self.query(body, scope)
            extra = self._searched([c for c in listed if c.startswith(EXTRA)], columns)
            scope = scope.with_ctes({name: (*renamed(plain(columns), names), *extra)})
        return scope

    def _searched(self, names: Sequence[str], columns: Sequence[Column]) -> tuple[Column, ...]:
        """Return the columns that SEARCH and CYCLE set, seen outside of the query alone.

        They hold values of some of its columns, and compare them.
        """
        if names:
            self._use("group", columns)
        extra = tuple(Column(name[len(EXTRA) :]) for name in names)
        return from_more(extra, from_all(columns))

    def _set_operation(
        self, node: exp.SetOperation, scope: Scope, recursive: _Recursive | None
    ) -> tuple[Column, ...]:
        check(node, _SET_OPERATION)
        scope = self.with_clause(node, scope)
        columns = plain(self.query(node.this, scope))
        if recursive is None:
            columns = both_of(columns, self.query(node.expression, scope))
        else:
            columns = self._repeated(node.expression, columns, scope, recursive)
        if not isinstance(node, exp.Union):
            self._use("predicate", columns)
        elif node.args.get("distinct"):
            self._use("group", columns)
        self._tail(node, scope.below(()), columns)
        return columns

    def _repeated(
        self,
        node: exp.Expression,
        columns: tuple[Column, ...],
        scope: Scope,
        named: _Recursive,
    ) -> tuple[Column, ...]:
        """Read the second branch of a recursive CTE, which sees its own columns under its name.

        Each turn may bring values from one column into another. It is read until nothing moves any
        more; where that is not so at the second time, each may have come to each.
        """
        # Those that SEARCH and CYCLE set may be named in it, and are not in its `*`.
        more = [Column(name, origins=from_all(columns), is_hidden=True) for name in named.more]
        relations = self.accesses.relation_count
        for turn in range(3):
            inner = scope.with_ctes({named.name: (*renamed(columns, named.names), *more)})
            self.accesses.relation_count = relations
            before = [set(column.origins) for column in columns]
            columns = both_of(columns, self.query(node, inner))
            if [set(column.origins) for column in columns] == before:
                break
            self._repeats += 1
            if self._repeats > REPEATS_MAX:
                raise ParseError(reason("parse.too_large"), "too many recursive queries")
            if turn:
                columns = from_more(columns, from_all(columns))
        return columns

    def _bracketed(self, node: exp.Subquery, scope: Scope) -> tuple[Column, ...]:
        check(node, _BRACKETED)
        scope = self.with_clause(node, scope)
        return self.query(whole_of(node), scope)

    def _values(self, node: exp.Values, scope: Scope) -> tuple[Column, ...]:
        check(node, _VALUES)
        level = scope.below(())
        # In one place of each row stand the values of one column.
        places: list[Origins] = []
        rows: dict[int, list[Row]] = {}
        is_spread = False
        for row in node.expressions:
            if not isinstance(row, exp.Tuple):
                raise unread()
            check(row, _EXPRESSIONS)
            places += [()] * (len(row.expressions) - len(places))
            for at, value in enumerate(row.expressions):
                mark = len(self.accesses.log)
                # `(row).*` is several values.
                is_spread |= isinstance(value, exp.Dot | exp.Column) and value.is_star
                made = self.reader.read(value, level)
                # NULL is of the type of the others.
                rows.setdefault(at, []).extend([] if isinstance(value, exp.Null) else [made])
                places[at] = tuple(dict.fromkeys((*places[at], *self.accesses.log[mark:])))
        self.accesses.has_calls |= is_spread
        columns = tuple(
            Column(f"column{i + 1}", row=one_type(rows.get(i, ())), origins=place)
            for i, place in enumerate(places)
        )
        if is_spread:
            columns = from_more(columns, from_all(columns))
        self._tail(node, level, columns)
        return columns

    def _select(self, node: exp.Select, outer: Scope) -> tuple[Column, ...]:
        check(node, _SELECT)
        if node.args.get("into") is not None:
            raise unread()
        outer = self.with_clause(node, outer)
        item = self.from_clause(node, outer)
        level = outer.below(item.relations)
        for lock in node.args.get("locks") or ():
            self._lock(lock, item)
        columns = self.outputs(node.expressions, item, level)
        for clause in ("where", "having"):
            if node.args.get(clause) is not None:
                check(node.args[clause], _THIS)
                self.reader.read_for("predicate", node.args[clause].this, level)
        for window in node.args.get("windows") or ():
            self.reader.window(window, level)
        self._group(node.args.get("group"), item, columns, level)
        self._distinct(node.args.get("distinct"), columns, level)
        self._tail(node, level, columns)
        return columns

    def outputs(
        self, nodes: Sequence[exp.Expression], item: Item, level: Scope
    ) -> tuple[Column, ...]:
        """Note what a select list or RETURNING reads; return the columns it gives."""
        columns: list[Column] = []
        for node in nodes:
            columns.extend(self._output(node, item, level))
            if len(columns) > COLUMNS_MAX:
                raise ParseError(reason("parse.too_large"), f"more than {COLUMNS_MAX} columns")
        return tuple(columns)

    def _output(self, node: exp.Expression, item: Item, level: Scope) -> tuple[Column, ...]:
        """Note what one item of the select list reads; return the columns it gives."""
        mark = len(self.accesses.log)
        # Brackets around `t.*` change nothing, nor does an alias; those of others: below.
        bare = unbracketed(node.this if isinstance(node, exp.Alias) else node)
        node = bare if isinstance(bare, exp.Column | exp.Dot) and bare.is_star else node
        if isinstance(node, exp.Star):
            check(node, frozenset())
            read_star(item.columns, self.accesses)
            return plain(item.columns)
        if isinstance(node, exp.Column) and isinstance(node.this, exp.Star):
            relations = self.reader.star_relations(node, level)
            found = [c for one in relations for c in one.columns if not c.is_hidden]
            read_star(found, self.accesses)
            return plain(found)
        if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Star):
            row = self.reader.read(node, level) or ("",)
            origins = self.accesses.origins(mark)
            if isinstance(row, Fields) and row.listed:
                return tuple(
                    Column(name, row=row.within(name), origins=origins) for name in row.listed
                )
            # Neither order nor number of its columns is known: a name may stand there twice.
            self.accesses.has_calls = True
            return tuple(
                Column(name, is_sure=False, origins=origins, is_open=True) for name in sorted(row)
            )
        if isinstance(node, exp.Alias):
            check(node, _ALIAS)
            name, node = Called(name_of(node.args["alias"])), node.this
        else:
            name = called(node, self.accesses.own_types)
        value = self.reader.read(node, level)
        origins = self.accesses.origins(mark)
        return (Column(name.name, row=value, origins=origins, otherwise=name.otherwise),)

    def _group(
        self, node: exp.Group | None, item: Item, columns: Sequence[Column], level: Scope
    ) -> None:
        """Read GROUP BY: a bare name is an input column, and only else an output column."""
        if node is None:
            return
        check(node, _EXPRESSIONS)
        pending: list[exp.Expression] = list(node.expressions)
        outputs = Columns(columns)
        while pending:
            part = pending.pop()
            if isinstance(part, _GROUPS):
                check(part, frozenset(("this", "expressions")))
                pending.extend([part.this] if part.args.get("this") else part.expressions)
                continue
            name = bare_name(part)
            inputs = level.named(name) if name is not None else []
            if name is None or any(column.is_sure for column in inputs):
                self._key("group", part, outputs, level)
            else:
                self._use("group", [*inputs, *level.perhaps(name)])
                self._name("group", part, name, outputs, level)

    def _distinct(self, node: exp.Distinct | None, columns: Sequence[Column], level: Scope) -> None:
        if node is None:
            return
        check(node, frozenset(("on",)))
        on = node.args.get("on")
        if on is None:
            self._use("group", columns)
            return
        outputs = Columns(columns)
        for part in on.expressions if isinstance(on, exp.Tuple) else [on]:
            self._sort_key("group", part, outputs, level)

    def _tail(self, node: exp.Expression, level: Scope, columns: Sequence[Column]) -> None:
        """Read ORDER BY, LIMIT and OFFSET."""
        order = node.args.get("order")
        if order is not None:
            check(order, _EXPRESSIONS)
            outputs = Columns(columns)
            for part in order.expressions:
                check(part, _KEY)
                self._sort_key("order", part.this, outputs, level)
        for clause in ("limit", "offset"):
            limit = node.args.get(clause)
            if isinstance(limit, exp.Fetch):
                check(limit, frozenset(("direction", "count", "limit_options")))
            elif limit is not None:
                check(limit, _COUNT)
            count = limit and (limit.args.get("expression") or limit.args.get("count"))
            if count is not None:
                self.reader.read_for("predicate", count, level)

    def _sort_key(self, use: str, node: exp.Expression, outputs: Columns, level: Scope) -> None:
        """Read a key of ORDER BY or DISTINCT ON: a bare name is an output column first.

        Inside an expression it never is: there PostgreSQL takes the input column.
        """
        node = unbracketed(node)
        name = bare_name(node)
        if name is None:
            self._key(use, node, outputs, level)
        else:
            self._name(use, node, name, outputs, level)

    def _name(
        self, use: str, node: exp.Expression, name: str, outputs: Columns, level: Scope
    ) -> None:
        """Read a name that is an output's, where one is surely called so, and else an input's."""
        self._use(use, [outputs.meant(name)])
        is_output = any(column.is_sure for column in outputs.named(name))
        # One that was unwrapped may have been an expression: then it is the input's.
        if not is_output or (name in self.accesses.unwrapped and is_there(name, level)):
            self.reader.read_for(use, node, level)

    def _key(self, use: str, node: exp.Expression, outputs: Columns, level: Scope) -> None:
        """Read a key that is no output's name; a number is the place of an output."""
        if isinstance(node, exp.Literal) and not node.is_string and str(node.this).isdigit():
            self._use(use, _at_place(str(node.this), outputs))
        self.reader.read_for(use, node, level)

    def _use(self, use: str, columns: Sequence[Column]) -> None:
        """Note what outputs are used for beyond being one."""
        before = self.accesses.turn_to(use)
        for key, name in from_all(columns):
            self.accesses.used(key, name)
        self.accesses.uses = before

    def _lock(self, lock: exp.Lock, item: Item) -> None:
        """Note FOR UPDATE and its kin as writes: they need that privilege and block writers."""
        check(lock, _LOCK)
        named = {name_of(table.this) for table in lock.expressions}
        chosen = [r for r in item.relations if not named or r.name in named]
        self.accesses.verbs.setdefault("update")
        if named and chosen and all(relation.table is not None for relation in chosen):
            keys = [relation.table for relation in chosen if relation.table is not None]
        else:
            keys = list(self.accesses.touched)
        for key in keys:
            table = self.accesses.table(key)
            self.accesses.touch(key, "update")
            self.accesses.beneath(table, [self.accesses.table(c) for c in table.children], "update")


def _at_place(number: str, outputs: Columns) -> Sequence[Column]:
    """Return the column at a place, and where that is not known all that it may be."""
    # PostgreSQL has no place of more digits, and reads a number that is longer as no place.
    place = int(number) if len(number) <= _PLACE_DIGITS_MAX else 0
    listed, opened = outputs.listed, outputs.opened
    return listed[place - 1 : place] if place <= opened + 1 else listed[opened:]
