"""Brackets that PostgreSQL needs not: around a join before the ON of another, and keys of ROLLUP.

`a JOIN b CROSS JOIN c ON …` is `a JOIN (b CROSS JOIN c) ON …`. A bracket that is put wrongly makes
other joins than PostgreSQL's grammar has, and refuses the statement.

Source: PostgreSQL 18, src/backend/parser/gram.y, `joined_table`, `group_by_item`.
"""

from typing import Final

from sidecar.domains.data.parse.text.grammar import BARE
from sidecar.domains.data.parse.text.shapes.edit import CLOSE, COMMA, DOT, OPEN, Edit

# Joins without a condition.
FREE: Final = ("natural", "cross")
GROUPINGS: Final = ("rollup", "cube", "sets")
_BEHIND: Final = frozenset((
    "where", "group", "having", "window", "order", "limit", "offset", "fetch", "for", "union",
    "intersect", "except", "set", "when", "returning",
))  # fmt: skip
# `IS DISTINCT FROM`, `ROWS FROM (…)`.
_NO_CLAUSES: Final = ("distinct", "rows")
_WORDS: Final = frozenset(("left", "right", "full", "inner", "outer"))


def nested(edit: Edit, at: int) -> None:
    """Put brackets around the side that a join of NATURAL or CROSS is, where ON stands behind it.

    The first of these words in a list of joins does it for all of them.
    """
    start = _list_start(edit, at) if _joins(edit, at) else -1
    if start < 0:
        return
    # Where the right sides begin whose condition is still to come, and whether they are joins.
    sides: list[tuple[int, bool]] = []
    is_condition = False
    for i in edit.level(start, len(edit.tokens)):
        word = edit.text(i)
        if edit.is_at(i, CLOSE) or edit.is_at(i, COMMA) or word in _BEHIND:
            break
        if word == "join":
            if _is_free(edit, i):
                sides[-1:] = [(side, True) for side, _ in sides[-1:]]
            else:
                sides.append((i + 1, False))
        is_condition = word == "on" or (word == "using" and edit.is_at(i + 1, OPEN))
        if is_condition and sides:
            side, is_join = sides.pop()
            if is_join:
                edit.add(side, OPEN)
                edit.add(i, CLOSE)


def _list_start(edit: Edit, at: int) -> int:
    """Return where the item of FROM begins in which the join at `at` stands, -1 behind another."""
    while at > 0:
        before = at - 1
        if edit.text(before) in FREE and _joins(edit, before):
            return -1
        if edit.is_at(before, CLOSE):
            at = edit.opening[before]
        elif edit.is_at(before, OPEN) or edit.is_at(before, COMMA) or _begins(edit, before):
            return at
        else:
            at = before
    return 0


def _begins(edit: Edit, at: int) -> bool:
    """Return whether items stand behind the word at `at`: FROM, or the USING of no join."""
    if edit.text(at) == "from":
        return edit.text(at - 1) not in _NO_CLAUSES
    return edit.text(at) == "using" and not edit.is_at(at + 1, OPEN)


def _is_free(edit: Edit, at: int) -> bool:
    """Return whether the JOIN at `at` has no condition."""
    before = at - 1
    while edit.text(before) in _WORDS:
        before -= 1
    return edit.text(before) in FREE


def _joins(edit: Edit, at: int) -> bool:
    """Return whether the word at `at` begins a join."""
    behind = at + 1
    while edit.text(behind) in _WORDS:
        behind += 1
    return edit.text(behind) == "join"


def grouped(edit: Edit, at: int) -> None:
    """Put brackets around `a IS NULL` among the keys of ROLLUP, CUBE and GROUPING SETS."""
    if not edit.is_at(at + 1, OPEN) or edit.is_at(at - 1, DOT):
        return
    end = edit.closing[at + 1]
    commas = [i for i in edit.level(at + 2, end) if edit.is_at(i, COMMA)]
    for first, last in zip([at + 1, *commas], [*commas, end], strict=True):
        is_more = edit.is_at(first + 1, OPEN) and edit.closing[first + 1] != last - 1
        if is_more or any(edit.text(i) in BARE for i in edit.level(first + 1, last)):
            edit.add(first + 1, OPEN)
            edit.add(last, CLOSE)
