"""Reads one statement of data access: tokens → what is done to which tables and columns."""

import logging
import threading
from typing import Final

import msgspec
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError

from sidecar.domains.data.catalogue import Relations, TableKey
from sidecar.domains.data.parse.access import Accesses, TableAccess
from sidecar.domains.data.parse.change import Changes
from sidecar.domains.data.parse.query import Queries
from sidecar.domains.data.parse.scope import Scope
from sidecar.domains.data.parse.sources import Sources
from sidecar.domains.data.parse.text.canonical import canonical
from sidecar.domains.data.parse.text.casts import unwrapped
from sidecar.domains.data.parse.text.lexer import Token
from sidecar.domains.data.parse.tree.joins import Arranged
from sidecar.domains.data.parse.tree.nodes import let_go
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

# It prints whole statements, literals included, where it cannot read them.
logging.getLogger("sqlglot").disabled = True

_DIALECT: Final = Dialect.get_or_raise("postgres")


class _Own(threading.local):
    """One of each for each thread, since making it takes as long as using it."""

    def __init__(self) -> None:
        self.tokenizer = _DIALECT.tokenizer()
        self.parser = _DIALECT.parser()


_OWN: Final = _Own()
_CHANGES: Final = {
    exp.Insert: "insert",
    exp.Update: "update",
    exp.Delete: "delete",
    exp.Merge: "merge",
}
_STARTS: Final = frozenset(
    ("select", "insert", "update", "delete", "merge", "with", "values", "table")
)
# Statements of PostgreSQL that are refused as such; any other first word is no statement of its.
_REFUSED_WORDS: Final = """
alter analyse analyze call checkpoint cluster comment copy create declare do drop execute
explain fetch grant import listen load lock move notify prepare reassign refresh reindex repack
revoke security truncate vacuum wait
"""
_REFUSED: Final = frozenset(_REFUSED_WORDS.split())
# A larger number is no limit, and JSON has no room for all of them.
_LIMIT_DIGITS_MAX: Final = 15


class Statement(msgspec.Struct, frozen=True):
    """What one statement does.

    Args:
        kind: select, insert, update, delete or merge: the outermost verb.
        tables: Accesses in order, the primary first.
        named: The tables that stand in the text, not those that a declared function touches.
        limit: The outermost LIMIT, where it is a plain number and no more rows can come.
        shown: Of a query: its columns in order, each with what its value came from.
        joins: How the items of FROM stand together.
    """

    kind: str
    verbs: tuple[str, ...]
    tables: tuple[TableAccess, ...]
    touched: tuple[TableKey, ...]
    named: tuple[TableKey, ...]
    functions: tuple[str, ...]
    limit: int | None
    usage: dict[tuple[TableKey, str], tuple[str, ...]] = {}
    shown: tuple[tuple[tuple[TableKey, str], ...], ...] = ()
    joins: tuple[Arranged, ...] = ()


def read_statement(
    tokens: list[Token], relations: Relations, search_path: tuple[str, ...]
) -> Statement:
    """Return what a statement does.

    Raises:
        ParseError: With one of `parse.*`; no message holds anything of the text.
    """
    first = tokens[0]
    is_bracket = first == ("punct", "(")
    if not is_bracket and (first.kind != "word" or first.text not in _STARTS):
        if first.kind == "word" and first.text in _REFUSED:
            raise ParseError(reason("parse.unsupported"), f"`{first.text}` is not read")
        raise ParseError(reason("parse.syntax"), "no statement begins like this")
    try:
        text, casts = canonical(tokens, relations.castable(search_path))
        accesses = Accesses(relations, search_path, unwrapped(tokens), casts.own_types)
        node = _parsed(text)
        try:
            return _read(node, casts.lookups, accesses)
        finally:
            let_go(node)
    except RecursionError:
        raise ParseError(reason("parse.too_large"), "nested too deeply") from None


def check_grammar(tokens: list[Token]) -> None:
    """Raise ParseError where the grammar cannot read `tokens`; names are not looked up."""
    _parsed(canonical(tokens)[0])


def _parsed(text: str) -> exp.Expression:
    tokenizer, parser = _OWN.tokenizer, _OWN.parser
    try:
        found = parser.parse(tokenizer.tokenize(text), text)
    except SqlglotError:
        # Why without its words: they quote the statement.
        raise ParseError(reason("parse.syntax"), "not a statement that is read") from None
    finally:
        # They keep the last text otherwise.
        tokenizer.tokenize("")
        parser.reset()
    if len(found) != 1 or not isinstance(found[0], exp.Expression):
        raise ParseError(reason("parse.syntax"), "not one statement")
    return found[0]


def _read(node: exp.Expression, lookups: frozenset[str], accesses: Accesses) -> Statement:
    queries = Queries(accesses)
    sources = Sources(accesses, queries)
    queries.from_clause = sources.from_clause
    queries.change = Changes(accesses, queries, sources).change
    kind = _CHANGES.get(type(node), "select")
    # The outermost verb comes first, whatever its CTEs do.
    accesses.verbs.setdefault(kind)
    shown: tuple[tuple[tuple[TableKey, str], ...], ...] = ()
    if kind == "select":
        shown = tuple(column.origins for column in queries.query(node, Scope()))
    else:
        queries.change(node, Scope())
    for table in sorted(lookups):
        accesses.look_up(table)
    return Statement(
        kind=kind,
        verbs=tuple(accesses.verbs),
        tables=_primary_first(node, kind, accesses),
        touched=tuple(accesses.touched),
        named=tuple(accesses.named),
        functions=tuple(sorted(accesses.functions)),
        limit=_limit(node),
        usage={column: tuple(sorted(uses)) for column, uses in accesses.usage.items()},
        shown=shown,
        joins=tuple(accesses.joins.values()),
    )


def _primary_first(node: exp.Expression, kind: str, accesses: Accesses) -> tuple[TableAccess, ...]:
    """Return the accesses with the primary first: the table written, or the first table of FROM."""
    tables = list(accesses.tables.values())
    verb = "update" if kind == "merge" else kind
    wanted = _named_table(node, kind)
    for at, access in enumerate(tables):
        if access.verb == verb and (wanted is None or access.key.table == wanted):
            return (access, *tables[:at], *tables[at + 1 :])
    return tuple(tables)


def _named_table(node: exp.Expression, kind: str) -> str | None:
    """Return the name of the table written or first in FROM; None where it is no table."""
    target: object = node
    if kind == "select":
        while isinstance(target, exp.SetOperation | exp.Subquery):
            target = target.this
        clause = target.args.get("from_") if isinstance(target, exp.Select) else None
        target = clause.this if clause is not None else None
    else:
        target = node.this.this if isinstance(node.this, exp.Schema) else node.this
    if not isinstance(target, exp.Table) or not isinstance(target.this, exp.Identifier):
        return None
    name: str = target.this.this
    is_cte = kind == "select" and not target.args.get("db") and name in _cte_names(node)
    return None if is_cte else name


def _cte_names(node: exp.Expression) -> set[str]:
    clause = node.args.get("with_")
    return {cte.alias for cte in clause.expressions} if clause is not None else set()


def _limit(node: exp.Expression) -> int | None:
    while isinstance(node, exp.Subquery):
        node = node.this
    limit = node.args.get("limit")
    if limit is None or _has_ties(limit):
        return None
    count = limit.args.get("expression") or limit.args.get("count")
    if isinstance(count, exp.Literal) and not count.is_string and count.this.isdigit():
        return int(count.this) if len(count.this) <= _LIMIT_DIGITS_MAX else None
    # FETCH FIRST ROW ONLY is one row.
    return 1 if isinstance(limit, exp.Fetch) and count is None else None


def _has_ties(limit: exp.Expression) -> bool:
    """Return whether every row that is like the last one comes too: that may be all there are."""
    options = limit.args.get("limit_options")
    return options is not None and bool(options.args.get("with_ties"))
