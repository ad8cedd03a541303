"""An absolute URL read strictly, without ever decoding before splitting.

No URL library stands here: each of them repairs something (collapses dot segments, folds escapes,
cuts fragments), and a repaired URL is not the one that is sent.

Source: RFC 3986 §3; WHATWG URL §3.5 for hosts that end in a number.
"""

import ipaddress
import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

import msgspec

from sidecar.domains.application.limits import (
    HOST_BYTES_MAX,
    HOSTS_KEPT_MAX,
    QUERY_PAIRS_MAX,
    URL_BYTES_MAX,
)
from sidecar.domains.application.parse.override import is_override, overridden
from sidecar.terms.call import Json, remembers
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?\Z", re.DOTALL)
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\Z")
_NUMBER = re.compile(r"([0-9]+|0x[0-9a-f]*)\Z")
_PORT = re.compile(r"[1-9][0-9]{0,4}\Z")
_QUERY = re.compile(r"[A-Za-z0-9._~!$'()*,:@/?\[\]|{}^`\"<>=&+%-]*\Z")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DEFAULT_PORTS = {"http": "80", "https": "443"}

Query = dict[str, Json]


class Url(msgspec.Struct, frozen=True):
    """An absolute URL in parts; `path` and `query` are raw, `query` without its `?`."""

    scheme: str
    host: str
    path: str
    query: str


def read_url(text: str) -> Url:
    """Return the parts of an absolute `http` or `https` URL.

    Raises:
        ParseError: `parse.missing`, `parse.path`, `parse.ambiguous`, `parse.encoding`,
            `parse.unsupported`, `parse.too_large`.
    """
    if len(text) > URL_BYTES_MAX:
        raise ParseError(reason("parse.too_large"), f"a URL longer than {URL_BYTES_MAX} bytes")
    if not text.isascii():
        raise ParseError(reason("parse.encoding"), "a URL that is not ASCII")
    parts = _URL.match(text)
    if not parts:
        raise ParseError(reason("parse.missing"), "`url` is not absolute")
    scheme, authority, path, query, fragment = parts.groups()
    if scheme.lower() not in _DEFAULT_PORTS:
        raise ParseError(reason("parse.unsupported"), "a scheme other than http and https")
    if fragment is not None:
        raise ParseError(reason("parse.path"), "a fragment, which is never sent")
    if "@" in authority:
        raise ParseError(reason("parse.path"), "user information in the URL")
    host = read_host(authority, scheme.lower())
    return Url(scheme.lower(), host, path or "/", query[1:] if query else "")


@lru_cache(maxsize=HOSTS_KEPT_MAX)
def read_host(authority: str, scheme: str) -> str:
    """Return host and port in their one form: lower case, no final dot, no default port."""
    if authority.startswith("["):
        name, bracket, rest = authority.partition("]")
        host, port = _ipv6(name[1:] if bracket else ""), rest.removeprefix(":")
        if rest and not rest.startswith(":"):
            raise _ambiguous("text between host and port")
    else:
        name, colon, port = authority.partition(":")
        host, rest = _name(name.lower().removesuffix(".")), colon
    if rest and not (_PORT.match(port) and int(port) < 65536):
        raise _ambiguous("a port that is not a number from 1 to 65535")
    return host if not rest or port == _DEFAULT_PORTS[scheme] else f"{host}:{port}"


remembers(read_host.cache_clear)


def _name(host: str) -> str:
    if host == "":
        raise ParseError(reason("parse.missing"), "`url` names no host")
    if len(host) > HOST_BYTES_MAX:
        raise ParseError(reason("parse.too_large"), f"a host longer than {HOST_BYTES_MAX} bytes")
    if not _NAME.match(host):
        raise _ambiguous("a host that is neither a name nor an address")
    # `0x7f.1`, `127.1` and `2130706433` are addresses to some and names to others.
    if _NUMBER.match(host.rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise _ambiguous("a host that ends in a number and is no IPv4 address") from None
    return host


def _ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise _ambiguous("brackets around what is no IPv6 address") from None
    if address.scope_id:
        raise _ambiguous("an IPv6 address with a zone")
    return f"[{address.compressed}]"


def read_query(raw: str) -> tuple[Query, tuple[str, ...]]:
    """Return the pairs of a raw query, form-decoded, and which keys repeat.

    A key that repeats is a list, in order. Empty pairs (`a=1&&b=2`) say nothing to anyone.

    Raises:
        ParseError: `parse.encoding`, `parse.ambiguous`, `parse.too_large`, `parse.method`.

    Source: WHATWG URL §5.1 (`application/x-www-form-urlencoded` parsing).
    """
    if not raw:
        return {}, ()
    if _BROKEN_ESCAPE.search(raw):
        raise ParseError(reason("parse.encoding"), "a `%` that no two hex digits follow")
    if not _QUERY.match(raw):
        # `;` separates pairs for some servers, `\` and `#` are cut by others.
        raise _ambiguous("a character in the query that servers read differently")
    pairs = [pair for pair in raw.split("&") if pair]
    if len(pairs) > QUERY_PAIRS_MAX:
        raise ParseError(reason("parse.too_large"), f"more than {QUERY_PAIRS_MAX} query pairs")
    found: dict[str, list[str]] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        found.setdefault(_decoded(key), []).append(_decoded(value))
    if any(map(is_override, found)):
        raise overridden("query")
    repeated = tuple(key for key, values in found.items() if len(values) > 1)
    return {
        key: values if len(values) > 1 else values[0] for key, values in found.items()
    }, repeated


def _decoded(raw: str) -> str:
    try:
        text = unquote_to_bytes(raw.replace("+", " ")).decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise ParseError(reason("parse.encoding"), "a query that is not UTF-8") from None
    if "\0" in text:
        raise ParseError(reason("parse.encoding"), "NUL in the query")
    return text


def _ambiguous(text: str) -> ParseError:
    return ParseError(reason("parse.ambiguous"), text)
