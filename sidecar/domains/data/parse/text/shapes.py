"""Spells what PostgreSQL's grammar has and the tree's parser has not, before it is written out.

Each shape becomes one that both read, with what was taken out kept as a marked name where a list of
names stands already: `USING (a) AS j` as `USING (a, ␞j)`, the columns of SEARCH and CYCLE behind
those of their CTE. No scanned name holds such a mark, since control characters are refused.
A shape that is not recognised stays as it is and ends as a syntax error.
"""

from typing import Final

from sidecar.domains.data.parse.text.casts import closers, type_end
from sidecar.domains.data.parse.text.lexer import Token
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

EXTRA: Final = "\x1e"

_OPEN: Final = Token("punct", "(")
_CLOSE: Final = Token("punct", ")")
_COMMA: Final = Token("punct", ",")
_DOT: Final = Token("punct", ".")
_AS: Final = Token("word", "as")
_NAMES: Final = ("word", "quoted")
_JOINS: Final = frozenset(("join", "cross", "inner", "left", "right", "full", "natural"))
_TRIGGERS: Final = frozenset(("using", "search", "cycle", "insert", "merge", "as"))


def reshaped(statement: list[Token]) -> list[Token]:
    """Return the tokens in shapes that the tree's parser reads."""
    words = {token.text for token in statement if token.kind == "word"}
    if not words & _TRIGGERS:
        return statement
    if "search" in words or "cycle" in words:
        statement = _without_search(statement)
    if "using" in words:
        statement = _without_join_alias(statement)
    if "insert" in words:
        statement = _without_parts(statement)
    if "merge" in words:
        statement = _with_bracketed_source(statement)
    return _without_definitions(statement) if "as" in words else statement


def _marked(name: str) -> Token:
    return Token("quoted", EXTRA + name)


def _without_join_alias(statement: list[Token]) -> list[Token]:
    """Take `AS j` from behind `USING (…)`."""
    closing = closers(statement)
    out: list[Token] = []
    at = 0
    while at < len(statement):
        if statement[at] != ("word", "using") or statement[at + 1 : at + 2] != [_OPEN]:
            out.append(statement[at])
            at += 1
            continue
        end = closing[at + 1]
        alias = statement[end + 2 : end + 3]
        if statement[end + 1 : end + 2] == [_AS] and alias and alias[0].kind in _NAMES:
            out += [*statement[at:end], _COMMA, _marked(alias[0].text), _CLOSE]
            at = end + 3
        else:
            out += statement[at : at + 1]
            at += 1
    return out


def _without_search(statement: list[Token]) -> list[Token]:
    """Move the columns that SEARCH and CYCLE set into the list of columns of their CTE."""
    opening = {end: start for start, end in closers(statement).items()}
    added: dict[int, list[Token]] = {}
    out: list[Token] = []
    at, body = 0, -1
    while at < len(statement):
        end = _clause_end(statement, at) if at and (body >= 0 or statement[at - 1] == _CLOSE) else 0
        if not end:
            out.append(statement[at])
            at, body = at + 1, -1
            continue
        # A CTE may have both, one behind the other: the second one's body is the first one's.
        body = opening[at - 1] if body < 0 else body
        added.setdefault(_as_before(statement, body), []).extend(_set_names(statement[at:end]))
        at = end
    return _with_columns(statement, out, added) if added else statement


def _clause_end(statement: list[Token], at: int) -> int:
    """Return where SEARCH … SET name, or CYCLE … USING name, ends; 0 where there is none."""
    if statement[at].kind != "word" or statement[at].text not in ("search", "cycle"):
        return 0
    last = "set" if statement[at].text == "search" else "using"
    for i in range(at + 1, len(statement) - 1):
        kind, text = statement[i]
        if statement[i] == ("word", last):
            return i + 2 if statement[i + 1].kind in _NAMES else 0
        if kind not in ("word", "quoted", "string", "number") and statement[i] != _COMMA:
            return 0
    return 0


def _set_names(clause: list[Token]) -> list[Token]:
    """Return the names behind SET and USING."""
    return [
        _marked(clause[i + 1].text)
        for i, token in enumerate(clause)
        if token == ("word", "set") or (token == ("word", "using") and i == len(clause) - 2)
    ]


def _as_before(statement: list[Token], body: int) -> int:
    at = body - 1
    while at > 0 and statement[at].text in ("materialized", "not"):
        at -= 1
    if at < 1 or statement[at] != _AS:
        raise _unread()
    return at


def _with_columns(
    statement: list[Token], out: list[Token], added: dict[int, list[Token]]
) -> list[Token]:
    """Write the marked names before each `AS`, into the list that stands there or into a new one.

    Clauses stand behind the bodies, so the tokens before the first body are where they were.
    """
    shift = 0
    for at in sorted(added):
        names = [piece for name in added[at] for piece in (name, _COMMA)][:-1]
        # What was left out before this CTE: whole clauses of those before it.
        place = _moved(statement, out, at, shift)
        if out[place - 1] == _CLOSE:
            new = [_COMMA, *names]
            place -= 1
        else:
            new = [_OPEN, *names, _CLOSE]
        out[place:place] = new
        shift += len(new)
    return out
