"""Reads an HTTP call: method, raw path against the catalogue's routes, query, headers, JSON body.

What reaches a rule is what the upstream will be sent: the path is split before it is decoded,
nothing is normalised, and every form that servers read differently is refused with a reason code.

Source: RFC 9110, RFC 9112, RFC 3986; README, "What is refused".
"""

import re
from collections.abc import Mapping

import msgspec

from sidecar.domains.application.catalogue import Catalogue
from sidecar.domains.application.catalogue.routes import Found, fill
from sidecar.domains.application.limits import KNOWN_URL_CHARS_MAX
from sidecar.domains.application.parse.headers import (
    announces_body,
    read_headers,
    read_media,
    shown,
)
from sidecar.domains.application.parse.override import overridden, refuse_override, says_method
from sidecar.domains.application.parse.shape import envelope, mapping, only, text
from sidecar.domains.application.parse.url import Query, Url, read_host, read_query, read_url
from sidecar.domains.application.vocabulary import BODILESS, METHOD_CLASSES
from sidecar.syntax.json import loads
from sidecar.syntax.rawpath import segments
from sidecar.terms.call import Call, Json
from sidecar.terms.domain import Needs
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason
from sidecar.terms.request import Action, Parsed, ParseStatus, Resource, Target
from sidecar.terms.words import ActionClass, component, path_component

PARSER = "http/1"
_COMPLETE = ParseStatus("complete", PARSER)
BODY = "request.http.body"

_KEYS = frozenset(("method", "url", "headers", "body"))
# RFC 3986 §2.3: these need no escape, and one that is escaped hides from a rule on the raw path.
_NEEDLESS_ESCAPE = re.compile(r"%(2[dDeE]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9aA]|5[fF]|7[eE])")


class _Place(msgspec.Struct, frozen=True):
    """What a method and a URL mean at one upstream; a pure function of them and the catalogue."""

    method: str
    url: Url
    query: Query
    repeated: tuple[str, ...]
    found: Found | None
    targets: tuple[Target, ...] = ()
    native: dict[str, Json] = {}


class _Http(msgspec.Struct, frozen=True):
    """One HTTP call, its parts read."""

    place: _Place
    headers: dict[str, str]


def parse_http(call: Call, catalogue: Catalogue, needs: Needs) -> Parsed:
    """Return what an HTTP call means.

    Raises:
        ParseError: It cannot be read completely and unambiguously.
    """
    http = _read(call, catalogue)
    raw = _raw_body(call.payload, http)
    native = {**http.place.native, "headers": shown(http.headers) if http.headers else {}}
    missing: tuple[str, ...] = ()
    if raw:
        media = read_media(http.headers)
        method = http.place.method
        refuse_override(method, http.headers.get("content-type"), media, raw)
        if needs.body and media and media.json:
            native["body"] = _json_body(raw, media.charset)
        else:
            missing = (BODY,)
    elif raw is None:
        missing = (BODY,)
    return Parsed(http.place.targets, native, _status(http.place, missing))


def _status(place: _Place, missing: tuple[str, ...]) -> ParseStatus:
    if not missing and not place.repeated:
        return _COMPLETE
    return ParseStatus(
        "partial" if missing else "complete",
        PARSER,
        missing=missing,
        ambiguities=tuple(f"request.http.query.{key}" for key in place.repeated),
    )


def _read(call: Call, catalogue: Catalogue) -> _Http:
    only(call.payload, _KEYS)
    place = _place(call, catalogue)
    said = mapping(call.payload, "headers")
    if not said:
        return _Http(place, {})
    headers = read_headers(said)
    if "host" in headers and read_host(headers["host"], place.url.scheme) != place.url.host:
        raise ParseError(reason("parse.header"), "a Host that is not the URL's")
    return _Http(place, headers)


def _place(call: Call, catalogue: Catalogue) -> _Place:
    """Return what method and URL mean; what is asked for again is known by its exact text."""
    method, raw = call.payload.get("method"), call.payload.get("url")
    key = (call.upstream, method, raw)
    is_text = isinstance(method, str) and isinstance(raw, str)
    place: _Place | None = catalogue.known.get(key) if is_text else None
    if place is None:
        place = _read_place(call, catalogue)
        assert isinstance(raw, str)
        if len(raw) <= KNOWN_URL_CHARS_MAX:
            catalogue.keep(key, place)
    return place


def _read_place(call: Call, catalogue: Catalogue) -> _Place:
    method = text(call.payload, "method")
    if method not in METHOD_CLASSES:
        raise ParseError(reason("parse.method"), "a method that is not let through")
    url = read_url(text(call.payload, "url"))
    query, repeated = read_query(url.query)
    path = segments(url.path, trailing_slash=True)
    found = catalogue.find(call.upstream, method, path)
    if found is None:
        _check_unmatched(url.path, path)
    elif found.route.scalars.intersection(repeated):
        raise ParseError(reason("parse.ambiguous"), "a query key with one value is repeated")
    place = _Place(method, url, query, repeated, found)
    targets = _targets(call, place, catalogue)
    return _Place(method, url, query, repeated, found, targets, _native(place))


def _check_unmatched(raw: str, path: tuple[str, ...]) -> None:
    """Refuse, where no template fixes the meaning, two spellings of one path."""
    if path and path[-1] == "":
        raise ParseError(reason("parse.path"), "a trailing slash that no template declares")
    if _NEEDLESS_ESCAPE.search(raw):
        raise ParseError(reason("parse.path"), "an escape of a character that needs none")


def _raw_body(payload: Mapping[str, Json], http: _Http) -> bytes | None:
    """Return the body, empty when there is none, None when there is one that was not handed in."""
    if not http.headers and "body" not in payload:
        return b""
    said = payload.get("body", b"")
    announced = announces_body(http.headers)
    if "content-encoding" in http.headers:
        raise ParseError(reason("parse.content_type"), "an encoded body is not read")
    if not isinstance(said, str | bytes):
        raise envelope("`body` is a string or bytes")
    try:
        raw = said.encode() if isinstance(said, str) else said
    except UnicodeEncodeError:
        raise ParseError(reason("parse.encoding"), "`body` is not valid Unicode") from None
    found = http.place.found
    declared = found is not None and found.route.body
    if (raw or announced) and http.place.method in BODILESS and not declared:
        raise ParseError(reason("parse.unexpected"), "a body where the method has none")
    length = http.headers.get("content-length")
    if "body" in payload and length is not None and int(length) != len(raw):
        raise ParseError(reason("parse.header"), "a Content-Length that is not the body's")
    return None if announced and "body" not in payload else raw


def _json_body(raw: bytes, charset: str | None) -> Json:
    if charset not in {None, "utf-8", "utf8"}:
        raise ParseError(reason("parse.content_type"), "JSON in a charset other than UTF-8")
    body = loads(raw)
    if says_method(body):
        raise overridden("body")
    return body


def _native(place: _Place) -> dict[str, Json]:
    native: dict[str, Json] = {
        "method": place.method,
        "scheme": place.url.scheme,
        "host": place.url.host,
        "path": place.url.path,
        "route": place.found.route.template if place.found else "",
        "params": place.found.params if place.found else {},
        "query": place.query,
    }
    if place.found and place.found.route.name:
        native["operation_id"] = place.found.route.name
    return native


def _targets(call: Call, place: _Place, catalogue: Catalogue) -> tuple[Target, ...]:
    """Return the route, or the raw path where none matched, and the thing behind the route."""
    action = _action(place)
    if place.found is None:
        return (_target(call, action, catalogue, ("path", path_component(place.url.path)), {}),)
    route, params = place.found.route, place.found.params
    first = _target(call, action, catalogue, ("route", _template_id(route.template)), params)
    labels = tuple(sorted({*first.resource.labels, *route.labels}))
    first = msgspec.structs.replace(
        first, resource=msgspec.structs.replace(first.resource, labels=labels)
    )
    if route.object_ is None:
        return (first,)
    kind, id_template = route.object_
    # Where the template itself sets dots, a parameter's are encoded: `a.b` `c` is not `a` `b.c`.
    has_dots = "." in fill(id_template, dict.fromkeys(params, ""))
    spelt = component if has_dots else path_component
    id_ = fill(id_template, {name: spelt(value) for name, value in params.items()})
    second = _target(call, action, catalogue, (kind, id_), params)
    return (first, msgspec.structs.replace(second, role="object"))


def _template_id(template: str) -> str:
    return path_component(template)


def _action(place: _Place) -> Action:
    route = place.found.route if place.found else None
    name = route.name if route and route.name else place.method
    cls: ActionClass = METHOD_CLASSES[place.method]  # type: ignore[assignment]  # its values are classes
    if route and route.cls:
        cls = route.cls
    return Action(name, cls, {"method": place.method})


def _target(
    call: Call, action: Action, catalogue: Catalogue, named: tuple[str, str], params: dict[str, str]
) -> Target:
    kind, id_ = named
    labels, known = catalogue.about("http", call.upstream, f"{kind}:{id_}")
    properties = {"params": params, **known}
    return Target(action, Resource(kind, id_, call.upstream, tuple(sorted(labels)), properties))
