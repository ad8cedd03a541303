r"""URLs in parts, read so that no other reader sees another host.

Absolute URLs with an authority and absolute paths alone. What readers disagree about is refused:
`\`, control characters, two `@`, a path that begins with `//`, escapes in a host, `%` without two
hex digits. Scheme and host are in lower case, for their case means nothing and a rule compares.

Source: RFC 3986; the functions are those of Kubernetes' URL library
"""

import ipaddress
import re
from typing import Final
from urllib.parse import quote, unquote_plus

from sidecar.policy.language.faults import BadConversion, InvalidArgument, NoSuchOverload
from sidecar.policy.language.functions.signature import function, member, spells
from sidecar.policy.language.values.kinds import Url

# Longer ones are refused by servers.
_URL_CHARS_MAX: Final = 8_192
_URL: Final = re.compile(
    r"(?:([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*))?((?:/[^?#]*)?)(?:\?([^#]*))?(?:#.*)?"
)
_AUTHORITY: Final = re.compile(
    r"(?:[^@\[\]]*@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=-]*)(?::([0-9]{0,5}))?"
)
_REFUSED: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\\\ud800-\udfff]|%(?![0-9A-Fa-f]{2})")
# What stays as it is in an escaped path; `%` begins an escape that is there already.
_PATH_SAFE: Final = "/%:@!$&'()*+,;=-._~"
_PORT_MAX: Final = 65_535


def _parsed(text: str) -> Url:
    if len(text) > _URL_CHARS_MAX or _REFUSED.search(text):
        raise BadConversion
    read = _URL.fullmatch(text)
    if read is None:
        raise BadConversion
    scheme, authority, path, query = read[1] or "", read[2] or "", read[3], read[4] or ""
    if not scheme and (not path or path.startswith("//")):
        raise BadConversion
    host, hostname, port = _host(authority) if authority else ("", "", "")
    return Url(scheme.lower(), host, hostname, port, quote(path, safe=_PATH_SAFE), query)


def _host(authority: str) -> tuple[str, str, str]:
    read = _AUTHORITY.fullmatch(authority)
    if read is None:
        raise BadConversion
    name, port = read[1].lower(), read[2] or ""
    if port and int(port) > _PORT_MAX:
        raise BadConversion
    if name.startswith("["):
        try:
            ipaddress.IPv6Address(name[1:-1])
        except ValueError:
            raise BadConversion from None
    elif not name:
        raise BadConversion
    return (f"{name}:{port}" if port else name), name.strip("[]"), port


def to_url(text: object) -> Url:
    """Return the parts of a URL."""
    if type(text) is str:
        return _parsed(text)
    raise NoSuchOverload


def _url(value: object) -> Url:
    if type(value) is Url:
        return value
    raise NoSuchOverload


def scheme(url: object) -> str:
    """Return the scheme in lower case, or nothing."""
    return _url(url).scheme


def host(url: object) -> str:
    """Return host and port, an IPv6 address in brackets."""
    return _url(url).host


def hostname(url: object) -> str:
    """Return the host without port and brackets."""
    return _url(url).hostname


def port(url: object) -> str:
    """Return the port as written, or nothing."""
    return _url(url).port


def escaped_path(url: object) -> str:
    """Return the path with escapes."""
    return _url(url).path


def query(url: object) -> dict[object, object]:
    """Return the parameters of the query: each name with all of its values.

    Raises:
        InvalidArgument: There is a `;`, which some readers take for `&`, or what is no UTF-8.
    """
    given = _url(url).query
    if ";" in given:
        raise InvalidArgument
    found: dict[object, object] = {}
    for pair in filter(None, given.split("&")):
        name, _, value = pair.partition("=")
        values = found.setdefault(_unescaped(name), [])
        assert isinstance(values, list)
        values.append(_unescaped(value))
    return found


def _unescaped(text: str) -> str:
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        raise InvalidArgument from None


DECLARED: Final = (
    function("url", to_url, "string -> url"),
    function("isURL", spells(to_url), "string -> bool"),
    member("getScheme", scheme, "url -> string"),
    member("getHost", host, "url -> string"),
    member("getHostname", hostname, "url -> string"),
    member("getPort", port, "url -> string"),
    member("getEscapedPath", escaped_path, "url -> string"),
    member("getQuery", query, "url -> map(string, list(string))"),
)
