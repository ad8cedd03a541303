"""Shapes that take a field of a value: `(value).field`, `array[1].field`.

Source: PostgreSQL manual, §4.2.4 Field Selection.
"""

from collections import Counter
from collections.abc import Collection
from itertools import pairwise
from typing import Final

from sidecar.domains.data.limits import NESTING_MAX
from sidecar.domains.data.parse.text.functions import FILLING
from sidecar.domains.data.parse.text.lexer import Token
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

# The columns of what these give in FROM are the fields of what they are given.
GIVING: Final = FILLING | {"unnest"}
_DOT: Final = Token("punct", ".")
_OPENING: Final = (Token("punct", "("), Token("punct", "["))
_ENDING: Final = (Token("punct", ")"), Token("punct", "]"))
_LITERALS: Final = ("number", "param", "string")
_NAMES: Final = ("word", "quoted")


def may_have_fields(statement: list[Token], marks: Collection[str]) -> bool:
    """Return whether it counts of which type a value is: a field of one may be read."""
    if "." in marks and (")" in marks or "]" in marks):
        before = Token("none", "")
        for piece in statement:
            if piece == _DOT and before in _ENDING:
                return True
            before = piece
    return not GIVING.isdisjoint(marks)


def literal_subscript(inside: list[Token], *, is_kept: bool) -> str | None:
    """Return how `[1]` is written whose tokens are literals: it reads nothing; None for another.

    It may be assigned to, so it is left out, but where it counts that an element has other fields
    than its array; those are not the places that the list of columns of an INSERT has.
    """
    if any(piece.kind not in _LITERALS and piece.text not in (":", "-") for piece in inside):
        return None
    if not is_kept:
        return ""
    return "^ '1'" if Token("punct", ":") in inside else "^ ( '1' )"


def with_elements(statement: list[Token]) -> list[Token]:
    """Return the tokens with `a.b[1].c` as `(a.b[1]).c`, as the grammar's parser reads it.

    Raises:
        ParseError: `parse.too_large` for brackets that are then nested too deeply.
    """
    ends = [
        at
        for at, both in enumerate(pairwise(statement))
        if both[1] == _DOT and both[0] == _ENDING[1]
    ]
    if not ends:
        return statement
    begins = _begins(statement)
    opened = Counter(begins[at] for at in ends)
    closed = frozenset(ends)
    written: list[Token] = []
    depth = 0
    for at, piece in enumerate(statement):
        written += [_OPENING[0]] * opened[at]
        written.append(piece)
        depth += opened[at] + (piece in _OPENING) - (piece in _ENDING)
        if depth > NESTING_MAX:
            raise ParseError(reason("parse.too_large"), f"fields nested deeper than {NESTING_MAX}")
        if at in closed:
            written.append(_ENDING[0])
            depth -= 1
    return written


def _begins(tokens: list[Token]) -> list[int]:
    """Return for each token where the value begins that ends with it; brackets match."""
    begins: list[int] = []
    opened: list[int] = []
    for at, piece in enumerate(tokens):
        begin = at
        if piece in _OPENING:
            opened.append(at)
        elif piece in _ENDING:
            begin = opened.pop()
            if piece == _ENDING[1] and begin:
                begin = begins[begin - 1]
        elif at >= 2 and piece.kind in _NAMES and tokens[at - 1] == _DOT:
            before = tokens[at - 2]
            is_value = before.kind in _NAMES or before in _ENDING
            begin = begins[at - 2] if is_value else at - 2
        begins.append(begin)
    return begins
