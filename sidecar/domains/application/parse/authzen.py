"""Reads an AuthZEN evaluation: one target, in the caller's own words.

Type and id are taken as given and never rewritten into another protocol's: a rule tells an app's
`table:x` from a real table by `protocols`. Unknown fields are ignored. The subject is the Call's
identity; one in the payload that says otherwise is refused.

Source: Authorization API 1.0 §5 (information model) and §6 (evaluation).
"""

from sidecar.domains.application.catalogue import Catalogue
from sidecar.domains.application.parse.shape import envelope, mapping, text
from sidecar.terms.call import Call, Json
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason
from sidecar.terms.request import Action, Parsed, ParseStatus, Resource, Target

PARSER = "authzen/1"


def parse_authzen(call: Call, catalogue: Catalogue) -> Parsed:
    """Return what an evaluation asks: may the identity do this action to this resource.

    Raises:
        ParseError: A field is absent or of the wrong type, or the subject is not the identity's.
    """
    _check_subject(call)
    action_said, resource_said = _object(call, "action"), _object(call, "resource")
    name = text(action_said, "name")
    kind, id_ = text(resource_said, "type"), text(resource_said, "id")
    action_properties = mapping(action_said, "properties")
    properties = mapping(resource_said, "properties")
    labels, known = catalogue.about("authzen", call.upstream, f"{kind}:{id_}")
    target = Target(
        Action(name, catalogue.action_class(call.upstream, name), action_properties),
        # What the catalogue knows is not the caller's to say.
        Resource(kind, id_, call.upstream, tuple(sorted(labels)), {**properties, **known}),
    )
    native: dict[str, Json] = {
        "action": {"name": name, "properties": action_properties},
        "resource": {"type": kind, "id": id_, "properties": properties},
        "context": mapping(call.payload, "context"),
    }
    return Parsed((target,), native, ParseStatus("complete", PARSER))


def _object(call: Call, key: str) -> dict[str, Json]:
    if call.payload.get(key) is None:
        raise ParseError(reason("parse.missing"), f"`{key}` is missing")
    return mapping(call.payload, key)


def _check_subject(call: Call) -> None:
    said = call.payload.get("subject")
    if said is None:
        return
    if not isinstance(said, dict):
        raise envelope("`subject` is not an object")
    subject = call.identity.subject
    if (text(said, "type"), text(said, "id")) != (subject.type, subject.id):
        raise ParseError(reason("parse.identity"), "the subject is not who the credential proves")
