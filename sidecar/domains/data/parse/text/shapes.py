"""Spells what PostgreSQL's grammar has and the tree's parser has not, before it is written out.

Each shape becomes one that both read. What was taken out is kept as a marked name where a list of
names stands: `USING (a) AS j` is `USING (a, ␞j)`, the columns that SEARCH and CYCLE set stand
behind those of their CTE. UPDATE's FROM and
DELETE's USING begin with a marked item, behind which the parser reads lists as it does those of
SELECT. No scanned name holds such a mark: control characters are refused.
A shape that is not recognised stays as it is and ends as a syntax error.
"""

from collections.abc import Collection, Iterator
from functools import cached_property
from typing import Final

from sidecar.domains.data.parse.text.casts import closers, plain_type_end
from sidecar.domains.data.parse.text.grammar import BARE
from sidecar.domains.data.parse.text.lexer import Token
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

EXTRA: Final = "\x1e"

_OPEN: Final = Token("punct", "(")
_CLOSE: Final = Token("punct", ")")
_COMMA: Final = Token("punct", ",")
_AS: Final = Token("word", "as")
_DOT: Final = Token("punct", ".")
_NAMES: Final = ("word", "quoted")
_QUERIES: Final = frozenset(("select", "with", "values", "table"))
_BEHIND_LISTS: Final = frozenset(("where", "returning", "join"))
_BEHIND_JOINS: Final = frozenset((
    "on", "using", "where", "group", "having", "window", "order", "limit", "offset", "fetch", "for",
    "select",
))  # fmt: skip
_CONSTANTS: Final = ("word", "quoted", "string", "number")


class Edit:
    """What to leave out of a statement and what to put in; applied at once."""

    def __init__(self, statement: list[Token]) -> None:
        self.tokens = statement
        self._dropped: set[int] = set()
        self._added: dict[int, list[Token]] = {}

    @cached_property
    def closing(self) -> dict[int, int]:
        """Return where each bracket closes."""
        return closers(self.tokens)

    @cached_property
    def opening(self) -> dict[int, int]:
        """Return where each bracket opens, by where it closes."""
        return {end: start for start, end in self.closing.items()}

    def drop(self, start: int, end: int) -> None:
        """Leave out the tokens from `start` to before `end`."""
        self._dropped.update(range(start, end))

    def add(self, at: int, *pieces: Token) -> None:
        """Put `pieces` before the token at `at`."""
        self._added.setdefault(at, []).extend(pieces)

    def text(self, at: int) -> str:
        """Return the word at `at`, empty for anything else."""
        if not 0 <= at < len(self.tokens) or self.tokens[at].kind != "word":
            return ""
        return self.tokens[at].text

    def is_at(self, at: int, piece: Token) -> bool:
        """Return whether `piece` stands at `at`."""
        return 0 <= at < len(self.tokens) and self.tokens[at] == piece

    def is_name(self, at: int) -> bool:
        """Return whether a word or a quoted name stands at `at`."""
        return 0 <= at < len(self.tokens) and self.tokens[at].kind in _NAMES

    def level(self, start: int, end: int) -> Iterator[int]:
        """Yield the positions from `start` on that stand in no bracket of their own."""
        at = start
        while at < min(end, len(self.tokens)):
            yield at
            at = self.closing.get(at, at) + 1

    def result(self) -> list[Token]:
        """Return the tokens as they are to be."""
        if not self._dropped and not self._added:
            return self.tokens
        out: list[Token] = []
        for at, token in enumerate(self.tokens):
            out += self._added.get(at, ())
            if at not in self._dropped:
                out.append(token)
        return out + self._added.get(len(self.tokens), [])


def reshaped(statement: list[Token], marks: Collection[str]) -> list[Token]:
    """Return the tokens in shapes that the tree's parser reads; `marks` are their texts."""
    for trigger, shape in _SHAPES.items():
        if trigger not in marks:
            continue
        edit = Edit(statement)
        for at in [at for at, piece in enumerate(statement) if piece == ("word", trigger)]:
            shape(edit, at)
        statement = edit.result()
    return statement


def _marked(name: Token) -> Token:
    return Token("quoted", EXTRA + name.text)


def _join_alias(edit: Edit, at: int) -> None:
    """Move `AS j` behind `USING (…)` into its list."""
    if not edit.is_at(at + 1, _OPEN):
        return
    end = edit.closing[at + 1]
    # A query may stand in brackets there too: behind the USING of DELETE and MERGE.
    listed = edit.tokens[at + 2 : end]
    is_list = all((piece == _COMMA) == bool(i % 2) for i, piece in enumerate(listed))
    if not is_list:
        return
    if edit.is_at(end + 1, _AS) and edit.is_name(end + 2):
        edit.add(end, _COMMA, _marked(edit.tokens[end + 2]))
        edit.drop(end + 1, end + 3)


def _ordinality(edit: Edit, at: int) -> None:
    """Put AS before the alias of `WITH ORDINALITY`, whose columns are its own only behind one."""
    is_clause = edit.text(at - 1) == "with"
    if is_clause and edit.is_name(at + 1) and edit.text(at + 1) not in BARE:
        edit.add(at + 1, _AS)


def _search(edit: Edit, at: int) -> None:
    """Move the columns that `SEARCH … SET a` and `CYCLE … SET a USING b` add to their CTE."""
    if not edit.is_at(at - 1, _CLOSE):
        return
    body = edit.opening[at - 1]
    names: list[Token] = []
    while edit.text(at) in ("search", "cycle"):
        end = _clause_end(edit, at)
        if not end:
            return
        names += [
            _marked(edit.tokens[i + 1]) for i in range(at, end) if _names_column(edit, i, end)
        ]
        edit.drop(at, end)
        at = end
    head = body - 1
    while edit.text(head) in ("materialized", "not"):
        head -= 1
    if not names or not edit.is_at(head, _AS):
        raise _unread()
    listed = [piece for name in names for piece in (_COMMA, name)]
    if edit.is_at(head - 1, _CLOSE):
        edit.add(head - 1, *listed)
    else:
        edit.add(head, _OPEN, *listed[1:], _CLOSE)


def _names_column(edit: Edit, at: int, end: int) -> bool:
    return edit.text(at) == "set" or (edit.text(at) == "using" and at == end - 2)


def _clause_end(edit: Edit, at: int) -> int:
    """Return where `SEARCH … SET a` or `CYCLE … USING b` ends, 0 where it is none."""
    last = "set" if edit.text(at) == "search" else "using"
    for i in range(at + 1, len(edit.tokens) - 1):
        if edit.text(i) == last:
            return i + 2 if edit.is_name(i + 1) else 0
        if edit.tokens[i].kind not in _CONSTANTS and not edit.is_at(i, _COMMA):
            return 0
    return 0


def _cycle(edit: Edit, at: int) -> None:
    """Move what CYCLE adds; one behind SEARCH has been moved with it."""
    _search(edit, at)


def _parts(edit: Edit, at: int) -> None:
    """Leave the column of `INSERT INTO t (column.field[1], …)`, of which a part is written."""
    if edit.text(at + 1) != "into":
        return
    at += 2
    while edit.is_name(at) and edit.is_at(at + 1, _DOT):
        at += 2
    at += 3 if edit.text(at + 1) == "as" else 1
    if not edit.is_at(at, _OPEN) or edit.text(at + 1) in _QUERIES or edit.is_at(at + 1, _OPEN):
        return
    end = edit.closing[at]
    start = at + 1
    if all(piece == _COMMA for piece in edit.tokens[at + 2 : end : 2]):
        # Columns alone.
        return
    for i in [*(i for i in edit.level(at + 1, end) if edit.is_at(i, _COMMA)), end]:
        if i - start > 1:
            if not edit.is_name(start) or not _is_part(edit, start + 1, i):
                raise _unread()
            edit.drop(start + 1, i)
        start = i + 1


def _is_part(edit: Edit, at: int, end: int) -> bool:
    """Return whether only `.field` and subscripts that read nothing stand there."""
    while at < end:
        if edit.is_at(at, _DOT) and edit.is_name(at + 1):
            at += 2
        elif edit.is_at(at, Token("punct", "[")):
            inside = edit.tokens[at + 1 : edit.closing[at]]
            if any(kind not in ("number", "param") and text != ":" for kind, text in inside):
                return False
            at = edit.closing[at] + 1
        else:
            return False
    return True


def _source(edit: Edit, at: int) -> None:
    """Put the joins of `MERGE INTO t USING a JOIN b ON … ON …` in brackets."""
    if edit.text(at + 1) != "into":
        return
    using = on = 0
    is_joined = False
    for i in edit.level(at + 2, len(edit.tokens)):
        word = edit.text(i)
        if word == "merge" and edit.text(i + 1) == "into":
            # Another one, behind the bracket that holds this one.
            break
        if not using:
            using = i if word == "using" else 0
        elif word == "on":
            on = i
        elif word == "when" and edit.text(i + 1) in ("matched", "not"):
            break
        is_joined |= bool(using) and word == "join"
    if is_joined and on:
        edit.add(using + 1, _OPEN)
        edit.add(on, _CLOSE)


def _definitions(edit: Edit, at: int) -> None:
    """Leave the names of `f(…) AS t (a type, b type)`."""
    is_named = edit.is_name(at + 1)
    start = at + 2 if is_named else at + 1
    if not edit.is_at(start, _OPEN) or edit.text(start + 1) in _QUERIES:
        return
    end = edit.closing[start]
    commas = [i for i in edit.level(start + 1, end) if edit.is_at(i, _COMMA)]
    found: list[tuple[int, int]] = []
    for first, last in zip([start, *commas], [*commas, end], strict=True):
        if not edit.is_name(first + 1):
            return
        if plain_type_end(edit.tokens, first + 2, edit.closing) != last:
            return
        found.append((first + 2, last))
    for first, last in found:
        edit.drop(first, last)
    if not is_named:
        edit.add(at + 1, _marked(Token("quoted", "")))


def _listed_from(edit: Edit, at: int) -> None:
    """Begin the FROM of `UPDATE t SET … FROM …` with a marked item."""
    if edit.is_name(at + 1) and (edit.text(at + 1) not in BARE or edit.text(at + 1) == "only"):
        _begin_list(edit, at, "from", ("distinct",))


def _listed_using(edit: Edit, at: int) -> None:
    """Begin the USING of `DELETE FROM t USING …` with a marked item."""
    if edit.text(at + 1) == "from":
        _begin_list(edit, at, "using", ())


def _values(edit: Edit, at: int) -> None:
    """Make `WITH … VALUES …` a SELECT from it."""
    i = at - 1
    while edit.is_at(i, _OPEN):
        i -= 1
    if not edit.is_at(i, _CLOSE) or not edit.is_at(at + 1, _OPEN):
        return
    i = edit.opening[i] - 1
    while edit.text(i) in ("materialized", "not"):
        i -= 1
    if edit.text(i) != "as":
        return
    end = edit.closing[at + 1] + 1
    while edit.is_at(end, _COMMA) and edit.is_at(end + 1, _OPEN):
        end = edit.closing[end + 1] + 1
    edit.add(at, Token("word", "select"), Token("op", "*"), Token("word", "from"), _OPEN)
    edit.add(end, _CLOSE, _AS, Token("quoted", EXTRA))


def _sample(edit: Edit, at: int) -> None:
    """Put the argument of `TABLESAMPLE method (…)` in brackets of its own."""
    if edit.is_at(at + 2, _OPEN):
        edit.add(at + 3, _OPEN)
        edit.add(edit.closing[at + 2], _CLOSE)


def _conflict(edit: Edit, at: int) -> None:
    """Leave the operator classes of ON CONFLICT, and part it from a join without a condition."""
    if edit.text(at - 1) != "on":
        return
    if edit.is_at(at + 1, _OPEN):
        end = edit.closing[at + 1]
        commas = [i for i in edit.level(at + 2, end) if edit.is_at(i, _COMMA)]
        for first, last in zip([at + 1, *commas], [*commas, end], strict=True):
            _leave_class(edit, first + 1, last)
    i = at - 2
    while i > 0 and edit.text(i) not in _BEHIND_JOINS:
        i = edit.opening[i] - 1 if edit.is_at(i, _CLOSE) else i - 1
        if edit.text(i) == "join":
            edit.add(at - 1, Token("word", "where"), Token("word", "true"))
            return


def _leave_class(edit: Edit, at: int, end: int) -> None:
    """Leave the operator class behind `column`, `f(…)` or `(…)` and its COLLATE."""
    at = _name_end(edit, at)
    at = edit.closing[at] + 1 if edit.is_at(at, _OPEN) else at
    at = _name_end(edit, at + 1) if edit.text(at) == "collate" else at
    if at < end and edit.text(at) not in ("asc", "desc", "nulls") and _name_end(edit, at) == end:
        edit.drop(at, end)


def _name_end(edit: Edit, at: int) -> int:
    """Return where a name ends that begins at `at`, with schemas before it; `at` for none."""
    while edit.is_name(at) and edit.is_at(at + 1, _DOT):
        at += 2
    return at + 1 if edit.is_name(at) else at


def _begin_list(edit: Edit, at: int, wanted: str, inside: Collection[str]) -> None:
    """Begin the list behind the word `wanted` of the statement at `at`.

    It is no word of a list behind one of `inside` (`IS DISTINCT FROM`), nor as a label.
    """
    if at and not edit.is_at(at - 1, _OPEN) and not edit.is_at(at - 1, _CLOSE):
        return
    for i in edit.level(at + 2, len(edit.tokens)):
        if edit.is_at(i, _CLOSE) or edit.text(i) in _BEHIND_LISTS or edit.text(i) == edit.text(at):
            # Behind all that may stand before the list, or at another statement, which has its own.
            return
        is_other = edit.text(i - 1) in inside or edit.is_at(i - 1, _DOT)
        if edit.text(i) == wanted and not is_other:
            edit.add(i + 1, Token("quoted", EXTRA), _COMMA)
            return


# In this order: CYCLE's own USING is gone before those of joins are looked at.
_SHAPES: Final = {
    "search": _search, "cycle": _cycle, "update": _listed_from, "delete": _listed_using,
    "using": _join_alias, "insert": _parts, "merge": _source, "as": _definitions,
    "ordinality": _ordinality, "conflict": _conflict,
    "values": _values, "tablesample": _sample,
}  # fmt: skip


def _unread() -> ParseError:
    return ParseError(reason("parse.unsupported"), "a part of a list that is not read")
