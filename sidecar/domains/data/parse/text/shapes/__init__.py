"""Spells what PostgreSQL's grammar has and the tree's parser has not, before it is written out.

Each shape becomes one that both read. What was taken out is kept as a marked name where a list of
names stands: `USING (a) AS j` is `USING (a, ␞j)`, the columns that SEARCH and CYCLE set stand
behind those of their CTE. UPDATE's FROM and
DELETE's USING begin with a marked item, behind which the parser reads lists as it does those of
SELECT. No scanned name holds such a mark: control characters are refused.
A shape that is not recognised stays as it is and ends as a syntax error.
"""

from collections.abc import Collection
from typing import Final

from sidecar.domains.data.catalogue.owned import Castable
from sidecar.domains.data.parse.text.grammar import BARE
from sidecar.domains.data.parse.text.lexer import Token
from sidecar.domains.data.parse.text.shapes.defined import QUERIES, RECORDS, definitions, record
from sidecar.domains.data.parse.text.shapes.edit import (
    AS,
    CLOSE,
    COMMA,
    DOT,
    EXTRA,
    OPEN,
    Edit,
    marked,
    name_end,
)
from sidecar.domains.data.parse.text.shapes.nested import FREE, GROUPINGS, grouped, nested
from sidecar.domains.data.parse.text.shapes.tabled import TABLES, tabled
from sidecar.domains.data.parse.text.shapes.worded import OF_TESTS, tested
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

_BEHIND_LISTS: Final = frozenset(("where", "returning", "join"))
_BEHIND_JOINS: Final = frozenset((
    "on", "using", "where", "group", "having", "window", "order", "limit", "offset", "fetch", "for",
    "select",
))  # fmt: skip
_LITERALS: Final = ("number", "param", "string")
_BRACKET: Final = Token("punct", "[")
_CLOSING: Final = Token("punct", "]")
_COLON: Final = Token("punct", ":")
_ONE: Final = Token("number", "1")
_CONSTANTS: Final = ("word", "quoted", "string", "number")


def reshaped(statement: list[Token], marks: Collection[str], types: Castable | None) -> list[Token]:
    """Return the tokens in shapes that the tree's parser reads.

    `marks` are their texts, `types` those of somebody's own that may be cast to.
    """
    for trigger in sorted(_TRIGGERS.intersection(marks), key=_ORDER.index):
        shape = _SHAPES[trigger]
        edit = Edit(statement, types)
        at, word = -1, Token("word", trigger)
        for _ in range(statement.count(word)):
            at = statement.index(word, at + 1)
            if statement[at - 1] != DOT:
                shape(edit, at)
        statement = edit.result()
    return sliced(statement) if ":" in marks else statement


def sliced(statement: list[Token]) -> list[Token]:
    """Write `a[i:j]` as `a[:][i][j]`, which reads the same; what is of literals alone stays."""
    edit = Edit(statement)
    for start in [at for at, piece in enumerate(statement) if piece == _BRACKET]:
        end = edit.closing[start]
        colon = next((at for at in edit.level(start + 1, end) if edit.is_at(at, _COLON)), 0)
        if not colon or _is_part(edit, start, end):
            continue
        edit.drop(colon, colon + 1)
        # It is an array, and no element of one.
        edit.add(start, _BRACKET, _COLON, _CLOSING)
        edit.add(colon, *([_ONE] if colon == start + 1 else []), _CLOSING, _BRACKET)
        edit.add(end, *([_ONE] if colon == end - 1 else []))
    return edit.result()


def _join_alias(edit: Edit, at: int) -> None:
    """Move `AS j` behind `USING (…)` into its list."""
    if not edit.is_at(at + 1, OPEN):
        return
    end = edit.closing[at + 1]
    # A query may stand in brackets there too: behind the USING of DELETE and MERGE.
    listed = edit.tokens[at + 2 : end]
    is_list = all((piece == COMMA) == bool(i % 2) for i, piece in enumerate(listed))
    if not is_list:
        return
    if edit.is_at(end + 1, AS) and edit.is_name(end + 2):
        edit.add(end, COMMA, marked(edit.tokens[end + 2].text))
        edit.drop(end + 1, end + 3)


def _ordinality(edit: Edit, at: int) -> None:
    """Put AS before the alias of `WITH ORDINALITY`, whose columns are its own only behind one."""
    if edit.text(at - 1) != "with":
        return
    if not edit.is_at(at - 2, CLOSE):
        # Behind no call it is the name of a query.
        edit.drop(at, at + 1)
        edit.add(at, Token("quoted", "ordinality"))
    elif edit.is_name(at + 1) and edit.text(at + 1) not in BARE:
        edit.add(at + 1, AS)


def _search(edit: Edit, at: int) -> None:
    """Move the columns that `SEARCH … SET a` and `CYCLE … SET a USING b` add to their CTE."""
    if not edit.is_at(at - 1, CLOSE):
        return
    body = edit.opening[at - 1]
    names: list[Token] = []
    while edit.text(at) in ("search", "cycle"):
        end = _clause_end(edit, at)
        if not end:
            return
        names += [
            marked(edit.tokens[i + 1].text) for i in range(at, end) if _names_column(edit, i, end)
        ]
        edit.drop(at, end)
        at = end
    head = body - 1
    while edit.text(head) in ("materialized", "not"):
        head -= 1
    if not names or not edit.is_at(head, AS):
        raise _unread()
    listed = [piece for name in names for piece in (COMMA, name)]
    if edit.is_at(head - 1, CLOSE):
        edit.add(head - 1, *listed)
    else:
        edit.add(head, OPEN, *listed[1:], CLOSE)


def _names_column(edit: Edit, at: int, end: int) -> bool:
    return edit.text(at) == "set" or (edit.text(at) == "using" and at == end - 2)


def _clause_end(edit: Edit, at: int) -> int:
    """Return where `SEARCH … SET a` or `CYCLE … USING b` ends, 0 where it is none."""
    last = "set" if edit.text(at) == "search" else "using"
    for i in range(at + 1, len(edit.tokens) - 1):
        if edit.text(i) == last:
            return i + 2 if edit.is_name(i + 1) else 0
        if edit.tokens[i].kind not in _CONSTANTS and not edit.is_at(i, COMMA):
            return 0
    return 0


def _cycle(edit: Edit, at: int) -> None:
    """Move what CYCLE adds; one behind SEARCH has been moved with it."""
    _search(edit, at)


def _parts(edit: Edit, at: int) -> None:
    """Leave the column of `INSERT INTO t (column.field[1], …)`, of which a part is written."""
    at = _list_start(edit, at)
    if not edit.is_at(at, OPEN) or edit.text(at + 1) in QUERIES or edit.is_at(at + 1, OPEN):
        return
    end = edit.closing[at]
    start = at + 1
    if all(piece == COMMA for piece in edit.tokens[at + 2 : end : 2]):
        # Columns alone.
        return
    for i in [*(i for i in edit.level(at + 1, end) if edit.is_at(i, COMMA)), end]:
        if i - start > 1:
            if not edit.is_name(start) or not _is_part(edit, start + 1, i):
                raise _unread()
            edit.drop(start + 1, i)
        start = i + 1


def _list_start(edit: Edit, at: int) -> int:
    """Return where the list of columns of the INSERT at `at` begins, if it has one."""
    if edit.text(at + 1) != "into":
        behind = edit.closing[at + 1] + 1 if edit.is_at(at + 1, OPEN) else 0
        # That of MERGE; anything else may be a call of that name.
        is_list = edit.text(at - 1) == "then" and edit.text(behind) in ("values", "overriding")
        return at + 1 if is_list else at
    at += 2
    while edit.is_name(at) and edit.is_at(at + 1, DOT):
        at += 2
    return at + (3 if edit.text(at + 1) == "as" else 1)


def _is_part(edit: Edit, at: int, end: int) -> bool:
    """Return whether only `.field` and subscripts that read nothing stand there."""
    while at < end:
        if edit.is_at(at, DOT) and edit.is_name(at + 1):
            at += 2
        elif edit.is_at(at, _BRACKET):
            inside = edit.tokens[at + 1 : edit.closing[at]]
            if any(kind not in _LITERALS and text not in (":", "-") for kind, text in inside):
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
        edit.add(using + 1, OPEN)
        edit.add(on, CLOSE)


def _current(edit: Edit, at: int) -> None:
    """Write `WHERE CURRENT OF cursor` as a condition that reads nothing."""
    if edit.text(at - 1) == "where" and edit.text(at + 1) == "of" and edit.is_name(at + 2):
        edit.drop(at, at + 3)
        edit.add(at, Token("word", "true"))


def _row(edit: Edit, at: int) -> None:
    """Leave out the word of `OFFSET n ROW`; behind any other value it may be the value's name."""
    value = edit.opening.get(at - 1, at - 1)
    if edit.text(value - 1) == "offset":
        edit.drop(at, at + 1)


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
    while edit.is_at(i, OPEN):
        i -= 1
    if not edit.is_at(i, CLOSE) or not edit.is_at(at + 1, OPEN):
        return
    i = edit.opening[i] - 1
    while edit.text(i) in ("materialized", "not"):
        i -= 1
    if edit.text(i) != "as":
        return
    end = edit.closing[at + 1] + 1
    while edit.is_at(end, COMMA) and edit.is_at(end + 1, OPEN):
        end = edit.closing[end + 1] + 1
    edit.add(at, Token("word", "select"), Token("op", "*"), Token("word", "from"), OPEN)
    edit.add(end, CLOSE, AS, Token("quoted", EXTRA))


def _sample(edit: Edit, at: int) -> None:
    """Put the argument of `TABLESAMPLE method (…)` in brackets of its own, with its seed added."""
    if not edit.is_at(at + 2, OPEN):
        return
    end = edit.closing[at + 2]
    if edit.text(end + 1) != "repeatable" or not edit.is_at(end + 2, OPEN):
        edit.add(at + 3, OPEN)
        edit.add(end, CLOSE)
        return
    edit.add(at + 3, OPEN, OPEN)
    edit.drop(end + 1, end + 2)
    edit.add(end + 1, Token("op", "+"))
    edit.add(edit.closing[end + 2] + 1, CLOSE, CLOSE)


def _conflict(edit: Edit, at: int) -> None:
    """Leave the operator classes of ON CONFLICT, and part it from a join without a condition."""
    if edit.text(at - 1) != "on":
        return
    if edit.is_at(at + 1, OPEN):
        end = edit.closing[at + 1]
        commas = [i for i in edit.level(at + 2, end) if edit.is_at(i, COMMA)]
        for first, last in zip([at + 1, *commas], [*commas, end], strict=True):
            _leave_class(edit, first + 1, last)
    i = at - 2
    while i > 0 and edit.text(i) not in _BEHIND_JOINS:
        i = edit.opening[i] - 1 if edit.is_at(i, CLOSE) else i - 1
        if edit.text(i) == "join":
            edit.add(at - 1, Token("word", "where"), Token("word", "true"))
            return


def _leave_class(edit: Edit, at: int, end: int) -> None:
    """Leave the operator class behind `column`, `f(…)` or `(…)` and its COLLATE."""
    at = name_end(edit, at)
    at = edit.closing[at] + 1 if edit.is_at(at, OPEN) else at
    at = name_end(edit, at + 1) if edit.text(at) == "collate" else at
    if at < end and edit.text(at) not in ("asc", "desc", "nulls") and name_end(edit, at) == end:
        edit.drop(at, end)


def _returning(edit: Edit, at: int) -> None:
    """Move the names of `RETURNING WITH (OLD AS o, NEW AS n)` to the beginning of its list."""
    if edit.text(at - 1) != "returning" or not edit.is_at(at + 1, OPEN):
        return
    end = edit.closing[at + 1]
    for i in range(at + 2, end, 4):
        is_name = edit.text(i) in ("old", "new") and edit.is_at(i + 1, AS) and edit.is_name(i + 2)
        if not is_name or i + 3 > end or not (edit.is_at(i + 3, COMMA) or i + 3 == end):
            raise _unread()
        edit.add(at, marked(edit.text(i)), AS, edit.tokens[i + 2], COMMA)
    edit.drop(at, end + 1)


def _test(edit: Edit, at: int) -> None:
    """Write `IS JSON OBJECT` and its kin as IS NULL, which reads the same."""
    taken = tested(edit.tokens, at)
    if taken:
        edit.drop(at, at + taken)
        edit.add(at, Token("word", "null"))


def _limit(edit: Edit, at: int) -> None:
    """Leave `LIMIT ALL`, which is none."""
    if edit.text(at - 1) == "limit":
        edit.drop(at - 1, at + 1)


def _lateral(edit: Edit, at: int) -> None:
    """Leave LATERAL before `ROWS FROM (…)`, which sees what stands to its left in any case."""
    if edit.text(at + 1) == "rows" and edit.text(at + 2) == "from":
        edit.drop(at, at + 1)


def _collation(edit: Edit, at: int) -> None:
    """Write `COLLATION FOR (…)` as the call that PostgreSQL makes of it."""
    if edit.text(at + 1) == "for" and edit.is_at(at + 2, OPEN) and not edit.is_at(at - 1, DOT):
        edit.drop(at, at + 2)
        edit.add(at, Token("word", "pg_collation_for"))


def _begin_list(edit: Edit, at: int, wanted: str, inside: Collection[str]) -> None:
    """Begin the list behind the word `wanted` of the statement at `at`.

    It is no word of a list behind one of `inside` (`IS DISTINCT FROM`), nor as a label.
    """
    if at and not edit.is_at(at - 1, OPEN) and not edit.is_at(at - 1, CLOSE):
        return
    for i in edit.level(at + 2, len(edit.tokens)):
        if edit.is_at(i, CLOSE) or edit.text(i) in _BEHIND_LISTS or edit.text(i) == edit.text(at):
            # Behind all that may stand before the list, or at another statement, which has its own.
            return
        is_other = edit.text(i - 1) in inside or edit.is_at(i - 1, DOT)
        if edit.text(i) == wanted and not is_other:
            edit.add(i + 1, Token("quoted", EXTRA), COMMA)
            return


# In this order: CYCLE's own USING is gone before those of joins are looked at.
_SHAPES: Final = {
    "search": _search, "cycle": _cycle, "update": _listed_from, "delete": _listed_using,
    "using": _join_alias, "insert": _parts, "merge": _source, **dict.fromkeys(RECORDS, record),
    "as": definitions, "current": _current, "row": _row,
    "ordinality": _ordinality, "conflict": _conflict,
    "values": _values, "tablesample": _sample, "with": _returning,
    **dict.fromkeys(FREE, nested), **dict.fromkeys(GROUPINGS, grouped),
    "all": _limit, "collation": _collation, "lateral": _lateral, **dict.fromkeys(OF_TESTS, _test),
    **dict.fromkeys(TABLES, tabled),
}  # fmt: skip


_ORDER: Final = tuple(_SHAPES)
_TRIGGERS: Final = frozenset(_ORDER)


def _unread() -> ParseError:
    return ParseError(reason("parse.unsupported"), "a part of a list that is not read")
