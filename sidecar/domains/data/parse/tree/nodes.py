"""Which nodes of the grammar's parser are understood, and how their parts are read.

An allow-list over classes and over their arguments: a class that is not listed, or an argument that
is not, refuses the statement. Nothing is skipped because it looks harmless.
"""

from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Final

from sqlglot import exp

from sidecar.domains.data.parse.text.shapes.edit import EXTRA
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

_BINARY: Final = frozenset(("this", "expression", "safe", "typed", "negate"))
_THIS: Final = frozenset(("this",))

# Expressions that read what their parts read: class → arguments that may be set.
PLAIN: Final[dict[type[exp.Expression], frozenset[str]]] = {
    **dict.fromkeys(
        (
            exp.Add, exp.And, exp.DPipe, exp.Div, exp.EQ, exp.Escape, exp.GT, exp.GTE, exp.ILike,
            exp.Is, exp.LT, exp.LTE, exp.Like, exp.Mod, exp.Mul, exp.NEQ, exp.NullSafeEQ,
            exp.NullSafeNEQ, exp.Or, exp.Overlaps, exp.Pow, exp.Sub,
        ),
        _BINARY,
    ),
    **dict.fromkeys((exp.All, exp.Any, exp.Exists, exp.Neg, exp.Not, exp.Paren, exp.Where), _THIS),
    exp.Array: frozenset(("expressions",)),
    exp.Between: frozenset(("this", "low", "high", "symmetric")),
    exp.Case: frozenset(("this", "ifs", "default")),
    exp.If: frozenset(("this", "true")),
    exp.In: frozenset(("this", "query", "expressions")),
    exp.Ordered: frozenset(("this", "desc", "nulls_first")),
    exp.Tuple: frozenset(("expressions",)),
}  # fmt: skip

# What an aggregate takes, and in which order: arguments that may be set, the one among them that
# decides, and what the columns in that are used for.
DECIDING: Final[dict[type[exp.Expression], tuple[frozenset[str], str, str]]] = {
    exp.Distinct: (frozenset(("expressions",)), "expressions", "group"),
    exp.Filter: (frozenset(("this", "expression")), "expression", "predicate"),
    exp.Order: (frozenset(("this", "expressions")), "expressions", "order"),
    exp.WithinGroup: (frozenset(("this", "expression")), "expression", "order"),
}
# Those of them whose values come out of the aggregate as well.
SHOWING: Final = frozenset((exp.Distinct, exp.WithinGroup))

# What an argument may be that holds no other node; a name's own are texts.
_ENDS: Final = frozenset((str, bool, type(None), exp.Identifier))

# Of what the name of a column may consist, in order.
_ROLES: Final = ("catalog", "db", "table", "this")

_VALUES_ALIAS: Final = "_values"

# Leaves that read nothing.
LEAVES: Final = frozenset((exp.Boolean, exp.Literal, exp.Null, exp.Parameter))


def parts(node: exp.Expression, allowed: frozenset[str]) -> Iterator[exp.Expression]:
    """Yield the nodes directly below, having seen that only arguments in `allowed` are set."""
    for name, value in node.args.items():
        if value is None or value is False or value in ([], ""):
            continue
        if name not in allowed:
            raise unread()
        if isinstance(value, exp.Expression):
            yield value
        elif isinstance(value, list):
            yield from value


def check(node: exp.Expression, allowed: frozenset[str]) -> None:
    """Refuse a node that sets an argument that is not in `allowed`."""
    if node.args.keys() <= allowed:
        return
    for name, value in node.args.items():
        if name not in allowed and value is not None and value is not False and value != []:
            raise unread()


def let_go(tree: exp.Expression) -> None:
    """Take a tree's nodes apart: each knows the one above it, and only a collection would end that.

    A collection stops the whole process, and finds them among all that is new.
    """
    waiting = [tree]
    for node in waiting:
        for value in node.args.values():
            kind = type(value)
            if kind is list:
                waiting += [one for one in value if isinstance(one, exp.Expression)]
            elif kind not in _ENDS and isinstance(value, exp.Expression):
                waiting.append(value)
        node.args = {}


def name_of(node: object) -> str:
    """Return a name as PostgreSQL keeps it.

    An unquoted one is a word of the grammar that the parser took for a name (see `canonical`).
    """
    if not isinstance(node, exp.Identifier) or not node.args.get("quoted"):
        raise unread()
    name: str = node.args["this"]
    return name


def names_of(node: exp.Column) -> list[str] | None:
    """Return a column's name behind its qualifiers, all quoted; None for what is more than that."""
    names: list[str] = []
    for role in _ROLES:
        part = node.args.get(role)
        if part is None:
            continue
        if type(part) is not exp.Identifier or not part.args.get("quoted"):
            return None
        names.append(part.args["this"])
    return names if len(names) == len(node.args) else None


def alias_of(node: exp.Expression) -> tuple[str, list[str]]:
    """Return the alias of a relation and those of its columns; an empty name for none."""
    alias = node.args.get("alias")
    if alias is None:
        return "", []
    if not isinstance(alias, exp.TableAlias):
        raise unread()
    check(alias, frozenset(("this", "columns")))
    if isinstance(node, exp.Values) and alias.name == _VALUES_ALIAS and not _is_quoted(alias.this):
        # The parser's own name for VALUES where a statement gives none.
        return "", []
    name = name_of(alias.this) if alias.args.get("this") is not None else ""
    return name, [name_of(column) for column in alias.args.get("columns") or ()]


def _is_quoted(node: object) -> bool:
    return isinstance(node, exp.Identifier) and bool(node.args.get("quoted"))


def bare_name(node: object) -> str | None:
    """Return the name of a column reference without a qualifier, None for anything else."""
    if not isinstance(node, exp.Column) or isinstance(node.this, exp.Star) or len(node.parts) != 1:
        return None
    return name_of(node.this) if node.this.args.get("quoted") else None


def unbracketed(node: exp.Expression) -> exp.Expression:
    """Return an expression out of its brackets."""
    while isinstance(node, exp.Paren):
        check(node, frozenset(("this",)))
        node = node.this
    return node


def whole_of(node: exp.Subquery) -> exp.Expression:
    """Return the query in brackets, with what stands behind them as its own, as PostgreSQL does.

    Its names are therefore those of the query's own FROM (gram.y, `insertSelectOptions`).
    """
    inner: exp.Expression = node.this
    for clause in ("order", "limit", "offset", "locks"):
        behind = node.args.get(clause)
        if behind is not None:
            if inner.args.get(clause) is not None:
                raise unread()
            node.set(clause, None)
            inner.set(clause, behind)
    return inner


def is_tail(node: object) -> bool:
    """Return whether ORDER BY or LIMIT stands behind a query in brackets, and not in an aggregate.

    The parser hands over `array((SELECT …) ORDER BY a)` as it does `array_agg((SELECT …) ORDER BY
    a)`, where the first is the query's own.
    """
    if not isinstance(node, exp.Order | exp.Limit) or isinstance(node.parent, exp.Anonymous):
        return False
    inner = node.this
    if isinstance(node, exp.Limit) and isinstance(inner, exp.Order):
        inner = inner.this
    return isinstance(inner, exp.Subquery)


def with_tail(node: exp.Expression) -> exp.Subquery:
    """Return the query that `node` orders or limits, with what does so, in the place of `node`."""
    query = node.this
    if isinstance(node, exp.Limit):
        check(node, frozenset(("this", "expression")))
        query = with_tail(query) if isinstance(query, exp.Order) else query
        query.set("limit", exp.Limit(expression=node.expression))
    else:
        query.set("order", exp.Order(expressions=node.expressions))
    node.replace(query)
    assert isinstance(query, exp.Subquery)
    return query


def bare_body(node: exp.Expression) -> exp.Expression:
    """Return a query out of brackets that hold nothing else; a recursive one may stand in them."""
    while isinstance(node, exp.Subquery) and not any(
        value for name, value in node.args.items() if name != "this"
    ):
        node = node.this
    return node


def in_order(ctes: Sequence[exp.Expression]) -> list[exp.Expression]:
    """Return the queries of WITH RECURSIVE, each behind those whose names stand in it.

    Each may name all of them, also those behind it, and itself where a UNION makes it recursive.
    Any other circle PostgreSQL refuses, and so do we.
    """
    named = {alias_of(cte)[0]: cte for cte in ctes}
    within: dict[str, set[str]] = {}
    for name, cte in named.items():
        tables = (table for table in cte.find_all(exp.Table) if not table.args.get("db"))
        within[name] = {table.name for table in tables} & named.keys()
        if isinstance(bare_body(cte.this), exp.SetOperation):
            within[name].discard(name)
    try:
        order = list(TopologicalSorter(within).static_order())
    except CycleError:
        order = []
    if len(order) < len(ctes):
        raise ParseError(reason("parse.ambiguous"), "a query of WITH used before it is complete")
    return [named[name] for name in order]


def first_name(node: object) -> str | None:
    """Return the column of `column` or `column.field`, None for anything else."""
    if not isinstance(node, exp.Column) or isinstance(node.this, exp.Star):
        return None
    return name_of(node.parts[0])


def unsubscripted(node: exp.Expression) -> exp.Expression:
    """Return what `a[i][j]` is a part of, where subscripts have become operations."""
    while isinstance(node, exp.Pow):
        node = node.this
    return node


def subscripts(node: exp.Expression) -> Iterator[exp.Expression]:
    """Yield the subscripts of `a[i][j]`."""
    while isinstance(node, exp.Pow):
        check(node, frozenset(("this", "expression")))
        yield node.expression
        node = node.this


def assigned(node: exp.Expression) -> tuple[str | None, list[exp.Expression]]:
    """Return the column that `a[i].field` of SET is a part of, and the subscripts in it."""
    within: list[exp.Expression] = []
    while isinstance(node, exp.Pow | exp.Dot | exp.Paren):
        check(node, frozenset(("this", "expression")))
        if isinstance(node, exp.Pow):
            within.append(node.expression)
        elif isinstance(node, exp.Dot):
            name_of(node.expression)
        node = node.this
    return first_name(node), within


def row_alias(node: object) -> tuple[str, str] | None:
    """Return `old` or `new`, and its name in this RETURNING; None for what is shown there."""
    if not isinstance(node, exp.Alias):
        return None
    row = bare_name(node.this)
    if row is None or not row.startswith(EXTRA):
        return None
    return row[len(EXTRA) :], name_of(node.args["alias"])


def unread() -> ParseError:
    """Return the refusal of what the parser handed over and nobody understands."""
    return ParseError(reason("parse.unsupported"), "a part of the statement that is not understood")
