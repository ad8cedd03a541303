"""Puts a subquery in the place of a table that is read: its rows filtered, its columns masked.

    finance.expenses AS e  ▶  (SELECT "expenses"."id", CAST(… AS text) AS "iban"
                               FROM "finance"."expenses" WHERE (…) OFFSET 0) AS e

A subquery and not a condition more: it is right on each side of each join, `*` stays what it was,
and everything else of the statement sees what is shown. Filters see the rows as they are; the
statement sees masks in WHERE, ORDER BY and JOIN as well. Only the columns that the statement reads
are in it, so that it reads no more than was allowed.

`OFFSET 0` is PostgreSQL's fence: no condition of the statement is evaluated before the filter. It
keeps indexes from the statement's own conditions, so it stands only where these could tell of a
row by failing (`quiet`), or where the rules' own SQL could tell which rows they are true of.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Final

import msgspec

from sidecar.domains.data.catalogue import Relations, Table, TableKey
from sidecar.domains.data.enforce.rewriting.due import Due
from sidecar.domains.data.enforce.rewriting.fragment import Fragment, fragment
from sidecar.domains.data.enforce.rewriting.masks import masked
from sidecar.domains.data.enforce.rewriting.quiet import Find, pins_of
from sidecar.domains.data.enforce.rewriting.references import Node, Reference, each
from sidecar.domains.data.enforce.rewriting.text import Edit, Text, quoted, select, unsupported
from sidecar.domains.data.parse.statement import Statement
from sidecar.terms.call import Json

_OPEN: Final = ("punct", "(")
_CLOSE: Final = ("punct", ")")
# Masks that do no more than cut a text, or nothing.
_STEADY: Final = frozenset(("nullify", "redact", "last4"))


class Shaped(msgspec.Struct, frozen=True):
    """A table with what is due on it, as SQL.

    Args:
        needed: The columns that the statement reads of it.
        filters: Its conditions.
        expressions: Those of masks, by column.
    """

    table: Table
    due: Due
    needed: frozenset[str]
    filters: tuple[Fragment, ...]
    expressions: dict[str, Fragment]

    @property
    def fragments(self) -> tuple[Fragment, ...]:
        """Return all of the rules' SQL."""
        return (*self.filters, *self.expressions.values())

    @property
    def may_fail(self) -> bool:
        """Return whether a filter, or a mask beside it, may fail on what a row holds."""
        masks = (self.due.mask(column) for column in self.needed)
        return not all(one.is_steady for one in self.filters) or any(
            mask is not None and mask.kind not in _STEADY for mask in masks
        )

    @property
    def filtered_by(self) -> frozenset[str]:
        """Return the columns of the table that its filters read."""
        return frozenset().union(*(one.columns for one in self.filters))

    @property
    def is_plain(self) -> bool:
        """Return whether no filter holds a query."""
        return all(one.is_plain for one in self.filters)

    @property
    def own(self) -> str:
        """Return the table's bare name, quoted."""
        return quoted(self.table.key.table)

    def condition(self, relation: str) -> str:
        """Return all filters over `relation`."""
        return " AND ".join(f"({one.over(relation)})" for one in self.filters)

    def over(self, relation: str) -> str:
        """Return all filters over a relation that others may stand beside."""
        if self.is_plain:
            return self.condition(relation)
        columns = sorted(self.filtered_by)
        row = ", ".join(f"{quoted(relation, column)} AS {quoted(column)}" for column in columns)
        source = f"{select(row or 'NULL', '')} AS {self.own}"
        return f"EXISTS {select('1', source, 'WHERE', self.condition(self.table.key.table))}"


class Around(msgspec.Struct, frozen=True):
    """What of a statement counts for the subqueries in it.

    Args:
        fence: Conditions outside have to wait for the filter.
        counts_columns: A join has an alias that names columns by their places.
        pins: Parameters that are sent as `pinned`, or there would have to be a fence.
    """

    fence: bool
    counts_columns: bool = False
    pins: tuple[Node, ...] = ()


def around(tree: Json, find: Find) -> Around:
    """Return what of a statement counts; `find` returns the table of a name."""
    joins = (join.get("alias", {}) for join in each(tree, "JoinExpr"))
    pins = pins_of(tree, find)
    counts_columns = any("colnames" in alias for alias in joins)
    return Around(pins is None, counts_columns, tuple(pins or ()))


def shaped(table: Table, due: Due, needed: frozenset[str], relations: Relations) -> Shaped:
    """Return a table with the SQL of its rules."""
    path = relations.search_path
    filters = tuple(fragment(one, table.key, relations, path) for one in due.filters)
    expressions = {}
    for column in needed:
        mask = due.mask(column)
        if mask is not None and mask.kind == "expression":
            expressions[column] = fragment(mask.expression, table.key, relations, path)
    return Shaped(table, due, needed, filters, expressions)


class Span(msgspec.Struct, frozen=True):
    """The tokens of one reference: its name with ONLY and `*`, and its TABLESAMPLE."""

    start: int
    end: int
    sample: tuple[int, int] | None = None


def span_of(text: Text, reference: Reference) -> Span:
    """Return where a reference stands, its alias left out.

    Raises:
        EnforceError: It stands in a form that is not known.
    """
    start = text.at(reference.node)
    steps = 1 + (reference.schema is not None) + ("catalogname" in reference.node)
    end = start + 2 * steps - 1
    if not reference.node.get("inh"):
        if text.token(start - 1) == _OPEN and text.is_word(start - 2, "only"):
            start, end = start - 2, end + 1
        elif text.is_word(start - 1, "only"):
            start -= 1
        else:
            raise unsupported("a table in a form that is not known")
    elif text.token(end) == ("op", "*"):
        end += 1
    return Span(start, end, _sample(text, end) if reference.sample else None)


def _sample(text: Text, at: int) -> tuple[int, int]:
    """Return the tokens of `TABLESAMPLE method (…) [REPEATABLE (…)]`, behind an alias."""
    while at < text.end and not text.is_word(at, "tablesample"):
        at = text.closing.get(at, at) + 1
    start = at
    while text.token(at) != _OPEN:
        at += 1
    end = text.closing[at] + 1
    if text.is_word(end, "repeatable") and text.token(end + 1) == _OPEN:
        end = text.closing[end + 1] + 1
    return start, end


def source_of(reference: Reference, one: Shaped, sample: str) -> str:
    """Return what the subquery for a reference is over: the table, with its TABLESAMPLE.

    A sample is of the table's rows, before any filter.
    """
    only = "" if reference.node.get("inh") else "ONLY "
    database = reference.node.get("catalogname")
    name = quoted(*((database,) if database else ()), *one.table.key)
    return f"{only}{name}{' ' if sample else ''}{sample}"


def subquery(
    reference: Reference, one: Shaped, source: str, around: Around, *, fence: bool = False
) -> str:
    """Return the subquery that stands for a reference, without an alias.

    Args:
        reference: What it stands for.
        one: The table, and what is due on it.
        source: What it is over, under the table's own name.
        around: What of the statement around it counts.
        fence: It is fenced in any case.
    """
    width = len(one.table.columns) if around.counts_columns else reference.width
    shown = _columns(width, one)
    where = f" WHERE {one.condition(one.table.key.table)}" if one.filters else ""
    is_fenced = fence or (one.filters and (around.fence or one.may_fail))
    return select(shown, f"{source}{where}{' OFFSET 0' if is_fenced else ''}")


def check_row(reference: Reference, key: TableKey, before: Statement) -> None:
    """Refuse a whole row under aliases of its columns: in it they keep their own names.

    `to_jsonb(t)` over `orders AS t(a, b)` has the keys of `orders`, over a subquery those aliases.
    """
    rows = {access.key for access in before.tables if access.is_whole_row}
    if reference.width and key in rows:
        raise unsupported("a whole row beside aliases of its columns")


def in_place(text: Text, reference: Reference, one: Shaped, sent: str, proven: str) -> Edit:
    """Return the edit that puts something in the place of a table in FROM, or of TABLE."""
    span = span_of(text, reference)
    start, head = span.start, ""
    if text.is_word(start - 1, "table"):
        start, head = start - 1, "SELECT * FROM "
    tail = "" if reference.alias is not None else f" AS {one.own}"
    first, last = text.start_of(start), text.end_of(span.end - 1)
    return Edit(first, last, f"{head}{sent}{tail}", f"{head}{proven}{tail}")


def _columns(width: int, one: Shaped) -> str:
    """Return the select list; the first `width` columns keep their places."""
    shown = [
        _column(column, one) if column in one.needed else f"NULL AS {quoted(column)}"
        for at, column in enumerate(one.table.columns)
        if column in one.needed or at < width
    ]
    return ", ".join(shown) or "NULL"


def _column(column: str, one: Shaped) -> str:
    name = quoted(one.table.key.table, column)
    mask = one.due.mask(column)
    if mask is None:
        return name
    written = one.expressions.get(column)
    expression = written.over(one.table.key.table) if written is not None else ""
    said = one.table.types.get(column)
    return f"{masked(mask, name, said, expression)} AS {quoted(column)}"


def shortened(text: Text, keys: Collection[TableKey], found: Sequence[Reference]) -> Iterator[Edit]:
    """Yield the edits that take the schema from `schema.table.column` of `keys`.

    What a subquery is called has none.

    Raises:
        EnforceError: The name without it would be another's.
    """
    called: Counter[str] = Counter()
    for node in each(text.tree["stmts"], "ColumnRef"):
        names = [part.get("String", {}).get("sval", "*") for part in node["fields"]]
        if len(names) < 3 or TableKey(*names[-3:-1]) not in keys:
            continue
        if len(names) > 3:
            raise unsupported("a column with its database before it")
        called = called or _names(text, found)
        if called[names[-2]] > 1:
            raise unsupported("a name with its schema that is another's without")
        at = text.at(node)
        start, end = text.start_of(at), text.start_of(at + 2 * (len(names) - 2))
        yield Edit(start, end, "", "")


def _names(text: Text, found: Sequence[Reference]) -> Counter[str]:
    """Return how many items of the statement go by each name."""
    tree = text.tree["stmts"]
    names = Counter(one.name for one in found if one.alias is None)
    names.update(one["aliasname"] for one in each(tree, "alias"))
    names.update(one["ctename"] for one in each(tree, "CommonTableExpr"))
    return names
