"""Says what each column of a view shows, and what it reads beyond that.

A view is read as its query is, so whatever a query can hide a view cannot: whole rows, functions,
columns that only decide which rows there are. What is not read completely has no lineage.
"""

from typing import NamedTuple

from sidecar.domains.data.catalogue import Relations, TableKey
from sidecar.domains.data.parse.access import SYSTEM_COLUMNS
from sidecar.domains.data.parse.second import check_statement
from sidecar.domains.data.parse.statement import Statement, read_statement
from sidecar.domains.data.parse.text.lexer import statements, tokens
from sidecar.terms.errors import ParseError

Column = tuple[TableKey, str]


class Lineage(NamedTuple):
    """Of a view: the columns behind each of its own in order, and what it reads in any case.

    A table of `reads` without a column is read without any being named.
    """

    shows: tuple[tuple[Column, ...], ...]
    reads: tuple[tuple[TableKey, str | None], ...]


def lineage(text: str, relations: Relations) -> Lineage | None:
    """Return the lineage of a view's query, None where it is not read completely.

    Args:
        text: The query, as `pg_get_viewdef` writes it with an empty search path.
        relations: What it may read; views there count as tables.
    """
    try:
        found = statements(tokens(text))
        if len(found) != 1:
            return None
        statement = read_statement(found[0], relations, ())
        check_statement(text, statement)
    except ParseError:
        return None
    return _told(statement) if statement.kind == "select" else None


def _told(statement: Statement) -> Lineage | None:
    if any(access.verb not in ("select", "lookup") for access in statement.tables):
        return None
    if any(SYSTEM_COLUMNS & set(access.columns) for access in statement.tables):
        # A catalogue lists no such column, so it could not say this.
        return None
    shown = {column for columns in statement.shown for column in columns}
    read = [
        column
        for column, uses in statement.usage.items()
        if column not in shown or set(uses) - {"project"}
    ]
    tables = {key for key, _ in (*shown, *read)}
    untold = [key for key in statement.touched if key not in tables]
    columns = tuple(tuple(dict.fromkeys(one)) for one in statement.shown)
    return Lineage(columns, (*sorted(read), *((key, None) for key in sorted(untold))))
