"""Says what PostgreSQL calls an output column that has no alias.

A name outside of its query, or in ORDER BY, may mean a column by the name that nobody wrote: a CASE
goes by the name of its ELSE, a call by the function's, a query by that of its column. Where a name
depends on what is no longer in the tree (the type of a cast), it is each that it may be, and a use
of one of them is a use of the column.

Source: PostgreSQL, src/backend/parser/parse_target.c, `FigureColname`.
"""

from typing import Final, NamedTuple

from sqlglot import exp

from sidecar.domains.data.parse.text import lookups
from sidecar.domains.data.parse.text.constructs import MARK
from sidecar.domains.data.parse.text.functions import OTHERWISE_NAMED, STANDARD_DOMAINS, TYPES
from sidecar.domains.data.parse.tree.nodes import LEAVES, PLAIN, name_of

# Of an expression that is no column, call or query: what it is cast to, or how it begins.
# AT TIME ZONE and IS NORMALIZED, which are calls, have become operations.
FAINT: Final[frozenset[str]] = frozenset(
    (*TYPES, *lookups.TYPES, *STANDARD_DOMAINS, "?column?", "case", "is_normalized", "timezone")
)
_CONSTRUCTS: Final = OTHERWISE_NAMED | {"btrim", "current_user", "date_part", "ltrim", "rtrim"}
_OF_KIND: Final = (
    (exp.Exists, "exists"), (exp.Array, "array"), (exp.Tuple, "row"), (exp.Overlaps, "overlaps"),
)  # fmt: skip
_AROUND: Final = (exp.Paren, exp.Window, exp.Filter, exp.WithinGroup)
_QUERIES: Final = (exp.Subquery, exp.SetOperation)


class Called(NamedTuple):
    """What a column is called: its name, or what it may be called; None for anything."""

    name: str
    otherwise: frozenset[str] | None = frozenset()


_ANYTHING: Final = Called("", None)
_FAINT: Final = Called("", FAINT)


def called(node: object, own_types: frozenset[str] = frozenset()) -> Called:
    """Return what PostgreSQL calls an output column without an alias.

    Args:
        node: Its expression.
        own_types: Somebody's own types that may be cast to.
    """
    found = _called(node)
    return Called("", FAINT | own_types) if found is _FAINT and own_types else found


def _called(node: object) -> Called:
    while isinstance(node, exp.Expression):
        if isinstance(node, exp.Alias):
            return Called(name_of(node.args["alias"]))
        if isinstance(node, exp.Column):
            return _ANYTHING if isinstance(node.this, exp.Star) else Called(name_of(node.this))
        if isinstance(node, exp.Anonymous):
            name = name_of(node.this).removeprefix(MARK)
            return Called("", _CONSTRUCTS) if name in OTHERWISE_NAMED else Called(name)
        inner = _inner(node)
        if inner is None:
            return _outermost(node)
        node = inner
    return _ANYTHING


def _inner(node: exp.Expression) -> exp.Expression | None:
    """Return the part whose name an expression has, None where it has none of a part."""
    found: object = None
    # A computed subscript has become an operation of its own.
    if isinstance(node, (*_AROUND, *_QUERIES, exp.Pow)):
        found = node.this
    elif isinstance(node, exp.Dot):
        found = node.expression
    elif isinstance(node, exp.Select):
        found = next(iter(node.expressions), None)
    elif isinstance(node, exp.Case):
        found = node.args.get("default")
    return found if isinstance(found, exp.Expression) else None


def _outermost(node: exp.Expression) -> Called:
    """Return what an expression is called that has no name of a part of it."""
    if isinstance(node, exp.Identifier):
        return Called(name_of(node))
    if isinstance(node, exp.Values):
        return Called("column1")
    if isinstance(node, exp.Is) and isinstance(node.this, exp.Column) and node.this.is_star:
        # `t.*` with a cast has become this, and goes by the name of `t`.
        return _ANYTHING
    known = next((name for kind, name in _OF_KIND if isinstance(node, kind)), None)
    if known is not None:
        return Called(known)
    is_plain = type(node) in PLAIN or type(node) in LEAVES
    return _FAINT if is_plain or isinstance(node, exp.Case) else _ANYTHING
