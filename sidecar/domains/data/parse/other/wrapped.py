"""Finds the tokens of the query that stands inside of another statement."""

from typing import Final

from sidecar.domains.data.parse.text.casts import closers
from sidecar.domains.data.parse.text.lexer import Token
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

_OPEN: Final = Token("punct", "(")
# The word behind which the query begins, outside of brackets.
_BEHIND: Final = {
    "declare": "for", "prepare": "as", "create_table_as": "as", "create_view": "as",
    "create_materialized_view": "as",
}  # fmt: skip
_TAILS: Final = (
    ("with", "data"), ("with", "no", "data"), ("with", "check", "option"),
    ("with", "cascaded", "check", "option"), ("with", "local", "check", "option"),
)  # fmt: skip
_STARTS: Final = frozenset(
    ("select", "insert", "update", "delete", "merge", "with", "values", "table")
)


def inner_query(kind: str, tokens: list[Token], into: int) -> list[Token] | None:
    """Return the tokens of the query inside, None for a statement that has none.

    Args:
        kind: Of the whole statement.
        tokens: Of the whole statement.
        into: Where the INTO of a SELECT stands.
    """
    if kind == "select_into":
        found = _without_into(tokens, into)
    elif kind == "explain":
        found = _explained(tokens)
    elif kind == "copy_query":
        found = tokens[2 : closers(tokens)[1]] if tokens[1] == _OPEN else []
    elif kind in _BEHIND:
        found = _without_tail(tokens[query_begins(kind, tokens) :])
    else:
        return None
    if not found or (found[0] != _OPEN and found[0].text not in _STARTS):
        raise ParseError(reason("parse.unsupported"), f"this form of `{kind}` is not read")
    return found


def query_begins(kind: str, tokens: list[Token]) -> int:
    """Return where the query of PREPARE, DECLARE or CREATE … AS begins.

    Raises:
        ParseError: `parse.unsupported`: the word before it is not there.
    """
    return _first(tokens, _BEHIND[kind]) + 1


def _explained(tokens: list[Token]) -> list[Token]:
    at = 1
    if tokens[1:2] == [_OPEN] and tokens[2:3] and tokens[2].text not in (*_STARTS, "("):
        at = closers(tokens)[1] + 1
    while tokens[at : at + 1] and tokens[at].text in ("analyze", "analyse", "verbose"):
        at += 1
    return tokens[at:]


def _first(tokens: list[Token], word: str) -> int:
    closing = closers(tokens)
    at = 0
    while at < len(tokens):
        if tokens[at] == ("word", word):
            return at
        at = closing.get(at, at) + 1
    raise ParseError(reason("parse.unsupported"), f"a statement without its `{word}`")


def _without_tail(tokens: list[Token]) -> list[Token]:
    for words in _TAILS:
        if tokens[-len(words) :] == [Token("word", word) for word in words]:
            return tokens[: -len(words)]
    return tokens


def _without_into(tokens: list[Token], into: int) -> list[Token]:
    """Leave out `INTO [TEMP | TEMPORARY | UNLOGGED] [TABLE] name`."""
    at = into + 1
    while tokens[at : at + 1] and tokens[at].text in (
        "local", "global", "temp", "temporary", "unlogged", "table",
    ):  # fmt: skip
        at += 1
    while tokens[at + 1 : at + 2] == [Token("punct", ".")]:
        at += 2
    return [*tokens[:into], *tokens[at + 1 :]]
