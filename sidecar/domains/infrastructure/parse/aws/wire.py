"""An AWS request as it stands on the wire: URL, headers and SigV4 scope, read strictly.

The scope (`Credential=AKID/date/region/service/aws4_request`) is what AWS itself checks the
signature for, so it says which service is asked. Two places for one thing (a credential in header
and query, a repeated header, a `Host` unlike the URL's) are refused. The signature is AWS's to
verify, not ours; neither it nor a session token leaves this module.

Source: docs.aws.amazon.com, Signature Version 4 for API requests; RFC 3986.
"""

import re
from typing import Final

import msgspec

from sidecar.domains.infrastructure.limits import HEADER_BYTES_MAX, HEADERS_MAX
from sidecar.domains.infrastructure.parse.payload import (
    body_bytes,
    check_fields,
    has_control,
    query_pairs,
    refuse,
    required_text,
)
from sidecar.terms.call import Json

Pairs = list[tuple[str, str | None]]

_URL: Final = re.compile(r"(https?)://([^/?#]*)(/[^?#]*)?(?:\?([^#]*))?\Z")
_AUTHORITY: Final = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?\Z")
_VISIBLE: Final = re.compile(r"[!-~]+\Z")
_SCOPE: Final = re.compile(
    r"[A-Za-z0-9_.-]{1,128}/[0-9]{8}/([a-z0-9-]{1,64})/([A-Za-z0-9.-]{1,64})/aws4_request\Z"
)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_SIGNED: Final = frozenset(("Credential", "SignedHeaders", "Signature"))
# Any other `X-Amz-*` in a query is a header that the client hoisted there, `x-amz-copy-source`
# among them; what it would mean there differs by service, so it is no presigning parameter.
_PRESIGNED: Final = frozenset((
    "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders",
    "X-Amz-Signature", "X-Amz-Security-Token", "X-Amz-Content-Sha256",
))  # fmt: skip
_OVERRIDES: Final = frozenset(
    (
        "x-http-method-override",
        "x-method-override",
        "x-http-method",
        "x-original-url",
        "x-rewrite-url",
    )
)


class Wire(msgspec.Struct, frozen=True):
    """One request. `path` is raw; `query` is decoded and without what presigning adds."""

    method: str
    host: str
    path: str
    query: Pairs
    headers: dict[str, str]
    body: bytes
    region: str
    service: str


def read_wire(payload: dict[str, Json]) -> Wire:
    """Return the request of an `aws` call object."""
    check_fields(payload, ("method", "url", "headers", "body"))
    host, path, query = split_url(required_text(payload, "url"))
    headers = _headers(payload.get("headers", {}))
    if headers.get("host", host).lower().partition(":")[0] != host.partition(":")[0]:
        raise refuse("parse.header", "a Host header that is not the URL's host")
    pairs = query_pairs(query)
    region, service = _scope(headers, pairs)
    if any(key == "X-Amz-Credential" for key, _ in pairs):
        pairs = [pair for pair in pairs if pair[0] not in _PRESIGNED]
    return Wire(
        method=required_text(payload, "method"),
        host=host,
        path=path,
        query=pairs,
        headers=headers,
        body=body_bytes(payload),
        region=region,
        service=service,
    )


def split_url(url: str) -> tuple[str, str, str]:
    """Return host (lower case, no port), raw path and raw query of an absolute URL."""
    if not _VISIBLE.match(url) or "\\" in url:
        raise refuse("parse.path", "a URL is visible ASCII without backslashes")
    found = _URL.match(url)
    if found is None:
        raise refuse("parse.syntax", "expected an absolute http or https URL without a fragment")
    authority = _AUTHORITY.match(found.group(2))
    if authority is None:
        raise refuse("parse.syntax", "expected `host` or `host:port` and no user in the URL")
    host = authority.group(1).lower()
    if host.startswith((".", "-")) or host.endswith((".", "-")) or ".." in host:
        raise refuse("parse.syntax", "not a host name")
    return host, found.group(3) or "/", found.group(4) or ""


def _headers(headers: Json) -> dict[str, str]:
    """Return headers by lower-case name; one that is repeated or changes the request is refused."""
    if not isinstance(headers, dict) or len(headers) > HEADERS_MAX:
        raise refuse("parse.envelope", f"`headers` is an object of at most {HEADERS_MAX} names")
    found: dict[str, str] = {}
    for name, value in headers.items():
        single = value[0] if isinstance(value, list) and len(value) == 1 else value
        if not isinstance(single, str) or name.lower() in found:
            raise refuse("parse.header", "a header is a text and stands once")
        # A server that trims the name would see a header that we do not.
        if not _TOKEN.match(name):
            raise refuse("parse.header", "a header's name is a token")
        if len(single) > HEADER_BYTES_MAX or has_control(single.replace("\t", " ")):
            raise refuse("parse.header", "a header that is too long or holds control characters")
        found[name.lower()] = single.strip()
    if _OVERRIDES & set(found):
        raise refuse("parse.header", "a header that overrides method or path")
    return found


def _scope(headers: dict[str, str], pairs: Pairs) -> tuple[str, str]:
    """Return region and service that the request is signed for."""
    presigned = [value for key, value in pairs if key == "X-Amz-Credential"]
    authorization = headers.get("authorization")
    if authorization is not None and presigned:
        raise refuse("parse.ambiguous", "a credential in the header and in the query")
    if len(presigned) > 1:
        raise refuse("parse.ambiguous", "two credentials in the query")
    if authorization is not None:
        credential = _credential(authorization)
    elif presigned:
        _check_presigned(pairs)
        credential = presigned[0] or ""
    else:
        raise refuse("parse.missing", "no SigV4 credential, so no service is named")
    found = _SCOPE.match(credential)
    if found is None:
        raise refuse("parse.syntax", "expected a credential `id/date/region/service/aws4_request`")
    return found.group(1), found.group(2)


def _credential(authorization: str) -> str:
    """Return the Credential of an Authorization header of SigV4 and of nothing else."""
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != _ALGORITHM:
        raise refuse("parse.unsupported", f"signed by another algorithm than {_ALGORITHM}")
    found: dict[str, str] = {}
    for part in rest.split(","):
        name, equals, value = part.strip().partition("=")
        if name in found:
            raise refuse("parse.ambiguous", "a part of the Authorization header stands twice")
        if not equals or name not in _SIGNED:
            raise refuse("parse.syntax", "an unknown part in the Authorization header")
        found[name] = value
    if "Credential" not in found:
        raise refuse("parse.missing", "no SigV4 credential, so no service is named")
    return found["Credential"]


def _check_presigned(pairs: Pairs) -> None:
    names = [key for key, _ in pairs if key in _PRESIGNED]
    if len(set(names)) != len(names):
        raise refuse("parse.ambiguous", "a presigning parameter stands twice")
    if ("X-Amz-Algorithm", _ALGORITHM) not in pairs:
        raise refuse("parse.unsupported", f"presigned by another algorithm than {_ALGORITHM}")
