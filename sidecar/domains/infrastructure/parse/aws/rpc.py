"""AWS protocols whose operation is not in the path: json (`X-Amz-Target`), query, ec2 (`Action`).

Parameters are read only where the operation's model has them: a name that a server might match more
loosely than we do (another case, a newer member) is refused.
"""

from typing import Final

from sidecar.domains.infrastructure.limits import FORM_PAIRS_MAX
from sidecar.domains.infrastructure.parse.aws.models import Candidate, Model, Operation
from sidecar.domains.infrastructure.parse.aws.wire import Pairs, Wire
from sidecar.domains.infrastructure.parse.payload import query_pairs, refuse, single_valued
from sidecar.syntax import json
from sidecar.terms.call import Json

_JSON_TYPES: Final = frozenset(
    ("application/x-amz-json-1.0", "application/x-amz-json-1.1", "application/json")
)
_FORM_TYPE: Final = "application/x-www-form-urlencoded"


def json_operation(model: Model, candidate: Candidate, wire: Wire) -> Operation:
    """Return the operation that `X-Amz-Target: Prefix.Operation` names."""
    prefix, _, name = wire.headers["x-amz-target"].rpartition(".")
    if wire.method != "POST":
        raise refuse("parse.method", "the json protocol is a POST")
    if wire.path != "/" or wire.query:
        raise refuse("parse.unexpected", "the json protocol has neither path nor query")
    if prefix != candidate.target or name not in model.operations:
        raise refuse("parse.unknown_operation", "X-Amz-Target names no operation of the service")
    return model.operations[name]


def json_params(operation: Operation, wire: Wire) -> dict[str, Json]:
    """Return the members of the json protocol's body."""
    return json_object(wire, frozenset(member.wire for member in operation.members))


def json_object(wire: Wire, known: frozenset[str]) -> dict[str, Json]:
    """Return the JSON object of a body whose keys are all `known`; `{}` when there is no body."""
    if not wire.body:
        return {}
    kind = content_type(wire)
    if kind not in _JSON_TYPES and kind != "":
        raise refuse("parse.content_type", "the body of a JSON protocol is JSON")
    value = json_document(wire)
    if set(value) - known:
        raise refuse("parse.unexpected", "a member that the operation does not have")
    return value


def json_document(wire: Wire) -> dict[str, Json]:
    """Return the JSON object of a body, whatever its keys."""
    _check_plain(wire)
    value = json.loads(wire.body)
    if not isinstance(value, dict):
        raise refuse("parse.syntax", "the body is a JSON object")
    return value


def query_operation(
    model: Model, candidate: Candidate, wire: Wire
) -> tuple[Operation, dict[str, Json]]:
    """Return the operation that `Action` names, and its parameters flat, as the form has them."""
    if "x-amz-target" in wire.headers:
        raise refuse("parse.ambiguous", "X-Amz-Target on a service that does not read it")
    if wire.path != "/":
        raise refuse("parse.unexpected", "the query protocol has no path")
    form = single_valued(_form(wire))
    if "Action" not in form or "Version" not in form:
        raise refuse("parse.missing", "the query protocol has Action and Version")
    name, version = form.pop("Action"), form.pop("Version")
    if version != candidate.version or name not in model.operations:
        raise refuse("parse.unknown_operation", "no operation of this Action and Version")
    operation = model.operations[name]
    known = {name for member in operation.members for name in member.forms}
    if any(key.partition(".")[0] not in known for key in form):
        raise refuse("parse.unexpected", "a parameter that the operation does not have")
    return operation, dict(form)


def _form(wire: Wire) -> Pairs:
    """Return the parameters from the body of a POST or the query of a GET, never from both."""
    if wire.method == "GET":
        if wire.body:
            raise refuse("parse.ambiguous", "parameters in the query and a body beside them")
        return wire.query
    if wire.method != "POST":
        raise refuse("parse.method", "the query protocol is a POST or a GET")
    if wire.query:
        raise refuse("parse.ambiguous", "parameters in the query of a POST")
    if content_type(wire) not in ("", _FORM_TYPE):
        raise refuse("parse.content_type", "the body of the query protocol is a form")
    _check_plain(wire)
    try:
        text = wire.body.decode("ascii")
    except UnicodeDecodeError:
        raise refuse("parse.encoding", "a form that is not ASCII") from None
    return query_pairs(text, pairs_max=FORM_PAIRS_MAX)


def content_type(wire: Wire) -> str:
    """Return the media type without its parameters, lower case."""
    return wire.headers.get("content-type", "").lower().partition(";")[0].strip()


def _check_plain(wire: Wire) -> None:
    """Refuse a body whose bytes are not what they look like: compressed, or in another charset."""
    parameters = wire.headers.get("content-type", "").lower().partition(";")[2]
    if "charset" in parameters and parameters.strip() not in ("charset=utf-8", 'charset="utf-8"'):
        raise refuse("parse.content_type", "a charset that is not UTF-8")
    if wire.headers.get("content-encoding", "identity").lower() != "identity":
        raise refuse("parse.content_type", "an encoded body is not read")
