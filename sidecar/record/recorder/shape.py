"""What a worker may have recorded: looked at before it is durable, for what is stays for good.

A record is RFC 8785 to the byte, so that no two readers of it differ and whoever writes it anew
has its leaf, is the kind that its frame says it is, and has neither a place nor a mark, and no
member between the two: the ledger gives it both. What the ledger alone says of itself no worker
says. That a decision is true cannot be seen here: who decides is trusted with that. It costs about
3 microseconds a kilobyte; of records of a stencil, which are most, the stencil alone is looked at.
"""

import re
from typing import Final, Literal, TypeAlias

import msgspec

from sidecar.record.canonical import PLACE, Halves, read_halves
from sidecar.record.keeping.history import HELD, KEY_ROTATED, PRUNED, RELEASED
from sidecar.record.limits import RECORD_BYTES_MAX
from sidecar.record.recorder.wire import Garbled, Item

_OPENS: Final = b'"listener_forwarded":true'
_LEDGERS_OWN: Final = frozenset({PRUNED, KEY_ROTATED, HELD, RELEASED})
_LEDGERS: Final = "ledger."
# What workers say besides of calls, by kind and event. All else, who is revoked first of all, is
# the supervisor's to say: it alone reads what the operator writes.
WORKERS: Final = frozenset(
    {
        ("admin", "subject_set"),
        ("ops", "refusals"),
        ("ops", "catalogue_drift"),
        ("ops", "shadow_difference"),
    }
)
# Who may say all that is not the ledger's own.
ANY: Final = None
Says: TypeAlias = frozenset[tuple[str, str]] | None
# An escape that goes on: a backslash that no other escapes, and what of `uXXXX` is there.
_ESCAPE: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\(?:u[0-9A-Fa-f]{0,3})?\Z")


class _Said(msgspec.Struct, gc=False):
    """What is looked at; all else only has to be JSON."""

    id: str
    time: str
    kind: Literal["decision", "outcome", "admin", "ops", "approval"]
    listener_forwarded: bool = False
    parent: str | None = None
    event: str = ""
    detail: dict[str, object] = {}


def check(item: Item, says: Says = WORKERS) -> None:
    """Refuse what is no record of whoever brings it.

    Args:
        item: What is brought.
        says: What it may say besides of calls.

    Raises:
        Garbled: It is not.
    """
    head, tail = item.head, item.tail
    if len(head) + len(tail) >= RECORD_BYTES_MAX + len(b","):
        raise Garbled("a record that is too large")
    try:
        said = msgspec.convert(read_halves(Halves(head, tail)), _Said)
    except (ValueError, RecursionError):
        # Why without the cause: it may say what stands there.
        raise Garbled("what is no record, or can be said in other bytes") from None
    is_decision = said.kind == "decision"
    opens = is_decision and said.listener_forwarded
    if item.closes is not None if is_decision else not _is_told(item, said, says):
        raise Garbled("a record that is not for it to write, or not so")
    if said.id != item.id or opens is not item.opens or head.endswith(_OPENS) is not opens:
        raise Garbled("a record that is not what its frame says")
    if PLACE in head or PLACE in tail:
        raise Garbled("a record within which a place stands")


def ends_in_escape(text: bytes) -> bool:
    """Return whether what follows `text` in JSON may be part of a letter that it begins."""
    return _ESCAPE.search(text) is not None


def _is_told(item: Item, said: _Said, says: Says) -> bool:
    """Return whether what is no decision is as folds will find it, and for who says it to say."""
    if said.kind == "outcome":
        is_so = said.parent is not None and said.parent == item.closes
    else:
        is_so = item.strict and item.closes is None and _is_for(said, says)
    # Folds look at what has its kind right before its place.
    return is_so and (said.kind == "approval" or item.head.endswith(b'"%b"' % said.kind.encode()))


def _is_for(said: _Said, says: Says) -> bool:
    """Return whether an event is for this one to tell of."""
    if says is not ANY:
        return (said.kind, said.event) in says
    is_ledgers = said.event in _LEDGERS_OWN or said.event.startswith(_LEDGERS)
    return said.kind == "approval" or (bool(said.event) and not is_ledgers)
