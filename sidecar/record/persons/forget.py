"""Forget a person: on record first, then the row of the table, then what is sealed of its calls.

The record names the handle alone, and what was recorded before it stays as it is. Masked texts that
stand in records name nobody; texts and sealed forms beside the ledger are erased, for a person's
own words may stand in them. Each step may be done again: who was interrupted names the handle.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import orjson

from sidecar.record.persons.names import HANDLE
from sidecar.record.persons.table import Persons

FORGOTTEN: Final = "person_forgotten"


class Known(NamedTuple):
    """Whom a request to forget means.

    Args:
        kind: `user`.
        handle: What stands in records.
        value: `type:id`; None where the row is gone already.
    """

    kind: str
    handle: str
    value: str | None

    @property
    def recorded(self) -> str:
        """Return how records name it."""
        return f"{self.kind}:{self.handle}"


def found(person: str, persons: Persons) -> Known | None:
    """Return whom `type:id` or `type:handle` means, None when nobody of that name was recorded."""
    kind, _, id_ = person.partition(":")
    if HANDLE.fullmatch(id_):
        value = persons.value_of(id_)
        return Known(kind if value is None else value.partition(":")[0], id_, value)
    handle = persons.known.get(person)
    return None if handle is None else Known(kind, handle, person)


def digests_of(handle: str, records: Iterable[bytes]) -> Iterator[str]:
    """Yield the digests of the side objects of every record that names `handle`."""
    needle = handle.encode()
    for line in records:
        if needle in line and b'_object":"' in line:
            kept = orjson.loads(line).get("input", {})
            yield from (kept[name] for name in ("text_object", "sealed_object") if name in kept)
