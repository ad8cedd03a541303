"""Cuts a text of several statements into texts that mean the same one after another.

PostgreSQL runs the statements of one Query as one transaction, the first error ending the text;
sent each by itself they would be a transaction each. Inside of a transaction that the client itself
has begun there is no difference: each runs in it, and the first error fails it. So drivers do that
put `BEGIN` or `SAVEPOINT a` before a statement, and these texts are cut: the first statement begins
a transaction, or sets a point in one that is open, and but one of the others may be more than
transaction control, a setting before it or a FETCH behind it. More than one is refused as ever:
whoever gets a second statement into a text shall find no use for it, nor a way out of a transaction
that somebody else has begun.

Where a text is cut PostgreSQL's grammar says, and our scanner has to find as many statements.
Nothing is taken from this for a decision: each statement is read and decided by itself.
"""

from collections.abc import Sequence
from itertools import dropwhile, islice
from typing import Final

from sidecar.domains.data.limits import APART_MAX
from sidecar.domains.data.parse.second import look
from sidecar.domains.data.parse.text.lexer import statements, tokens
from sidecar.domains.data.parse.text.session import may_stand_together
from sidecar.terms.call import Json
from sidecar.terms.errors import ParseError

_BEGINS: Final = frozenset(("TRANS_STMT_BEGIN", "TRANS_STMT_START"))
_ENDS: Final = frozenset(("TRANS_STMT_COMMIT", "TRANS_STMT_ROLLBACK"))
_POINTS: Final = frozenset((
    "TRANS_STMT_SAVEPOINT", "TRANS_STMT_RELEASE", "TRANS_STMT_ROLLBACK_TO",
))  # fmt: skip
# What may stand before the one statement that a text is about, and what behind it: no setting, for
# whoever puts something into that statement may add to it.
_BEHIND: Final = frozenset(("TransactionStmt", "DeallocateStmt", "FetchStmt", "ClosePortalStmt"))
_BEFORE: Final = _BEHIND | {"VariableSetStmt", "ConstraintsSetStmt"}


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
        cut: list[dict[str, Json]] = look(text).tree["stmts"]
    except ParseError:
        # It is refused as a whole, with the reason on record.
        return ()
    if len(cut) != len(found) or not _goes_apart([one["stmt"] for one in cut], is_open=is_open):
        return ()
    data = text.encode()
    return tuple([_between(data, one) for one in cut])


def _between(data: bytes, one: dict[str, Json]) -> str:
    start: int = one.get("stmt_location", 0)
    size: int = one.get("stmt_len", 0) or len(data) - start
    return data[start : start + size].decode()


def _goes_apart(found: Sequence[dict[str, Json]], *, is_open: bool) -> bool:
    """Return whether statements are of the shape that may be cut; there are two at least."""
    controls = [one.get("TransactionStmt", {}).get("kind") for one in found]
    *middle, last = controls[1:]
    if controls[0] not in (_POINTS if is_open else _BEGINS):
        return False
    if not {*middle, None if last in _ENDS and not is_open else last} <= {*_POINTS, None}:
        return False
    # The client sends its data only when it has the answers before it, and gets these.
    if any(one.get("CopyStmt", {}).get("is_from") for one in found[:-1]):
        return False
    rest = dropwhile(lambda one: not _BEFORE.isdisjoint(one), found)
    return all(not _BEHIND.isdisjoint(one) for one in islice(rest, 1, None))


__all__ = ["apart"]
