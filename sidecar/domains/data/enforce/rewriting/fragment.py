"""Makes a rule's own SQL (a filter's condition, a mask's expression) fit to stand in a statement.

Its author wrote it against one table alone; a statement around it has names of its own. So every
column of the table is written with the table's name in that place, and every other table with its
schema: no CTE, alias or column of the statement can take a name of the rule's.

Values of `${…}` become literals: a string quoted (in `E''` form where it holds a backslash, which
reads the same whatever the server's settings), of no type of its own, so that it takes the type of
what it is compared with, as a bound parameter does; numbers and booleans as such.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from sidecar.domains.data.catalogue import Relations, TableKey
from sidecar.domains.data.enforce.rewriting.quiet import is_settled, is_steady
from sidecar.domains.data.enforce.rewriting.quiet.converted import is_fixed
from sidecar.domains.data.enforce.rewriting.references import Node, each, references
from sidecar.domains.data.enforce.rewriting.text import Edit, Text, applied, quoted, unsupported
from sidecar.domains.data.parse.access import Accesses
from sidecar.domains.data.parse.statement import Statement, read_statement
from sidecar.domains.data.parse.text.lexer import Token, tokens
from sidecar.syntax.holes import filled
from sidecar.terms.call import Json

_HEAD: Final = "SELECT ("
_TAIL: Final = "\n)"
_INT_MAX: Final = 2**63

Reads = dict[str, frozenset[str]]


class Fragment(msgspec.Struct, frozen=True):
    """One expression over the columns of one table.

    Args:
        text: With the columns of the table still bare.
        edits: Where they stand: spans, and the column of each.
        reads: `schema.table` → columns, its own table included.
        columns: Those of its own table.
        is_plain: Holds no query: all its columns are of its table.
        is_steady: Cannot fail on what a row holds.
    """

    text: str
    spots: tuple[tuple[int, int, str], ...]
    reads: Reads
    functions: frozenset[str]
    columns: frozenset[str]
    is_plain: bool
    is_steady: bool

    def over(self, relation: str) -> str:
        """Return it with the columns of `relation`, a name as the statement has it."""
        return self.of_values({column: quoted(relation, column) for _, _, column in self.spots})

    def of_values(self, values: Mapping[str, str]) -> str:
        """Return it with expressions in the place of the columns."""
        edits = [Edit(start, end, values[column], "") for start, end, column in self.spots]
        return applied(self.text, edits)[0]


def fragment(
    said: Json, key: TableKey, relations: Relations, search_path: tuple[str, ...]
) -> Fragment:
    """Return a rule's SQL over the columns of `key`, its holes filled.

    Args:
        said: The text, or `{"text": …, "values": […]}` with `${0}`, … in it.
        key: The table that it was written for.
        relations: Where names are found.
        search_path: Where those without a schema are.

    Raises:
        EnforceError: It cannot stand in a statement.
        ParseError: It cannot be read.
    """
    text, values = (said, []) if isinstance(said, str) else (said["text"], said["values"])
    literals = [literal(value) for value in values]
    written = filled(text, (f" {one} " for one in literals))
    # Its brackets close by themselves, and each value is one by itself: not in a string or comment.
    held = sum(token.kind == "param" for token in tokens(filled(text, (" $1 " for _ in literals))))
    if held != len(literals):
        raise unsupported("a hole of a rule that stands in a string or a comment")
    whole = Text(f"{_HEAD}{written}{_TAIL}")
    if len(whole.tree["stmts"]) != 1 or whole.root[0] != "SelectStmt":
        raise unsupported("a condition of a rule that is none")
    return _placed(whole, key, relations, search_path)


def _placed(
    whole: Text, key: TableKey, relations: Relations, search_path: tuple[str, ...]
) -> Fragment:
    statement = _read(whole.tokens, key, relations, search_path)
    accesses = Accesses(relations, search_path)
    types = [
        relations.tables[access.key].types.get(column)
        for access in statement.tables
        for column in access.columns
    ]
    if not is_settled(whole.tree, types):
        raise unsupported("a time of a rule that is no ISO 8601, or has no zone where it needs one")
    if not is_fixed(whole.tree, _types_by_name(statement, relations)):
        raise unsupported("a time or text in a rule that is made by the session's settings")
    edits: list[Edit] = []
    for one in references(whole.tree):
        found = accesses.find(one.schema, one.name).key
        at = whole.at(one.node)
        last = at + 2 if one.schema is not None else at
        name = quoted(*found)
        edits.append(Edit(whole.start_of(at), whole.end_of(last), name, name))
    is_plain = not any(True for _ in each(whole.tree, "SubLink"))
    spots = []
    if is_plain:
        spots = [_spot(whole, node, key) for node in each(whole.tree, "ColumnRef")]
    shift = len(_HEAD)
    text = applied(whole.text, edits)[0][shift : -len(_TAIL)]
    # A comment of the rule's would take what stands behind it.
    text += "\n" if "--" in text else ""
    own = next((a for a in statement.tables if a.key == key), None)
    return Fragment(
        text,
        tuple((start - shift, end - shift, column) for start, end, column in sorted(spots)),
        reads_of(statement),
        frozenset(statement.functions),
        frozenset(own.columns) if own is not None else frozenset(),
        is_plain,
        is_steady(whole.tree["stmts"]),
    )


def _types_by_name(statement: Statement, relations: Relations) -> dict[str, set[str | None]]:
    found: dict[str, set[str | None]] = {}
    for access in statement.tables:
        for column in access.columns:
            said = relations.tables[access.key].types.get(column)
            found.setdefault(column, set()).add(said)
    return found


def _spot(whole: Text, node: Node, key: TableKey) -> tuple[int, int, str]:
    """Return where a column of the table stands, whatever stands before its name."""
    names = [part["String"]["sval"] if "String" in part else "*" for part in node["fields"]]
    if names[:-1] not in ([], [key.table], [key.schema, key.table]) or names[-1] == "*":
        raise unsupported("a column of a rule that is not one of its table")
    at = whole.at(node)
    return whole.start_of(at), whole.end_of(at + 2 * (len(names) - 1)), names[-1]


def _read(
    condition: Sequence[Token], key: TableKey, relations: Relations, path: tuple[str, ...]
) -> Statement:
    table = [Token("word", "from"), Token("quoted", key.schema), Token("punct", ".")]
    return read_statement([*condition, *table, Token("quoted", key.table)], relations, path)


def reads_of(statement: Statement) -> Reads:
    """Return what a statement reads: `schema.table` → columns."""
    found: Reads = {key.id: frozenset() for key in statement.touched}
    for access in statement.tables:
        if access.verb in ("select", "lookup"):
            found[access.key.id] = found.get(access.key.id, frozenset()) | frozenset(access.columns)
    return found


def literal(value: Json) -> str:
    """Return a value as SQL.

    Raises:
        EnforceError: It has no SQL that reads the same everywhere.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if not -_INT_MAX <= value < _INT_MAX:
            raise unsupported("a number of a rule that is larger than PostgreSQL's")
        return f"({value})" if value < 0 else str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise unsupported("a number of a rule that is none")
        return f"CAST('{value!r}' AS double precision)"
    if isinstance(value, str):
        return string(value)
    raise unsupported("a value of a rule that is no string, number or boolean")


def string(value: str) -> str:
    """Return a text as a literal that no setting of the server reads otherwise."""
    if "\x00" in value:
        raise unsupported("a text of a rule that PostgreSQL cannot hold")
    plain = value.replace("'", "''")
    return "E'" + plain.replace("\\", "\\\\") + "'" if "\\" in plain else f"'{plain}'"
