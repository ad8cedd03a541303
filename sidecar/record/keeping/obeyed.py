"""Records that are obeyed: what they say is so because they stand in the log.

Whoever can write the folder, and has no key, could put such a record behind the last checkpoint of
a log that nobody writes. So each is signed before anybody is told that it is there, and a start
believes none that is not: it sets it aside with all that follows, of which nobody was told.
"""

from typing import Final

from sidecar.record.fold import REVOKE, UNREVOKE
from sidecar.record.keeping.history import PRUNED
from sidecar.record.persons.forget import FORGOTTEN
from sidecar.terms.errors import RecordError

_KIND: Final = b'"kind":"admin"'
# Not a key that follows another: that record holds the signatures of both keys itself.
_EVENTS: Final = tuple(
    f'"event":"{event}"'.encode() for event in (REVOKE, UNREVOKE, PRUNED, FORGOTTEN)
)


def is_obeyed(head: bytes) -> bool:
    """Return whether a record that begins with `head`, up to its place in the log, is obeyed.

    It may be taken for one because of a detail that looks like it: it is signed then as well.
    """
    return head.endswith(_KIND) and any(event in head for event in _EVENTS)


class Unsigned(RecordError):
    """What is obeyed is durable, with all that was written beside it, and could not be signed."""
