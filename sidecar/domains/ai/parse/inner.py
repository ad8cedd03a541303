"""Finds the SQL and the URLs inside a tool's arguments, which are then read by their own domains.

A tool is declared in the catalogue (`arguments: {sql: {protocol: sql}}`); of an undeclared one the
names of arguments tell, at any depth and through JSON held as text: `sql`, `sql_query`,
`statement`, … are SQL always, `query` is when it starts as a statement does. Doubt is SQL: text
that is no SQL is then refused by the SQL parser, and `{protocol: text}` in the catalogue says that
an argument is none.

What answers a tool's own questions (`inputResponses`) may hold the same arguments, at any depth and
in any of those spellings. There a declaration adds and never takes away: a declared text is looked
into, for the server alone knows which of its arguments an answer becomes.

What has to be rewritten has a place where the catalogue declares it with its dialect: what is
guessed may be SQL of another database, where what is put around it means something else.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Final

from sidecar.domains.ai.catalogue import Argument
from sidecar.domains.ai.limits import (
    INNER_CHARS_MAX,
    INNER_MAX,
    NAME_BYTES_MAX,
    TEXT_JSON_DEPTH_MAX,
)
from sidecar.domains.ai.parse.shape import Object, refuse
from sidecar.syntax.json import loads
from sidecar.terms.call import Json
from sidecar.terms.errors import ParseError
from sidecar.terms.request import Inner, Place
from sidecar.terms.words import component

# What a name is taken to hold where the catalogue says nothing of it.
_SQL: Final = Argument("sql")
# What a call whose dialect nobody says is read as.
DIALECT: Final = "postgres"
# Where the arguments of a tool stand in the payload.
_ARGUMENTS: Final = ("message", "params", "arguments")
_Under = tuple[Argument, ...]
_URL: Final = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9+.-]*:)?//")
# Compared without case, `_`, `-` and blanks: sqlQuery, SQL_QUERY and sql-query are one name.
_ALWAYS: Final = frozenset((
    "sql", "sqls", "sqlquery", "sqlqueries", "sqltext", "sqlstatement", "sqlstatements",
    "sqlcommand", "sqlstring", "rawsql", "statement", "statements", "stmt", "stmts",
))  # fmt: skip
_MAYBE: Final = frozenset(("query", "queries", "querytext", "querystring", "rawquery"))
_SEPARATORS: Final = re.compile(r"[\s_-]")
# A colon ends no verb: `from:alice` is how people search their mail.
_FIRST_WORD: Final = re.compile(r"[\s\ufeff\x00;({]*([A-Za-z_]+)(?![\w:])")
# A comment before the first word may be code to some servers (`/*! … */`), so it counts as a verb.
_COMMENT: Final = re.compile(r"[\s\ufeff\x00;({]*(?:--|/\*)")
_VERBS: Final = frozenset((
    "abort", "alter", "analyse", "analyze", "attach", "begin", "call", "checkpoint", "close",
    "cluster", "comment", "commit", "copy", "create", "deallocate", "declare", "delete", "desc",
    "describe", "detach", "discard", "do", "drop", "end", "exec", "execute", "explain", "fetch",
    "from", "grant", "handler", "import", "insert", "listen", "load", "lock", "merge", "move",
    "notify", "optimize", "perform", "pragma", "prepare", "reassign", "refresh", "reindex",
    "release", "rename", "replace", "reset", "revoke", "rollback", "savepoint", "security",
    "select", "set", "show", "start", "table", "truncate", "unlisten", "unload", "update",
    "upsert", "use", "vacuum", "values", "with",
))  # fmt: skip


def inner_calls(arguments: Object, declared: Mapping[str, Argument]) -> tuple[Inner, ...]:
    """Return the calls found inside `arguments` of a tool's call, in their order.

    Raises:
        ParseError: A declared argument is absent, not text, or longer than declared; there are too
            many; JSON text inside names a key twice.
    """
    at = ".".join(_ARGUMENTS[1:])
    found: list[Inner] = []
    for name, argument in declared.items():
        found += _declared(name, arguments.get(name), argument, f"{at}.{_step(name)}")
    rest = {name: value for name, value in arguments.items() if name not in declared}
    return _bounded(chain(found, _Guess({}).walk(rest, at)))


def answered_calls(
    answers: Object, declared: Mapping[str, Argument], at: str = "params.inputResponses"
) -> tuple[Inner, ...]:
    """Return the calls found inside the answers to a tool whose arguments are `declared`.

    Raises:
        ParseError: As `inner_calls`, but that no argument need be there.
    """
    told = {_plain(name): one for name, one in declared.items() if one.protocol != "text"}
    return _bounded(_Guess(told).walk(answers, at))


def _bounded(calls: Iterable[Inner]) -> tuple[Inner, ...]:
    found = tuple(islice(calls, INNER_MAX + 1))
    if len(found) > INNER_MAX:
        raise refuse("parse.too_large", f"more than {INNER_MAX} statements in the arguments")
    if sum(len(inner.payload.get("text", "")) for inner in found) > INNER_CHARS_MAX:
        raise refuse("parse.too_large", f"statements of more than {INNER_CHARS_MAX} characters")
    return found


def _declared(name: str, value: Json, argument: Argument, at: str) -> Iterator[Inner]:
    if argument.protocol == "text":
        return
    for where, steps, text in _texts(value, at):
        place = Place((*_ARGUMENTS, name, *steps), "text") if argument.dialect else None
        yield _call(text, argument, where, place)


def _call(text: str, argument: Argument, at: str, place: Place | None = None) -> Inner:
    if argument.max_length is not None and len(text) > argument.max_length:
        raise refuse("parse.too_large", "an argument that is longer than the catalogue says")
    if argument.protocol == "sql":
        payload = {"dialect": argument.dialect or DIALECT, "text": text}
    else:
        payload = {"method": argument.method, "url": text}
    return Inner(at, argument.protocol, payload, argument.upstream, place)


def _texts(value: Json, at: str) -> list[tuple[str, tuple[int, ...], str]]:
    if value is None:
        raise refuse("parse.missing", "an argument that the catalogue declares is missing")
    listed = isinstance(value, list)
    texts = value if listed else [value]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise refuse("parse.syntax", "an argument that the catalogue declares is not text")
    if not listed:
        return [(at, (), value)]
    return [(f"{at}[{i}]", (i,), text) for i, text in enumerate(texts)]


class _Guess:
    """Walks what is not an argument by declaration, and takes for a call what is named like one.

    Args:
        told: Arguments by plain name that are what they are declared to be wherever they stand.
    """

    def __init__(self, told: Mapping[str, Argument]) -> None:
        self._told = told

    def walk(
        self, value: Json, at: str, name: str = "", under: _Under = (), depth: int = 0
    ) -> Iterator[Inner]:
        """Yield the calls in `value`, which stands under `name`.

        Args:
            value: What is looked into.
            at: Its path.
            name: Its key, or its list's.
            under: What names further up say that texts below them may hold.
            depth: How often JSON was held as text on the way.
        """
        if isinstance(value, dict):
            below = (*self._of(_plain(name)), *under)
            for key, entry in value.items():
                yield from self.walk(entry, f"{at}.{_step(key)}", key, below, depth)
        elif isinstance(value, list):
            for i, entry in enumerate(value):
                yield from self.walk(entry, f"{at}[{i}]", name, under, depth)
        elif isinstance(value, str):
            yield from self._text(value, at, name, under, depth)

    def _of(self, plain: str) -> _Under:
        told = self._told.get(plain)
        if told is not None:
            return (told,)
        return (_SQL,) if plain in _ALWAYS | _MAYBE else ()

    def _text(self, text: str, at: str, name: str, under: _Under, depth: int) -> Iterator[Inner]:
        known = self._known(text, _plain(name), under)
        if known is not None:
            yield _call(text, known, at)
            return
        nested = _json_in(text)
        if nested is None:
            return
        if depth >= TEXT_JSON_DEPTH_MAX:
            raise refuse("parse.too_large", "JSON held as text inside JSON too deeply")
        yield from self.walk(nested, at, name, under, depth + 1)

    def _known(self, text: str, plain: str, under: _Under) -> Argument | None:
        """Return what `text` is, None when it is no call."""
        told = self._told.get(plain)
        if told is not None:
            return told
        if plain in _ALWAYS:
            return next((one for one in under if one.protocol == "sql"), _SQL)
        maybe = (*under, _SQL) if plain in _MAYBE else under
        return next((one for one in maybe if _looks_like(text, one)), None)


def _looks_like(text: str, argument: Argument) -> bool:
    if argument.protocol == "http":
        return _URL.match(text) is not None
    return starts_as_sql(text)


def _plain(name: str) -> str:
    return _SEPARATORS.sub("", name).casefold()


def starts_as_sql(text: str) -> bool:
    """Return whether `text` starts with a verb of SQL, or with a comment of SQL."""
    word = _FIRST_WORD.match(text)
    return bool(_COMMENT.match(text)) or (word is not None and word.group(1).lower() in _VERBS)


def _json_in(text: str) -> Json:
    """Return the value of JSON held as text, None where the text is none."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return loads(text)
    except ParseError as error:
        if error.reason == "parse.syntax":
            return None
        raise


def _step(name: str) -> str:
    if len(name.encode("utf-8", "surrogatepass")) > NAME_BYTES_MAX:
        raise refuse("parse.too_large", f"an argument's name of more than {NAME_BYTES_MAX} bytes")
    return component(name)
