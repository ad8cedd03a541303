"""Headers read strictly: what servers read differently, or what changes the request, is refused.

Source: RFC 9110 §5 (fields, combining), RFC 9112 §6 (framing).
"""

import re
from collections.abc import Mapping

import msgspec

from sidecar.domains.application.limits import HEADER_BYTES_MAX, HEADERS_MAX
from sidecar.domains.application.parse.shape import envelope, is_text
from sidecar.terms.call import Json
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

# No `_`: servers that hand headers on as variables fold it and `-` into one.
_NAME = re.compile(r"[!#$%&'*+.^`|~0-9A-Za-z-]+\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_DIGITS = re.compile(r"[0-9]{1,18}\Z")
_MEDIA = re.compile(r"([!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+)[ \t]*((;[^;]*)*)\Z")
_PARAMETER = re.compile(r"[ \t]*([!#$%&'*+.^_`|~0-9a-z-]+)=(\"[^\"\\]*\"|[^\"\s;]+)[ \t]*\Z")

# Each makes some server see another method or another path than the request line says.
OVERRIDES = frozenset((
    "x-http-method", "x-http-method-override", "x-method-override", "x-original-method",
    "x-original-uri", "x-original-url", "x-rewrite-url", "x-forwarded-uri", "x-forwarded-method",
    "x-forwarded-prefix",
))  # fmt: skip
# Lists by definition, so that several lines mean what one line means; anything else stands once.
LISTS = frozenset((
    "accept", "accept-charset", "accept-encoding", "accept-language", "cache-control", "connection",
    "forwarded", "if-match", "if-none-match", "link", "pragma", "prefer", "te", "trailer",
    "tracestate", "via", "warning", "x-forwarded-for",
))  # fmt: skip
# Never in the native block, hence in no record.
SECRET = frozenset((
    "authorization", "cookie", "proxy-authorization", "sidecar-authorization", "x-api-key",
    "x-auth-token", "x-csrf-token",
))  # fmt: skip


class Media(msgspec.Struct, frozen=True):
    """A content type, lower case, and its charset."""

    name: str
    charset: str | None = None

    @property
    def json(self) -> bool:
        """Return whether the content is JSON by its name (RFC 6838 §4.2.8)."""
        return self.name == "application/json" or self.name.endswith("+json")


def read_headers(said: Mapping[str, Json]) -> dict[str, str]:
    """Return the headers by lower-case name, lists joined as RFC 9110 §5.3 joins them.

    Raises:
        ParseError: `parse.header`, `parse.envelope`, `parse.too_large`.
    """
    found: dict[str, list[str]] = {}
    for name, value in said.items():
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(one, str) for one in values):
            raise envelope("a header's value is a string or a list of strings")
        if not _NAME.match(name):
            raise _refuse("a header name that servers read differently")
        found.setdefault(name.lower(), []).extend(values)
    if sum(map(len, found.values())) > HEADERS_MAX:
        raise ParseError(reason("parse.too_large"), f"more than {HEADERS_MAX} headers")
    for name, values in found.items():
        _check(name, values)
    headers = {
        name: ", ".join(one.strip(" \t") for one in values) for name, values in found.items()
    }
    _check_framing(headers)
    return headers


def _check(name: str, values: list[str]) -> None:
    if name in OVERRIDES:
        raise _refuse("a header that overrides method or path")
    if len(values) > 1 and name not in LISTS:
        raise _refuse("a header that stands once is repeated")
    for value in values:
        if len(value) > HEADER_BYTES_MAX:
            raise ParseError(
                reason("parse.too_large"), f"a header longer than {HEADER_BYTES_MAX} bytes"
            )
        if _CONTROL.search(value) or not is_text(value):
            raise _refuse("a header value with control characters or broken encoding")


def _check_framing(headers: Mapping[str, str]) -> None:
    """Refuse what leaves open where the body ends (RFC 9112 §6.3)."""
    length, encoding = headers.get("content-length"), headers.get("transfer-encoding")
    if length is not None and encoding is not None:
        raise _refuse("both Content-Length and Transfer-Encoding")
    if length is not None and not _DIGITS.match(length):
        raise _refuse("a Content-Length that is not a number")
    if encoding is not None and encoding != "chunked":
        raise _refuse("a Transfer-Encoding other than `chunked`")
    if "upgrade" in headers:
        raise _refuse("a change of protocol")


def announces_body(headers: Mapping[str, str]) -> bool:
    """Return whether the headers say that a body follows."""
    return "transfer-encoding" in headers or int(headers.get("content-length", "0")) > 0


def read_media(headers: Mapping[str, str]) -> Media | None:
    """Return the content type, None when none is said.

    Raises:
        ParseError: `parse.content_type`: malformed, or a parameter that stands twice.
    """
    said = headers.get("content-type")
    if said is None:
        return None
    parts = _MEDIA.match(said.lower())
    parameters = [_PARAMETER.match(one) for one in parts[2].split(";")[1:]] if parts else [None]
    if not parts or not all(parameters):
        raise ParseError(reason("parse.content_type"), "a content type that is not well formed")
    pairs = [(one[1], one[2].strip('"')) for one in parameters if one]
    if len(dict(pairs)) != len(pairs):
        raise ParseError(reason("parse.content_type"), "a content type that says something twice")
    return Media(parts[1], dict(pairs).get("charset"))


def shown(headers: Mapping[str, str]) -> dict[str, Json]:
    """Return the headers that rules and records may hold."""
    return {
        name: value
        for name, value in headers.items()
        if name not in SECRET and not name.startswith("sidecar-")
    }


def _refuse(text: str) -> ParseError:
    return ParseError(reason("parse.header"), text)
