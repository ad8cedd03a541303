"""AWS API requests: service from the credential scope, operation from botocore's service data.

`wire` reads the request, `host` checks it against the scope, `models` and `route`/`rpc` find the
one operation, `s3` and `resources` what it touches, `classes` how severe that is. Whatever two
services or two operations could both mean is refused.
"""

from typing import Final

import msgspec

from sidecar.domains.infrastructure.catalogue import InfrastructureCatalogue
from sidecar.domains.infrastructure.parse.aws import resources, route, rpc, s3
from sidecar.domains.infrastructure.parse.aws.classes import class_of
from sidecar.domains.infrastructure.parse.aws.host import Host, check_region, read_host, serves
from sidecar.domains.infrastructure.parse.aws.models import (
    Candidate,
    Model,
    Operation,
    candidates,
    model,
)
from sidecar.domains.infrastructure.parse.aws.wire import Wire, read_wire
from sidecar.domains.infrastructure.parse.payload import refuse
from sidecar.terms.call import Call, Json
from sidecar.terms.errors import ParseError
from sidecar.terms.request import Action, Parsed, ParseStatus, Target

PARSER: Final = "botocore/1"

# IAM, documentation and people say `cloudwatch`; only the signature says `monitoring`.
_NAMES: Final = {"monitoring": "cloudwatch"}
# Their parameters are programs in a query language that this parser does not read.
_STATEMENTS: Final = frozenset((
    "dynamodb:ExecuteStatement", "dynamodb:BatchExecuteStatement", "dynamodb:ExecuteTransaction",
    "rds-data:ExecuteStatement", "rds-data:BatchExecuteStatement", "rds-data:ExecuteSql",
    "redshift-data:ExecuteStatement", "redshift-data:BatchExecuteStatement",
    "athena:StartQueryExecution", "athena:CreatePreparedStatement",
    "athena:UpdatePreparedStatement", "athena:CreateNamedQuery", "athena:UpdateNamedQuery",
    "timestream:Query", "timestream:PrepareQuery", "timestream:CreateScheduledQuery",
))  # fmt: skip
_REST: Final = frozenset(("rest-json", "rest-xml"))
_FORMS: Final = frozenset(("query", "ec2"))


class Found(msgspec.Struct, frozen=True):
    """The one operation that a request is, with its input as far as it is read."""

    operation: Operation
    protocol: str
    params: dict[str, Json]
    missing: tuple[str, ...] = ()
    place: s3.Place | None = None


def parse_aws(call: Call, catalogue: InfrastructureCatalogue) -> Parsed:
    """Return what an `aws` call means."""
    wire = read_wire(call.payload)
    host = read_host(wire.host)
    check_region(host, wire.region)
    found = _find(wire, host)
    service = _NAMES.get(wire.service, wire.service)
    name = f"{service}:{found.operation.name}"
    if name in _STATEMENTS:
        raise refuse("parse.unsupported", "a statement in a query language that is not read")
    native: dict[str, Json] = {
        "service": service,
        "operation": found.operation.name,
        "protocol": found.protocol,
        "region": wire.region,
        "params": found.params,
    }
    if found.place is not None:
        native.update({k: v for k, v in msgspec.to_builtins(found.place).items() if v})
    status = ParseStatus("partial" if found.missing else "complete", PARSER, missing=found.missing)
    targets = tuple(
        _labelled(target, call, catalogue) for target in _targets(service, name, found, wire)
    )
    return Parsed(targets, native, status)


def _targets(service: str, name: str, found: Found, wire: Wire) -> list[Target]:
    if found.place is not None:
        return s3.targets(found.operation, wire, found.place, found.params)
    dry_run = str(found.params.get("DryRun", "")).lower() == "true" and service == "ec2"
    properties: dict[str, Json] = {"dry_run": True} if dry_run else {}
    done = Action(name, class_of(service, found.operation.name), properties)
    return resources.targets(service, done, found.params, wire.region)


def _find(wire: Wire, host: Host) -> Found:
    """Return the one operation that the request is, over all services of its scope."""
    known = candidates(wire.service)
    speaks_cbor = any("smithy-rpc-v2-cbor" in candidate.protocols for candidate in known)
    is_cbor = speaks_cbor and rpc.content_type(wire) == "application/cbor"
    if "smithy-protocol" in wire.headers or is_cbor:
        raise refuse("parse.unsupported", "the CBOR protocol is not read")
    if not known:
        raise refuse("parse.unknown_operation", "signed for a service that is not known")
    found: list[tuple[Candidate, Found]] = []
    errors: dict[str, ParseError] = {}
    for candidate in known:
        try:
            found.append((candidate, _of_service(candidate, wire, host)))
        except ParseError as error:
            errors[candidate.name] = error
    if not found:
        raise _most_telling(errors, wire.service)
    return _only(found, wire.service)


def _only(found: list[tuple[Candidate, Found]], signing_name: str) -> Found:
    """Return the one reading; an API may stand under several names with one endpoint."""
    if len(found) == 1:
        return found[0][1]
    same = {(candidate.endpoint, reading.operation.name) for candidate, reading in found}
    own = [reading for candidate, reading in found if candidate.name == signing_name]
    if len(same) == 1 and own:
        return own[0]
    raise refuse("parse.ambiguous", "two services read the request, each in its own way")


def _most_telling(errors: dict[str, ParseError], signing_name: str) -> ParseError:
    """Return the error of a service that knows path or action at all, the eponymous one's first."""
    ordered = sorted(errors, key=lambda name: (name != signing_name, name))
    telling = [name for name in ordered if errors[name].reason != "parse.unknown_operation"]
    return errors[(telling or ordered)[0]]


def _of_service(candidate: Candidate, wire: Wire, host: Host) -> Found:
    loaded = model(candidate.name, candidate.version)
    if loaded is None:
        raise refuse("parse.unknown_operation", "signed for a service that is not known")
    if candidate.name == "s3":
        return _of_s3(loaded, wire, host)
    found = _of_protocol(candidate, loaded, wire)
    if not serves(host, candidate.endpoint, found.operation.host_prefix):
        raise refuse("parse.ambiguous", "signed for another service than the host's")
    return found


def _of_protocol(candidate: Candidate, loaded: Model, wire: Wire) -> Found:
    offered = frozenset(candidate.protocols)
    if "json" in offered and "x-amz-target" in wire.headers:
        operation = rpc.json_operation(loaded, candidate, wire)
        return Found(operation, "json", rpc.json_params(operation, wire))
    if offered & _FORMS:
        protocol = "ec2" if "ec2" in offered else "query"
        operation, params = rpc.query_operation(loaded, candidate, wire)
        return Found(operation, protocol, params)
    if offered & _REST:
        protocol = "rest-json" if "rest-json" in offered else "rest-xml"
        return _of_rest(loaded, wire, protocol)
    if "json" in offered:
        raise refuse("parse.missing", "the json protocol names its operation in X-Amz-Target")
    raise refuse("parse.unsupported", "a protocol that is not read")


def _of_rest(loaded: Model, wire: Wire, protocol: str) -> Found:
    path = route.segments(wire.path)
    operation = route.rest_operation(loaded, wire, path)
    params = _rest_params(operation, wire, path)
    missing: tuple[str, ...] = ()
    if operation.payload_kind == "structure" and protocol == "rest-json" and wire.body:
        params[operation.payload] = rpc.json_document(wire)
    elif operation.payload:
        missing = _unread_payload(operation, wire)
    elif operation.at(""):
        if protocol == "rest-json":
            known = frozenset(member.wire for member in operation.at(""))
            params.update(rpc.json_object(wire, known))
        else:
            missing = ("request.aws.params",) if wire.body else ()
    elif wire.body and protocol == "rest-json":
        # A JSON object that says nothing is what some clients send where there is nothing to say.
        rpc.json_object(wire, frozenset())
    return Found(operation, protocol, params, missing)


def _of_s3(loaded: Model, wire: Wire, host: Host) -> Found:
    place = s3.place_of(wire, host)
    operation = route.rest_operation(loaded, wire, place.path)
    params = _rest_params(operation, wire, ())
    params.update({key.capitalize(): v for key, v in msgspec.to_builtins(place).items() if v})
    return Found(operation, "rest-xml", params, _unread_payload(operation, wire), place)


def _unread_payload(operation: Operation, wire: Wire) -> tuple[str, ...]:
    """Return what of a body stays unread: a document does, an object's bytes are no parameter."""
    # The body of DeleteObjects is read whole: it is the targets.
    unread = operation.payload_kind not in ("", "blob") and operation.name != "DeleteObjects"
    if wire.body and unread:
        return (f"request.aws.params.{operation.payload}",)
    return ()


def _rest_params(operation: Operation, wire: Wire, path: tuple[str, ...]) -> dict[str, Json]:
    """Return the members that stand in path, query and headers, by their model name."""
    names = {member.wire: member.name for member in operation.at("uri")}
    labels = route.label_values(operation, path) if path else {}
    params: dict[str, Json] = {names.get(name, name): value for name, value in labels.items()}
    for member in operation.at("querystring"):
        given = [value or "" for key, value in wire.query if key == member.wire]
        if given:
            params[member.name] = given if member.kind == "list" else given[0]
    for member in operation.at("header"):
        if member.wire.lower() in wire.headers:
            params[member.name] = wire.headers[member.wire.lower()]
    return params


def _labelled(target: Target, call: Call, catalogue: InfrastructureCatalogue) -> Target:
    resource = msgspec.structs.replace(target.resource, upstream=call.upstream)
    return Target(target.action, catalogue.resource("aws", call.upstream, resource), target.role)
