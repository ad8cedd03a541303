"""S3: bucket and key by either addressing style, and everything that one request touches.

Keys are opaque (S3 stores `a/../b` and `//` as they are). A copy reads a second object,
DeleteObjects deletes as many as its body names, and a header can open an object to the world or
lift its retention: each is a target of its own.

Source: docs.aws.amazon.com/AmazonS3/latest/API, CopyObject, DeleteObjects, PutObject.
"""

from typing import Final
from xml.parsers import expat

import msgspec

from sidecar.domains.infrastructure.limits import (
    DELETE_KEYS_MAX,
    KEY_BYTES_MAX,
    XML_BYTES_MAX,
    XML_DEPTH_MAX,
)
from sidecar.domains.infrastructure.parse.aws.classes import class_of
from sidecar.domains.infrastructure.parse.aws.host import Host, check_bucket, s3_bucket
from sidecar.domains.infrastructure.parse.aws.models import Operation
from sidecar.domains.infrastructure.parse.aws.route import raw_key
from sidecar.domains.infrastructure.parse.aws.wire import Wire
from sidecar.domains.infrastructure.parse.payload import decoded, refuse
from sidecar.terms.call import Json
from sidecar.terms.request import Action, Resource, Target
from sidecar.terms.words import ActionClass, path_component

# These open what they are set on; `private` is what an object is without them.
_ACL_HEADERS: Final = (
    "x-amz-acl", "x-amz-grant-full-control", "x-amz-grant-read", "x-amz-grant-read-acp",
    "x-amz-grant-write", "x-amz-grant-write-acp",
)  # fmt: skip
_CLOSED_ACLS: Final = frozenset(("private", "bucket-owner-full-control"))
_BYPASS: Final = "x-amz-bypass-governance-retention"
# What a header of a write sets beside, each an operation of its own elsewhere.
_SETS: Final = {
    "x-amz-tagging": "s3:PutObjectTagging",
    "x-amz-object-lock-mode": "s3:PutObjectRetention",
    "x-amz-object-lock-legal-hold": "s3:PutObjectLegalHold",
}
_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"


class Place(msgspec.Struct, frozen=True):
    """Where an S3 request goes: `""` where it names no bucket or no key."""

    bucket: str = ""
    key: str = ""

    @property
    def path(self) -> tuple[str, ...]:
        """Return the segments that the route trie is asked with."""
        return tuple(part for part in (self.bucket, self.key) if part)


def place_of(wire: Wire, host: Host) -> Place:
    """Return bucket and key of a virtual-hosted or path-style request."""
    bucket = s3_bucket(host, wire.region)
    rest = wire.path[1:]
    if bucket is None:
        raw_bucket, _, rest = rest.partition("/")
        if not raw_bucket and rest:
            raise refuse("parse.path", "an empty bucket before a key")
        bucket = decoded(raw_bucket)
        if bucket:
            check_bucket(bucket)
    return Place(bucket, checked_key(raw_key(rest)))


def checked_key(key: str) -> str:
    """Return `key` if it is no longer than a key can be."""
    if len(key.encode()) > KEY_BYTES_MAX:
        raise refuse("parse.too_large", f"a key longer than {KEY_BYTES_MAX} bytes")
    return key


def targets(
    operation: Operation, wire: Wire, place: Place, params: dict[str, Json]
) -> list[Target]:
    """Return everything that an S3 operation touches, the written or named resource first."""
    if "x-amz-rename-source" in wire.headers:
        raise refuse("parse.unsupported", "renaming an object is not read")
    cls = class_of("s3", operation.name)
    done = Action(f"s3:{operation.name}", cls)
    if operation.name == "DeleteObjects":
        found = [Target(done, deleted) for deleted in _deleted(wire, place)]
    else:
        found = [Target(done, _resource(place, params.get("VersionId")))]
    found.extend(_side_effects(wire, operation.name, found))
    if "x-amz-copy-source" in wire.headers:
        found.append(_source(wire.headers["x-amz-copy-source"], operation))
    return found


def _resource(place: Place, version: Json = None) -> Resource:
    properties: dict[str, Json] = {"version_id": version} if version else {}
    if place.key:
        name = path_component(f"{place.bucket}/{place.key}")
        return Resource("aws/s3/object", name, properties=properties)
    if place.bucket:
        return Resource("aws/s3/bucket", path_component(place.bucket))
    return Resource("aws/s3/-", "*")


def _side_effects(wire: Wire, operation: str, found: list[Target]) -> list[Target]:
    """Return a target for each thing that a header does beside the operation."""
    effects: list[tuple[str, ActionClass]] = []
    opened = [name for name in _ACL_HEADERS if name in wire.headers]
    closed = opened == ["x-amz-acl"] and wire.headers["x-amz-acl"] in _CLOSED_ACLS
    if opened and not closed and not operation.endswith("Acl"):
        on_object = found[0].resource.type == "aws/s3/object"
        effects.append(("s3:PutObjectAcl" if on_object else "s3:PutBucketAcl", "admin"))
    if wire.headers.get(_BYPASS, "false").lower() != "false":
        effects.append(("s3:BypassGovernanceRetention", "admin"))
    effects += [
        (name, class_of("s3", name[3:])) for key, name in _SETS.items() if key in wire.headers
    ]
    return [
        Target(Action(name, cls), target.resource, "side_effect")
        for name, cls in effects
        for target in found
    ]


def _source(header: str, operation: Operation) -> Target:
    """Return the read of `[/]bucket/key[?versionId=…]`, percent-encoded as a whole."""
    if not any(member.wire.lower() == "x-amz-copy-source" for member in operation.at("header")):
        raise refuse("parse.unexpected", "a copy source on an operation that copies nothing")
    if not header.isascii():
        raise refuse("parse.encoding", "a copy source that is not percent-encoded")
    raw, question, query = header.partition("?")
    version = query.removeprefix("versionId=")
    if question and (version == query or not version or set(version) & set("&=?#")):
        raise refuse("parse.ambiguous", "a copy source with another query than versionId")
    # Some clients encode the slash between bucket and key too; decoding once reads both alike.
    bucket, slash, key = raw_key(raw).removeprefix("/").partition("/")
    check_bucket(bucket)
    if not slash or not key:
        raise refuse("parse.syntax", "a copy source is `bucket/key`")
    read = Action("s3:GetObject", "read")
    place = Place(bucket, checked_key(key))
    return Target(read, _resource(place, decoded(version) or None), "source")


class _DeleteReader:
    """Collects `<Delete><Object><Key>…</Key><VersionId>…</VersionId></Object>…</Delete>`."""

    def __init__(self) -> None:
        self.path: list[str] = []
        self.text: list[str] = []
        self.object: dict[str, str] = {}
        self.objects: list[dict[str, str]] = []

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        uri, _, local = name.rpartition(" ")
        if uri not in ("", _NAMESPACE):
            raise refuse("parse.unexpected", "an element of another namespace")
        self.path.append(local)
        self.text = []
        if len(self.path) > XML_DEPTH_MAX:
            raise refuse("parse.too_large", f"XML nested deeper than {XML_DEPTH_MAX}")
        if self.path[:1] != ["Delete"] or (
            len(self.path) == 2 and local not in ("Object", "Quiet")
        ):
            raise refuse("parse.unexpected", "not the body of DeleteObjects")

    def end(self, name: str) -> None:
        text, self.text = "".join(self.text), []
        if len(self.path) == 3:
            field = name.rpartition(" ")[2]
            if field in self.object:
                raise refuse("parse.ambiguous", "an element that stands twice in an Object")
            self.object[field] = text
        elif len(self.path) > 3:
            raise refuse("parse.unexpected", "not the body of DeleteObjects")
        elif self.path == ["Delete", "Object"]:
            self.objects.append(self.object)
            self.object = {}
        self.path.pop()

    def characters(self, text: str) -> None:
        self.text.append(text)


def _deleted(wire: Wire, place: Place) -> list[Resource]:
    """Return the objects that DeleteObjects names."""
    objects = _read_deletes(wire)
    if not objects:
        raise refuse("parse.missing", "DeleteObjects without an object")
    if len(objects) > DELETE_KEYS_MAX:
        raise refuse("parse.too_large", f"more than {DELETE_KEYS_MAX} keys")
    if not all(found.get("Key") for found in objects):
        raise refuse("parse.missing", "an object without a key")
    return [
        _resource(Place(place.bucket, checked_key(found["Key"])), found.get("VersionId"))
        for found in objects
    ]


def _read_deletes(wire: Wire) -> list[dict[str, str]]:
    if not wire.body:
        raise refuse("parse.missing", "DeleteObjects names its objects in the body")
    if len(wire.body) > XML_BYTES_MAX:
        raise refuse("parse.too_large", f"XML of more than {XML_BYTES_MAX} bytes")
    if wire.headers.get("content-encoding", "identity") != "identity":
        raise refuse("parse.content_type", "an encoded body is not read")
    reader = _DeleteReader()
    # The encoding is fixed, so that a declaration cannot make the bytes say something else.
    parser = expat.ParserCreate("utf-8", " ")
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    parser.XmlDeclHandler = _declaration
    parser.StartDoctypeDeclHandler = _doctype
    parser.ProcessingInstructionHandler = _instruction
    # Readers differ on the text around a comment or a section inside an element.
    parser.CommentHandler = _instruction
    parser.StartCdataSectionHandler = _instruction
    try:
        parser.Parse(wire.body, True)  # noqa: FBT003 (expat takes it by position only)
    except expat.ExpatError:
        raise refuse("parse.syntax", "not XML") from None
    return reader.objects


def _declaration(version: str, encoding: str | None, _standalone: int) -> None:
    if version != "1.0" or (encoding or "utf-8").lower() != "utf-8":
        raise refuse("parse.encoding", "XML in another encoding than UTF-8")


def _doctype(*_declared: object) -> None:
    # Before any entity is declared, so that none is ever expanded or fetched.
    raise refuse("parse.unsupported", "XML with a document type")


def _instruction(*_said: object) -> None:
    raise refuse("parse.unsupported", "XML with an instruction, a comment or a section")
