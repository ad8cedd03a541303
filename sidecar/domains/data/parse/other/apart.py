"""Cuts a text of several statements into texts that mean the same one after another.

PostgreSQL runs the statements of one Query as one transaction, the first error ending the text;
sent each by itself they would be a transaction each. Inside of a transaction that the client itself
has begun there is no difference: each runs in it, and the first error fails it. So drivers do that
put `BEGIN` or `SAVEPOINT a` before a statement, and these texts are cut: the first statement begins
a transaction, or sets a point in one that is open, and but one of the others may be more than
transaction control, a setting before it, or a FETCH from the cursor that it declares. More than one
is refused as ever: whoever gets a second statement into a text shall find no use for it, nor a way
out of a transaction that somebody else has begun.

Where a text is cut PostgreSQL's grammar says, and our scanner has to find as many statements.
Nothing is taken from this for a decision: each statement is read and decided by itself. So the one
that touches data, which may be long, is not read here; the others are short.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from itertools import dropwhile
from typing import Final

from sidecar.domains.data.limits import APART_MAX, READ_AT_HAND_CHARS_MAX
from sidecar.domains.data.parse.second import library, look
from sidecar.domains.data.parse.text.lexer import Token, statements, tokens
from sidecar.domains.data.parse.text.session import may_stand_together
from sidecar.terms.call import Json
from sidecar.terms.errors import ParseError

_BEGINS: Final = frozenset(("TRANS_STMT_BEGIN", "TRANS_STMT_START"))
_ENDS: Final = frozenset(("TRANS_STMT_COMMIT", "TRANS_STMT_ROLLBACK"))
_POINTS: Final = frozenset((
    "TRANS_STMT_SAVEPOINT", "TRANS_STMT_RELEASE", "TRANS_STMT_ROLLBACK_TO",
))  # fmt: skip
# What may stand before the one statement that a text is about.
_OF_CURSOR: Final = frozenset(("FetchStmt", "ClosePortalStmt"))
_BEFORE: Final = _OF_CURSOR | {
    "TransactionStmt", "DeallocateStmt", "VariableSetStmt", "ConstraintsSetStmt",
}  # fmt: skip
# And what behind it, for whoever puts something into that statement may add to it: no setting, no
# way back to a point, no point that takes another's name, no cursor where none is declared.
_CLOSES: Final = _ENDS | {"TRANS_STMT_RELEASE"}
# How these begin, and COPY, of which it counts where its data is. All else touches data.
_BEGINNINGS: Final = frozenset((
    "abort", "begin", "close", "commit", "copy", "deallocate", "end", "fetch", "move", "prepare",
    "release", "reset", "rollback", "savepoint", "set", "start",
))  # fmt: skip


class _Place(ctypes.Structure):
    _fields_ = (("start", ctypes.c_int), ("size", ctypes.c_int))


class _Places(ctypes.Structure):
    _fields_ = (
        ("all", ctypes.POINTER(ctypes.POINTER(_Place))),
        ("count", ctypes.c_int),
        ("stderr", ctypes.c_char_p),
        ("error", ctypes.c_void_p),
    )


def apart(text: str, *, is_open: bool) -> tuple[str, ...]:
    """Return the statements of a text that may be sent one after another, each by itself.

    Args:
        text: What a Query says.
        is_open: Whether a transaction is open that the client has begun, failed or not.

    Returns:
        Nothing where the text has to be taken as a whole: of one statement, of what one decision
        reads together, and of what would mean something else.
    """
    try:
        found = statements(tokens(text))
        if not 1 < len(found) <= APART_MAX or all(map(may_stand_together, found)):
            return ()
        cut = _cut(text.encode())
        nodes = _nodes(found, cut)
    except ParseError:
        # It is refused as a whole, with the reason on record.
        return ()
    return cut if nodes and _goes_apart(nodes, is_open=is_open) else ()


def _cut(data: bytes) -> tuple[str, ...]:
    """Return the statements of a text as PostgreSQL's grammar cuts it, nothing where it is none."""
    split, free = _library()
    places = split(data)
    try:
        found = [places.all[at].contents for at in range(places.count)]
        return tuple([_between(data, one.start, one.size) for one in found])
    finally:
        free(places)


@cache
def _library() -> tuple[Callable[[bytes], _Places], Callable[[_Places], None]]:
    """Return what cuts a text, and what frees that."""
    split, free = library().pg_query_split_with_parser, library().pg_query_free_split_result
    split.argtypes, split.restype = [ctypes.c_char_p], _Places
    free.argtypes, free.restype = [_Places], None
    return split, free


def _between(data: bytes, start: int, size: int) -> str:
    return data[start : start + size if size else len(data)].decode()


def _nodes(found: Sequence[list[Token]], cut: Sequence[str]) -> list[dict[str, Json]]:
    """Return what PostgreSQL's grammar makes of what does not touch data; nothing if it is long.

    Raises:
        ParseError: There are other statements to it than to us.
    """
    controls = [one[0].kind == "word" and one[0].text in _BEGINNINGS for one in found]
    if len(cut) != len(found):
        return []
    read = [one if is_read else "" for one, is_read in zip(cut, controls, strict=True)]
    if sum(map(len, read)) > READ_AT_HAND_CHARS_MAX:
        return []
    return [
        look(one).tree["stmts"][0]["stmt"] if one else {its[0].text: {}}
        for one, its in zip(read, found, strict=True)
    ]


def _goes_apart(found: Sequence[dict[str, Json]], *, is_open: bool) -> bool:
    """Return whether statements are of the shape that may be cut; there are two at least."""
    controls = [one.get("TransactionStmt", {}).get("kind") for one in found]
    *middle, last = controls[1:]
    # A transaction that begins where another has ended is not to be told from that one.
    if any(one.get("TransactionStmt", {}).get("chain") for one in found):
        return False
    if controls[0] not in (_POINTS if is_open else _BEGINS):
        return False
    if not {*middle, None if last in _ENDS and not is_open else last} <= {*_POINTS, None}:
        return False
    # The client sends its data only when it has the answers before it, and gets these.
    if any(one.get("CopyStmt", {}).get("is_from") for one in found[:-1]):
        return False
    about, *behind = [*dropwhile(lambda one: not _BEFORE.isdisjoint(one), found)] or [{}]
    return all(_may_follow(one, is_cursor="declare" in about) for one in behind)


def _may_follow(one: dict[str, Json], *, is_cursor: bool) -> bool:
    """Return whether a statement may stand behind the one that a text is about."""
    if "TransactionStmt" in one:
        return one["TransactionStmt"]["kind"] in _CLOSES
    return is_cursor and not _OF_CURSOR.isdisjoint(one)


__all__ = ["apart"]
