"""AWS services as botocore's own data describes them: operations, input members, routes.

Which services a signing name may mean stands in `services.json`, made from the same data, so that
no more than the models asked for are loaded (about 60 ms for s3). Only the package's data is read,
never `~/.aws/models`: who may write there must not redefine what a request means.
"""

import re
from functools import lru_cache
from importlib import resources
from typing import Final

import msgspec
from botocore.exceptions import DataNotFoundError, UnknownServiceError
from botocore.loaders import Loader

from sidecar.domains.infrastructure.limits import MODELS_MAX
from sidecar.terms.call import Json

# Deprecated names of the same request, and an operation of another host altogether.
_TWINS: Final = {
    "s3": frozenset((
        "GetBucketLifecycle", "PutBucketLifecycle", "GetBucketNotification",
        "PutBucketNotification", "ListDirectoryBuckets", "WriteGetObjectResponse",
    )),
}  # fmt: skip
_LABEL: Final = re.compile(r"\{([^}+]+)(\+?)\}\Z")


class Candidate(msgspec.Struct, frozen=True):
    """One service that a signing name may mean."""

    name: str
    endpoint: str
    protocols: tuple[str, ...]
    version: str
    target: str = ""


class Member(msgspec.Struct, frozen=True):
    """One top-level member of an operation's input: where it stands and under which name."""

    name: str
    location: str
    wire: str
    required: bool
    kind: str
    forms: tuple[str, ...]


class Operation(msgspec.Struct, frozen=True):
    """One operation: `template` is its path in segments, `literals` the query it is known by."""

    name: str
    method: str
    template: tuple[str, ...]
    literals: tuple[tuple[str, str | None], ...]
    members: tuple[Member, ...]
    payload: str
    payload_kind: str
    host_prefix: str

    def at(self, location: str) -> tuple[Member, ...]:
        """Return the members at `uri`, `querystring`, `header`, `headers` or `""`, the body."""
        return tuple(member for member in self.members if member.location == location)


class Node(msgspec.Struct):
    """A node of the route trie: literal segments before labels before greedy labels."""

    operations: list[Operation] = []
    literals: dict[str, "Node"] = {}
    label: "Node | None" = None
    greedy: list[Operation] = []


class Model(msgspec.Struct, frozen=True):
    """A service: its operations by name and its routes."""

    name: str
    operations: dict[str, Operation]
    routes: Node


def _load_services() -> dict[str, tuple[Candidate, ...]]:
    text = resources.files(__package__).joinpath("services.json").read_bytes()
    table: dict[str, dict[str, Json]] = msgspec.json.decode(text)
    return {
        signing: tuple(
            msgspec.convert({"name": name, **said}, Candidate) for name, said in services.items()
        )
        for signing, services in table.items()
    }


_SERVICES: Final = _load_services()


def candidates(signing_name: str) -> tuple[Candidate, ...]:
    """Return the services that sign with `signing_name`, `()` when none is known."""
    return _SERVICES.get(signing_name, ())


@lru_cache(maxsize=MODELS_MAX)
def model(name: str, version: str) -> Model | None:
    """Return the compiled model of a service, None where the installed data does not have it."""
    loader = Loader(
        extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False
    )
    try:
        data = loader.load_service_model(name, "service-2", version)
    except (DataNotFoundError, UnknownServiceError):
        return None
    is_ec2 = data["metadata"]["protocol"] == "ec2"
    left_out = _TWINS.get(name, frozenset())
    operations = {
        operation: _operation(operation, said, data["shapes"], is_ec2=is_ec2)
        for operation, said in data["operations"].items()
        if operation not in left_out
    }
    routes = Node()
    for operation in operations.values():
        _insert(routes, operation)
    return Model(name, operations, routes)


def _operation(name: str, said: Json, shapes: Json, *, is_ec2: bool) -> Operation:
    path, _, query = said["http"]["requestUri"].partition("?")
    shape = shapes[said["input"]["shape"]] if "input" in said else {}
    required = frozenset(shape.get("required", ()))
    payload = shape.get("payload", "")
    payload_shape = shape["members"][payload]["shape"] if payload else ""
    members = tuple(
        _member(member_name, member, shapes, required=member_name in required, is_ec2=is_ec2)
        for member_name, member in shape.get("members", {}).items()
    )
    return Operation(
        name=name,
        method=said["http"]["method"],
        template=tuple(part for part in path.split("/") if part),
        literals=tuple(_literal(part) for part in query.split("&") if part),
        members=members,
        payload=payload,
        payload_kind=shapes[payload_shape]["type"] if payload_shape else "",
        host_prefix=said.get("endpoint", {}).get("hostPrefix", ""),
    )


def _literal(part: str) -> tuple[str, str | None]:
    key, equals, value = part.partition("=")
    return key, value if equals else None


def _member(name: str, said: Json, shapes: Json, *, required: bool, is_ec2: bool) -> Member:
    shape = shapes[said["shape"]]
    wire = said.get("locationName", name)
    return Member(
        name=name,
        location=said.get("location", ""),
        wire=wire,
        required=required,
        kind=shape["type"],
        forms=_forms(name, said, shape, is_ec2=is_ec2),
    )


def _forms(name: str, said: Json, shape: Json, *, is_ec2: bool) -> tuple[str, ...]:
    """Return the names under which the member may begin a parameter of a form (query and ec2)."""
    if is_ec2:
        if "queryName" in said:
            return (said["queryName"],)
        wire = said.get("locationName", name)
        return (wire[0].upper() + wire[1:],)
    found = [said.get("locationName", name)]
    if shape["type"] == "list" and shape.get("flattened"):
        found.append(shape["member"].get("locationName", found[0]))
    return tuple(found)


def _insert(routes: Node, operation: Operation) -> None:
    node = routes
    for index, part in enumerate(operation.template):
        label = _LABEL.match(part)
        if label is None:
            node = node.literals.setdefault(part, Node())
        elif label.group(2):
            # Two greedy labels are not routed: where the first one ends would be a guess.
            if not any(later.endswith("+}") for later in operation.template[index + 1 :]):
                node.greedy.append(operation)
            return
        else:
            node.label = node.label or Node()
            node = node.label
    node.operations.append(operation)
