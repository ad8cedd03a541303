"""Persons stand in records as handles; who they are stands in an encrypted table beside the ledger.

Erasing a person is deleting a row: no record changes, and every proof still verifies.
"""

from sidecar.record.persons.names import (
    is_person,
    is_person_resource,
    persons_in,
    persons_of,
    pseudonymous,
)
from sidecar.record.persons.table import Persons, persons_paths

__all__ = [
    "Persons",
    "is_person",
    "is_person_resource",
    "persons_in",
    "persons_of",
    "persons_paths",
    "pseudonymous",
]
