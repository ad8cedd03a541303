"""Checks a row filter's condition: SQL with `${CEL}` holes, as a rule of the bundle has it."""

from itertools import repeat
from typing import Final

from sidecar.domains.data.catalogue import DataCatalogue, TableKey
from sidecar.domains.data.parse.statement import check_grammar, read_statement
from sidecar.domains.data.parse.text.lexer import Token, statements, tokens
from sidecar.syntax.holes import filled, holes
from sidecar.terms.call import Json
from sidecar.terms.errors import ParseError

_HEAD: Final = (Token("word", "select"), Token("number", "1"))


def condition_problem(field: str, where: str, on: Json, catalogue: DataCatalogue) -> str | None:
    """Return what is wrong with a rule's own SQL, None when it can be read.

    Args:
        field: What it is called in the rule: `where`, or a mask's `expression`.
        where: The condition, or the expression; every hole stands for one value.
        on: `table:schema.table` or a column of it; without it no column is looked for.
        catalogue: Where the table and its columns are found.
    """
    try:
        text, holes = without_holes(where)
        found = statements(tokens(text))
        if len(found) != 1:
            return f"`{field}` is one condition"
        if sum(token.kind == "param" for token in found[0]) != holes:
            return f"a hole of `{field}` stands in a string or a comment; it is a value by itself"
        return _unreadable(found[0], on, catalogue)
    except ParseError as error:
        return f"`{field}` cannot be read: {error}"


def without_holes(where: str) -> tuple[str, int]:
    """Return the condition with `$1` for every hole, and how many there are."""
    count = sum(1 for _ in holes(where))
    return filled(where, repeat(" $1 ")), count


def _unreadable(condition: list[Token], on: Json, catalogue: DataCatalogue) -> str | None:
    where = (Token("word", "where"), Token("punct", "("), *condition, Token("punct", ")"))
    key = table_of(on)
    if key is None:
        check_grammar([*_HEAD, *where])
        return None
    listed = [relations for relations in catalogue.all() if key in relations.tables]
    if not listed:
        return f"`{key.id}` is not in the catalogue"
    table = (Token("word", "from"), Token("quoted", key.schema), Token("punct", "."))
    for relations in listed:
        read_statement([*_HEAD, *table, Token("quoted", key.table), *where], relations, ())
    return None


def table_of(on: Json) -> TableKey | None:
    """Return the table that `on` names or names a column of, None for a pattern or nothing."""
    if not isinstance(on, str) or "*" in on:
        return None
    kind, _, path = on.partition(":")
    parts = path.split(".")
    if len(parts) != {"table": 2, "column": 3}.get(kind):
        return None
    return TableKey(parts[0], parts[1])
