"""Reads value expressions: which columns, rows and functions they touch.

Long chains (`a AND b AND …`) are walked with a stack, so their length is not a depth. Queries
inside expressions go back to whoever reads queries, through `Reader.query`.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Final

from sqlglot import exp

from sidecar.domains.data.catalogue import Function
from sidecar.domains.data.limits import COLUMNS_MAX
from sidecar.domains.data.parse.access import Accesses
from sidecar.domains.data.parse.scope import (
    Column,
    Relation,
    Scope,
    qualified,
    read_name,
    read_qualified,
    read_row,
)  # fmt: skip
from sidecar.domains.data.parse.text.constructs import MARK
from sidecar.domains.data.parse.text.functions import ALLOWED, COLUMNS, FILLING, MANY, OF_SCHEMAS
from sidecar.domains.data.parse.tree.nodes import (
    DECIDING,
    LEAVES,
    PLAIN,
    SHOWING,
    check,
    is_tail,
    name_of,
    names_of,
    parts,
    subscripts,
    unread,
    unsubscripted,
    with_tail,
)  # fmt: skip
from sidecar.domains.data.parse.tree.rows import (
    NO_TYPE,
    Elements,
    Fields,
    Record,
    Row,
    cast_row,
    element_of,
    elements,
    fields_of,
    in_all,
    named_row,
    one_type,
    record,
    typed,
)
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

_WINDOW: Final = frozenset(("this", "partition_by", "order", "spec", "alias", "over"))
_FRAME: Final = frozenset(("kind", "start", "start_side", "end", "end_side", "exclude"))
_COLUMN: Final = frozenset(("this", "table", "db", "catalog"))
_CALL: Final = frozenset(("this", "expressions"))
_QUERIES: Final = (exp.Select, exp.SetOperation, exp.Values, exp.Subquery)


class Reader:
    """Reads expressions into `accesses`; `query` reads a query and returns its columns."""

    def __init__(
        self,
        accesses: Accesses,
        query: Callable[[exp.Expression, Scope], tuple[Column, ...]],
    ) -> None:
        self.accesses = accesses
        self._query = query
        # The fields of what the call gives that was read last.
        self.result: Row = None

    def read(self, node: object, scope: Scope) -> Row:
        """Note what an expression reads; return its columns if it is a composite value."""
        if isinstance(node, exp.Column):
            return self._column(node, scope)
        if isinstance(node, exp.Paren):
            check(node, frozenset(("this",)))
            return self.read(node.this, scope)
        if isinstance(node, _QUERIES):
            columns = self._query(node, scope)
            row = columns[0].row if len(columns) == 1 else None
            # What another record holds is not known outside of its query.
            return named_row(row)
        if isinstance(node, exp.Dot):
            return self._dot(node, scope)
        if isinstance(node, exp.Anonymous):
            self.call(node, scope)
            return self.result
        if type(node) in self._rows:
            return self._rows[type(node)](self, node, scope)
        self._read_all(node, scope)
        return None

    def read_for(self, use: str, node: object, scope: Scope) -> Row:
        """Note what an expression reads, and that it is for `use`."""
        before = self.accesses.turn_to(use)
        row = self.read(node, scope)
        self.accesses.uses = before
        return row

    def _read_all(self, first: object, scope: Scope) -> None:
        pending = [first]
        while pending:
            node = pending.pop()
            if isinstance(node, exp.Column):
                self._column(node, scope)
            elif type(node) in PLAIN:
                assert isinstance(node, exp.Expression)
                pending.extend(parts(node, PLAIN[type(node)]))
            elif type(node) not in LEAVES:
                self._read_other(node, scope)

    def _read_other(self, node: object, scope: Scope) -> None:
        if isinstance(node, _QUERIES):
            self._query(node, scope)
        elif isinstance(node, exp.Anonymous | exp.Dot | exp.Cast):
            self.read(node, scope)
        elif isinstance(node, exp.Window):
            self.window(node, scope)
        elif isinstance(node, exp.Order | exp.Limit) and is_tail(node):
            self._query(with_tail(node), scope)
        elif type(node) in DECIDING:
            assert isinstance(node, exp.Expression)
            self._deciding(node, scope)
        elif not is_default(node):
            raise unread()

    def _deciding(self, node: exp.Expression, scope: Scope) -> None:
        """Read what stands inside an aggregate and says which values it takes, in which order."""
        allowed, deciding, use = DECIDING[type(node)]
        for part in parts(node, allowed):
            before = self.accesses.uses
            if part.arg_key == deciding:
                self.accesses.turn_to(use, is_shown=type(node) in SHOWING)
            self.read(part, scope)
            self.accesses.uses = before

    def _column(self, node: exp.Column, scope: Scope) -> Row:
        names = names_of(node)
        if names is None:
            check(node, _COLUMN)
            if isinstance(node.this, exp.Star):
                return self.star(node, scope)
            if is_default(node):
                return None
            names = [name_of(part) for part in node.parts]
        if len(names) == 1:
            return read_name(names[0], scope, self.accesses)
        return read_qualified(names, scope, self.accesses)

    def star(self, node: exp.Column, scope: Scope) -> Row:
        """Note `relation.*` inside an expression: the row as a value."""
        check(node.this, frozenset())
        found = [read_row(relation, self.accesses) for relation in self.star_relations(node, scope)]
        if len(found) == 1:
            return found[0] or frozenset()
        return frozenset[str]().union(*(row or () for row in found))

    def star_relations(self, node: exp.Column, scope: Scope) -> list[Relation]:
        """Return the relations that `relation.*` stands for."""
        check(node, _COLUMN)
        check(node.this, frozenset())
        return qualified([name_of(part) for part in node.parts[:-1]], scope)

    def call(self, node: exp.Anonymous, scope: Scope, schema: str | None = None) -> str:
        """Note a call and its arguments; return the function's name."""
        check(node, _CALL)
        marked = name_of(node.this)
        if not marked.startswith(MARK):
            raise unread()
        name = marked[len(MARK) :]
        declared = self.accesses.call(schema, name, fills=True)
        given: list[Row] = []
        before = self.accesses.uses
        if name in MANY or name not in ALLOWED:
            # Whether a declared function gives one row is not known.
            self.accesses.turn_to("predicate", is_shown=True)
        for argument in node.expressions:
            if isinstance(argument, exp.Star):
                # count(*): the rows, no column.
                check(argument, frozenset())
            else:
                given.append(self.read(argument, scope))
        self.accesses.uses = before
        self.result = self._made(node, name, given, declared)
        return name

    def _made(
        self, node: exp.Anonymous, name: str, given: list[Row], declared: list[Function]
    ) -> Row:
        """Return the fields of what a call gives, where it is a row, or an array of rows."""
        if name in FILLING:
            self._check_filled(given)
        if declared:
            is_one = len(declared) == 1 and name not in ALLOWED
            return self._returned(declared[0], given) if is_one else None
        if name == "row":
            return _of_values(node.expressions, given)
        if name in _SAME:
            return named_row(_SAME[name](given))
        fields = COLUMNS.get(name, ())
        # Of a single column it is the value.
        return frozenset(fields) if len(fields) > 1 else None

    def _returned(self, function: Function, given: list[Row]) -> Row:
        """Return the fields of what a declared function gives."""
        if function.is_polymorphic:
            return named_row(_first(given))
        if len(function.columns) > 1:
            return typed(NO_TYPE, dict.fromkeys(function.columns, ""), self.accesses.owned)
        return fields_of(function.returns, self.accesses.owned)

    def _check_filled(self, given: list[Row]) -> None:
        """Refuse to fill a row whose fields' types run what nobody has looked at."""
        row = given[0] if given else None
        if not isinstance(row, Fields) or not self.accesses.owned.is_castable(row.key):
            raise ParseError(reason("parse.unsupported"), "a row of a type that is not known")

    def _case(self, node: exp.Case, scope: Scope) -> Row:
        """Read a CASE; return the fields that its result has whichever of them it is."""
        rows: list[Row] = []
        for part in parts(node, PLAIN[exp.Case]):
            if part.arg_key == "default":
                rows.append(self.read(part, scope))
            elif part.arg_key == "ifs":
                condition, shown = parts(part, PLAIN[exp.If])
                self.read(condition, scope)
                rows.append(self.read(shown, scope))
            else:
                self.read(part, scope)
        # NULL for want of an ELSE is of any type.
        return one_type(rows)

    def _cast(self, node: exp.Cast, scope: Scope) -> Row:
        """Read what is cast; return the fields of the type that `text/casts` has written."""
        check(node, frozenset(("this", "to")))
        check(node.args["to"], frozenset(("this", "kind")))
        self.read(node.this, scope)
        return cast_row(name_of(node.args["to"].args["kind"]), self.accesses.owned)

    def _subscript(self, node: exp.Pow, scope: Scope) -> Row:
        """Read `a[i][j]`, an element whichever depth the array has, or `a[i:j]`, an array."""
        row = self.read(unsubscripted(node), scope)
        is_slice = False
        for index in subscripts(node):
            is_slice |= not isinstance(index, exp.Paren)
            self.read(index, scope)
        return row if is_slice else named_row(element_of(row))

    _rows: ClassVar[dict[type, Callable[["Reader", Any, Scope], Row]]] = {
        exp.Case: _case, exp.Cast: _cast, exp.Pow: _subscript,
    }  # fmt: skip

    def function(self, node: object, scope: Scope) -> str:
        """Note `f(…)` or `schema.f(…)`, in FROM too; return the function's name."""
        if isinstance(node, exp.Table):
            if node.args.get("catalog") is not None or not isinstance(node.this, exp.Anonymous):
                raise unread()
            schema = node.args.get("db")
            return self.call(node.this, scope, None if schema is None else name_of(schema))
        if isinstance(node, exp.Anonymous):
            return self.call(node, scope)
        if not isinstance(node, exp.Dot) or not isinstance(node.expression, exp.Anonymous):
            raise unread()
        check(node, frozenset(("this", "expression")))
        return self.call(node.expression, scope, name_of(node.this))

    def _dot(self, node: exp.Dot, scope: Scope) -> Row:
        """Read `schema.f(…)`, `(row).column` or `(row).*`.

        A field that is not a column of the row may be a function of it, so it has to be known.
        """
        check(node, frozenset(("this", "expression")))
        if isinstance(node.expression, exp.Anonymous):
            name = self.function(node, scope)
            return OF_SCHEMAS.get((name_of(node.this), name), self.result)
        row = self.read(node.this, scope)
        if isinstance(node.expression, exp.Star):
            check(node.expression, frozenset())
            return row
        if row is None or name_of(node.expression) not in row:
            raise ParseError(
                reason("parse.unknown_column"), "a field that its row is not known to have"
            )
        if not isinstance(row, Fields | Record):
            return None
        return named_row(row.within(name_of(node.expression)))

    def window(self, node: exp.Window, scope: Scope) -> None:
        """Read `f() OVER (…)`, or a window of the WINDOW clause whose `this` is its name."""
        check(node, _WINDOW)
        if not isinstance(node.this, exp.Identifier):
            self.read(node.this, scope)
        for clause in ("partition_by", "order", "spec"):
            value = node.args.get(clause)
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, exp.WindowSpec):
                    self._frame(part, scope)
                elif part is not None:
                    self.read_for("order" if clause == "order" else "group", part, scope)

    def _frame(self, node: exp.WindowSpec, scope: Scope) -> None:
        for part in parts(node, _FRAME):
            if not isinstance(part, exp.Var):
                self.read_for("order", part, scope)


def _of_values(nodes: list[exp.Expression], given: list[Row]) -> Row:
    """Return the fields of `ROW(…)`: those of `t.*` are values of their own."""
    rows: list[Row] = []
    for node, row in zip(nodes, given, strict=False):
        if not node.is_star:
            rows.append(row)
        elif isinstance(row, Fields) and row.listed:
            rows += [row.within(name) for name in row.listed]
        else:
            return None
        if len(rows) > COLUMNS_MAX:
            raise ParseError(reason("parse.too_large"), f"a row of more than {COLUMNS_MAX} fields")
    return record(rows) if len(nodes) == len(given) else None


def _first(given: list[Row]) -> Row:
    return given[0] if given else None


def _array_of(given: list[Row]) -> Row:
    row = in_all(given)
    return row if isinstance(row, Elements) else elements(row)


def _unnested(given: list[Row]) -> Row:
    return element_of(given[0]) if len(given) == 1 else None


# Calls that give what they are given, an array of it, or what is in it.
_SAME: Final[dict[str, Callable[[list[Row]], Row]]] = {
    "array": _array_of, "array_agg": _array_of, "coalesce": in_all, "greatest": in_all,
    "least": in_all, "nullif": _first, "unnest": _unnested, **dict.fromkeys(FILLING, _first),
}  # fmt: skip


def is_default(node: object) -> bool:
    """Return whether this is the word DEFAULT in the place of a value."""
    if isinstance(node, exp.Var):
        return str(node.this).upper() == "DEFAULT"
    if not isinstance(node, exp.Column) or not isinstance(node.this, exp.Identifier):
        return False
    name = node.this
    return name.this == "default" and not name.args.get("quoted") and len(node.parts) == 1
