"""Reads value expressions: which columns, rows and functions they touch.

Long chains (`a AND b AND …`) are walked with a stack, so their length is not a depth. Queries
inside expressions go back to whoever reads queries, through `Reader.query`.
"""

from collections.abc import Callable
from typing import Final

from sqlglot import exp

from sidecar.domains.data.parse.access import Accesses
from sidecar.domains.data.parse.scope import (
    Column,
    Relation,
    Row,
    Scope,
    TableRow,
    qualified,
    read_name,
    read_qualified,
    read_row,
)  # fmt: skip
from sidecar.domains.data.parse.text.canonical import MARK
from sidecar.domains.data.parse.text.functions import ALLOWED, COLUMNS, MANY, OF_SCHEMAS
from sidecar.domains.data.parse.tree.nodes import (
    DECIDING,
    LEAVES,
    PLAIN,
    SHOWING,
    check,
    is_tail,
    name_of,
    parts,
    unread,
    with_tail,
)  # fmt: skip
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

    def read(self, node: object, scope: Scope) -> Row:
        """Note what an expression reads; return its columns if it is a composite value."""
        if isinstance(node, exp.Column):
            return self._column(node, scope)
        if isinstance(node, exp.Paren):
            check(node, frozenset(("this",)))
            return self.read(node.this, scope)
        if isinstance(node, exp.Subquery):
            columns = self._query(node, scope)
            row = columns[0].row if len(columns) == 1 else None
            # What another record holds is not known outside of its query.
            return row if isinstance(row, TableRow) else None
        if isinstance(node, exp.Dot):
            return self._dot(node, scope)
        if isinstance(node, exp.Anonymous):
            return self._fields(node, self.call(node, scope))
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
        elif isinstance(node, exp.Anonymous):
            self.call(node, scope)
        elif isinstance(node, exp.Dot):
            self._dot(node, scope)
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
        row: frozenset[str] = frozenset()
        for relation in self.star_relations(node, scope):
            row |= read_row(relation, self.accesses) or frozenset()
        return row

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
        self.accesses.call(schema, name)
        before = self.accesses.uses
        if name in MANY or name not in ALLOWED:
            # Whether a declared function gives one row is not known.
            self.accesses.turn_to("predicate", is_shown=True)
        for argument in node.expressions:
            if isinstance(argument, exp.Star):
                # count(*): the rows, no column.
                check(argument, frozenset())
            else:
                self.read(argument, scope)
        self.accesses.uses = before
        return name

    def _fields(self, node: exp.Anonymous, name: str) -> Row:
        """Return the fields of what a call gives, where it is a row that it makes."""
        if name == "row":
            is_known = not any(one.is_star for one in node.expressions)
            return (
                frozenset(f"f{i + 1}" for i in range(len(node.expressions))) if is_known else None
            )
        given = COLUMNS.get(name, ())
        is_declared = any(one.endswith(f".{name}") for one in self.accesses.functions)
        # Of a single column it is the value.
        return frozenset(given) if len(given) > 1 and not is_declared else None

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
            return OF_SCHEMAS.get((name_of(node.this), name))
        row = self.read(node.this, scope)
        if isinstance(node.expression, exp.Star):
            check(node.expression, frozenset())
            return row
        if row is None or name_of(node.expression) not in row:
            raise ParseError(
                reason("parse.unknown_column"), "a field that its row is not known to have"
            )
        return None

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


def is_default(node: object) -> bool:
    """Return whether this is the word DEFAULT in the place of a value."""
    if isinstance(node, exp.Var):
        return str(node.this).upper() == "DEFAULT"
    if not isinstance(node, exp.Column) or not isinstance(node.this, exp.Identifier):
        return False
    name = node.this
    return name.this == "default" and not name.args.get("quoted") and len(node.parts) == 1
