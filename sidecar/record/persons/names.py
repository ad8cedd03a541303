"""Who is a person, where persons stand, and how a record is written and read without their names.

A person is `type:id`. Every party of a type that is not known to be a machine is one, which is the
safe side; an address that a call came from is one, `ip:192.0.2.7`. Resources are things but for the
few types that say otherwise. What stands in a record is the handle in the place of the id,
`user:p_…`, so a reader without the table still sees that two records speak of one person.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final, TypeVar

import msgspec

from sidecar.record.limits import PERSON_CHARS_MAX
from sidecar.terms.call import Json
from sidecar.terms.record import AdminRecord, ApprovalRecord, OpsRecord, PartyRecord
from sidecar.terms.request import Request

# What stands where a handle should and there is none: told, and never the name itself.
NAMELESS: Final = "p_unknown"
HANDLE: Final = re.compile(r"p_[0-9A-Za-z]{22}(?![0-9A-Za-z])")
IP: Final = "ip"
MACHINES: Final = frozenset(("agent", "service", "anonymous"))
PERSON_RESOURCES: Final = frozenset(
    ("user", "person", "human", "individual", "employee", "customer", "patient", "ip")
)
# Members of an admin or ops record that name somebody: as `type:id`, or as an address.
_PARTIES: Final = ("party", "subject", "actor", "approver")
_ADDRESSES: Final = ("ip", "source")
_LOOPBACK: Final = ("127.", "::1")
_Told = TypeVar("_Told", bound=AdminRecord | OpsRecord | ApprovalRecord)


def is_person(type: str) -> bool:
    """Return whether a subject, actor or approver of this type is a person."""
    return type not in MACHINES


def is_person_resource(type: str) -> bool:
    """Return whether a resource of this type is a person."""
    return type in PERSON_RESOURCES


def persons_of(request: Request) -> list[str]:
    """Return the persons of a request as `type:id`: parties, address, and targets that are one."""
    found = [
        f"{party.type}:{party.id}"
        for party in (request.subject, *request.actors)
        if party.type not in MACHINES
    ]
    ip = request.context.get("ip")
    if ip is not None and _is_address(ip):
        found.append(f"{IP}:{ip}")
    _add_targets(request, found)
    return found


def _add_targets(request: Request, found: list[str]) -> None:
    for target in request.targets:
        resource = target.resource
        if resource.type in PERSON_RESOURCES and len(resource.id) <= PERSON_CHARS_MAX:
            found.append(f"{resource.type}:{resource.id}")
    for part in request.parts:
        _add_targets(part, found)


def persons_in(record: AdminRecord | OpsRecord | ApprovalRecord) -> list[str]:
    """Return the persons that a record which is no decision names in clear."""
    if isinstance(record, ApprovalRecord):
        approver = record.approver
        if approver is None or not _is_named(approver):
            return []
        return [f"{approver.type}:{approver.id}"]
    return [person for _, person in _members(record.detail)]


def pseudonymous(record: _Told, handles: Mapping[str, str]) -> _Told:
    """Return `record` with handles where persons are named; what names nobody comes back as is."""
    if not isinstance(record, ApprovalRecord):
        return _detailed(record, handles)
    approver = record.approver
    if approver is None or not _is_named(approver):
        return record
    handle = handles.get(f"{approver.type}:{approver.id}", NAMELESS)
    return msgspec.structs.replace(record, approver=PartyRecord(approver.type, handle))


def _detailed(record: _Told, handles: Mapping[str, str]) -> _Told:
    assert not isinstance(record, ApprovalRecord)
    found = _members(record.detail)
    if not found:
        return record
    detail = dict(record.detail)
    for name, person in found:
        type_, _, _ = person.partition(":")
        handle = handles.get(person, NAMELESS)
        detail[name] = handle if name in _ADDRESSES else f"{type_}:{handle}"
    return msgspec.structs.replace(record, detail=detail)


def _members(detail: Mapping[str, Json]) -> list[tuple[str, str]]:
    """Return the members of `detail` that name a person, and whom."""
    found = []
    for name in _PARTIES:
        said = detail.get(name)
        if isinstance(said, str) and ":" in said:
            type_, _, id_ = said.partition(":")
            if is_person(type_) and not HANDLE.fullmatch(id_):
                found.append((name, said))
    for name in _ADDRESSES:
        said = detail.get(name)
        if isinstance(said, str) and _is_address(said) and not HANDLE.fullmatch(said):
            found.append((name, f"{IP}:{said}"))
    return found


def _is_named(party: PartyRecord) -> bool:
    return is_person(party.type) and not HANDLE.fullmatch(party.id)


def _is_address(said: Json) -> bool:
    """Return whether `said` is an address of somebody; this machine's own is nobody's."""
    return isinstance(said, str) and ("." in said or ":" in said) and not said.startswith(_LOOPBACK)


def new_handles(values: Collection[str], random: Iterable[int]) -> dict[str, str]:
    """Return a handle for each of `values`; `random` are as many integers of 128 bits."""
    return {value: _handle(number) for value, number in zip(values, random, strict=True)}


def _handle(number: int) -> str:
    digits = []
    for _ in range(22):
        number, digit = divmod(number, 62)
        digits.append("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[digit])
    return "p_" + "".join(digits)
