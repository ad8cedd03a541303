"""Proves a rewritten statement by reading it again, with the readers that read the first one.

1. *Nothing was left out.* In the text that is proven each reference that was taken care of stands
   under a name of its own, `sidecar proof.1`, …; the rest is the statement's own. Read by the
   resolver, which shares nothing with the search that found the references, no table with a duty
   may be touched, be it through a view, a parent or a declared function. What is read through the
   table that is changed, which cannot be masked there, may be none of its masked columns.
2. *Nothing was added.* The text that is sent is read as any other: it writes what was allowed, and
   reads what was allowed and what the rules' own SQL reads.

Where views were opened before (see `views`), that is proven first: what stands in their place reads
what the catalogue says of them.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from sidecar.domains.data.catalogue import Function, Relations, Table, TableKey
from sidecar.domains.data.enforce.rewriting.due import Due
from sidecar.domains.data.enforce.rewriting.fragment import Reads, reads_of
from sidecar.domains.data.enforce.rewriting.masks import HASH
from sidecar.domains.data.enforce.rewriting.text import unsupported
from sidecar.domains.data.parse.access import SYSTEM_COLUMNS
from sidecar.domains.data.parse.other import is_other, read_other
from sidecar.domains.data.parse.second import check_statement
from sidecar.domains.data.parse.statement import Statement, read_statement
from sidecar.domains.data.parse.text.lexer import statements, tokens
from sidecar.terms.errors import ParseError

PROOF: Final = "sidecar proof"
_READS: Final = ("select", "lookup")
# COPY of a table becomes COPY of a query.
_KINDS: Final = {"copy": "copy_query"}


class Stand(msgspec.Struct, frozen=True):
    """What stands in the proven text for one reference.

    Args:
        key: The table that it is.
        is_target: It is what a statement changes: it has its own name, and is not masked.
    """

    key: TableKey
    is_target: bool


def marker(number: int) -> TableKey:
    """Return the name under which the reference of that number is proven."""
    return TableKey(PROOF, str(number))


def read(text: str, relations: Relations, search_path: tuple[str, ...]) -> Statement:
    """Return what a text does, as both readers have it.

    Raises:
        ParseError: As for any statement.
    """
    found = statements(tokens(text))
    if len(found) != 1:
        raise unsupported("a rewritten statement that is not one")
    if is_other(found[0]):
        return read_other(text, found[0], relations, search_path).statement
    statement = read_statement(found[0], relations, search_path)
    check_statement(text, statement)
    return statement


def prove_complete(
    proven: str,
    stands: Mapping[TableKey, Stand],
    due: Mapping[TableKey, Due],
    relations: Relations,
    search_path: tuple[str, ...],
) -> None:
    """Check that every reference to a table of `due` is one of `stands`, and no mask is passed by.

    Raises:
        EnforceError: It is not so, or the text cannot be read.
    """
    markers = {name: _marked(name, one, due, relations) for name, one in stands.items()}
    known = msgspec.structs.replace(relations, tables={**relations.tables, **markers})
    try:
        statement = read(proven, known, search_path)
    except ParseError as error:
        raise unsupported("a statement that cannot be read once rewritten") from error
    shaped = {key for key, one in due.items() if one.shapes}
    if shaped & set(statement.touched):
        raise unsupported(
            "a table that is reached otherwise than by its name: a view, a parent or a function"
        )
    for access in statement.tables:
        stand = stands.get(access.key)
        if stand is None or access.verb not in _READS:
            continue
        if not stand.is_target and SYSTEM_COLUMNS & set(access.columns):
            raise unsupported("a system column of a table whose rows are filtered or masked")
        masked = due[stand.key]
        if stand.is_target and (
            any(masked.mask(column) is not None for column in access.columns)
            or (access.is_whole_row and masked.masks)
        ):
            raise unsupported("a masked column that is read of the table that is changed")


def _marked(
    name: TableKey, stand: Stand, due: Mapping[TableKey, Due], relations: Relations
) -> Table:
    """Return a table as it stands in the proof.

    A parent's children are taken care of with it where the same is due on them, and what a view
    shows with the view.
    """
    table = relations.tables[stand.key]
    own = due[stand.key]
    children = tuple(child for child in table.children if due.get(child, own) != own)
    if not own.is_view:
        return msgspec.structs.replace(table, key=name, children=children)
    # Masks of what it shows are carried out on it; filters, and masks of what it reads, are not.
    shows = {
        column: tuple(one for one in shown if one[0] in due and not due[one[0]].masks_alone)
        for column, shown in table.shows.items()
    }
    reads = tuple(
        one
        for one in table.reads
        if one[0] in due and (not due[one[0]].masks_alone or due[one[0]].mask(one[1]) is not None)
    )
    return msgspec.structs.replace(table, key=name, children=children, shows=shows, reads=reads)


def prove_opened(after: Statement, before: Statement, views: Sequence[Table]) -> None:
    """Check that a statement with queries in the place of views does what it did with the views.

    It reads what they read, and writes what it wrote.

    Raises:
        EnforceError: It is not so.
    """
    allowed, found = dict(reads_of(before)), reads_of(after)
    for view in views:
        for key, column in (*view.reads, *(one for shown in view.shows.values() for one in shown)):
            allowed[key.id] = allowed.get(key.id, frozenset()) | {column}
    if after.kind != before.kind or _writes(after) != _writes(before):
        raise unsupported("a statement that is another one with its views' queries")
    if not all(name in allowed and read <= allowed[name] for name, read in found.items()):
        raise unsupported("a view that reads more than the catalogue says")


def prove_faithful(
    sent: str, before: Statement, extra: Reads, relations: Relations, search_path: tuple[str, ...]
) -> None:
    """Check that what is sent reads and writes what was allowed, and what the rules' SQL reads.

    Raises:
        EnforceError: It does not, or cannot be read.
    """
    functions = dict(relations.functions)
    functions[HASH] = Function(".".join(HASH))
    known = msgspec.structs.replace(relations, functions=functions)
    try:
        after = read(sent, known, search_path)
    except ParseError as error:
        raise unsupported("a statement that cannot be read once rewritten") from error
    if _KINDS.get(after.kind, after.kind) != _KINDS.get(before.kind, before.kind):
        raise unsupported("a statement that is another one once rewritten")
    if _writes(after) != _writes(before):
        raise unsupported("a statement that writes otherwise once rewritten")
    allowed, found = reads_of(before), reads_of(after)
    if not all(
        name in {**allowed, **extra}
        and columns <= allowed.get(name, frozenset()) | extra.get(name, frozenset())
        for name, columns in found.items()
    ):
        raise unsupported("a statement that reads more once rewritten")


def _writes(statement: Statement) -> dict[tuple[TableKey, str], frozenset[str]]:
    """Return what is written, without locks: of a subquery all tables count as locked."""
    return {
        (access.key, access.verb): frozenset(access.columns)
        for access in statement.tables
        if access.verb not in _READS and (access.verb != "update" or access.columns)
    }
