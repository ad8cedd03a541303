"""Forget a person: on record first, then the row of the table, then what is sealed of its calls.

The record names the handle alone, and what was recorded before it stays as it is. Masked texts that
stand in records name nobody; texts and sealed forms beside the ledger are erased, for a person's
own words may stand in them. Each step may be done again: who was interrupted names the handle.
"""

from collections.abc import Iterable
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


class Objects(NamedTuple):
    """Side objects that records name, by digest.

    Args:
        of_person: Of every record that names the person.
        named: Of every record.
    """

    of_person: frozenset[str]
    named: frozenset[str]


def objects_of(handle: str, records: Iterable[bytes]) -> Objects:
    """Return which side objects `records` name, and those among them of the person's records."""
    needle = handle.encode()
    of_person: set[str] = set()
    named: set[str] = set()
    for line in records:
        if b'_object":"' not in line:
            continue
        kept = orjson.loads(line).get("input", {})
        digests = [kept[name] for name in ("text_object", "sealed_object") if name in kept]
        named.update(digests)
        if needle in line:
            of_person.update(digests)
    return Objects(frozenset(of_person), frozenset(named))
