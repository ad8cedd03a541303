"""What every protocol here reads the same way: the fields of a payload, a body, a query string."""

import re
from collections.abc import Collection, Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

from sidecar.domains.infrastructure.limits import QUERY_PAIRS_MAX, URL_BYTES_MAX
from sidecar.terms.call import Json
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# What may stand in a request line's query (RFC 3986 §3.4) and what clients leave unencoded beside
# it.
_QUERY: Final = re.compile(r"[A-Za-z0-9._~!$'()*+,:@/?%=&\[\]{}|^\"<>-]*\Z")


def refuse(code: str, text: str) -> ParseError:
    """Return the ParseError of `code`; `text` never holds a literal of the call."""
    return ParseError(reason(code), text)


def check_fields(payload: dict[str, Json], known: Collection[str]) -> None:
    """Refuse a field that the protocol's call object does not have."""
    unknown = sorted(set(payload) - set(known))
    if unknown:
        raise refuse("parse.envelope", f"unknown field in the call; known are {', '.join(known)}")


def required_text(payload: dict[str, Json], field: str) -> str:
    """Return a field that must be a text that is not empty."""
    value = payload.get(field)
    if not isinstance(value, str) or not value:
        raise refuse("parse.envelope", f"`{field}` is a text that is not empty")
    if len(value) > URL_BYTES_MAX:
        raise refuse("parse.too_large", f"`{field}` is longer than {URL_BYTES_MAX}")
    return value


def body_bytes(payload: dict[str, Json]) -> bytes:
    """Return the body as it goes over the wire, empty when there is none."""
    value = payload.get("body")
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise refuse("parse.envelope", "`body` is a text or bytes")
    try:
        return value.encode("utf-8", "strict")
    except UnicodeEncodeError:
        raise refuse("parse.encoding", "a body that is not UTF-8") from None


def query_pairs(raw: str, *, pairs_max: int = QUERY_PAIRS_MAX) -> list[tuple[str, str | None]]:
    """Return the decoded pairs of a query or form in their order; a key without `=` has None.

    Servers differ on `;`, on empty pairs and on broken escapes (Go drops such a pair in silence),
    so all of these are refused. `+` is a space, as forms have it.
    """
    if raw == "":
        return []
    if not _QUERY.match(raw):
        raise refuse("parse.syntax", "a character that a query may not hold unencoded")
    parts = raw.split("&")
    if len(parts) > pairs_max:
        raise refuse("parse.too_large", f"more than {pairs_max} parameters")
    return [_pair(part) for part in parts]


def _pair(part: str) -> tuple[str, str | None]:
    key, equals, value = part.partition("=")
    if not key:
        raise refuse("parse.syntax", "a parameter without a name")
    name = decoded(key.replace("+", " "))
    if _CONTROL.search(name):
        raise refuse("parse.syntax", "a control character in a parameter's name")
    return name, decoded(value.replace("+", " ")) if equals else None


def decoded(raw: str) -> str:
    """Return percent-encoded text decoded once, refusing what is not UTF-8."""
    if _BROKEN_ESCAPE.search(raw):
        raise refuse("parse.encoding", "a `%` that no two hex digits follow")
    try:
        return unquote_to_bytes(raw).decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise refuse("parse.encoding", "an encoded text that is not UTF-8") from None


def single_valued(
    pairs: Iterable[tuple[str, str | None]], *, repeatable: Collection[str] = ()
) -> dict[str, str]:
    """Return pairs as a mapping; a key that comes twice is refused unless it is `repeatable`.

    A key without a value counts as an empty one. Of a repeatable key the first value is kept.
    """
    found: dict[str, str] = {}
    for key, value in pairs:
        if key in found and key not in repeatable:
            raise refuse("parse.ambiguous", "a single-valued parameter is given twice")
        found.setdefault(key, value or "")
    return found


def has_control(text: str) -> bool:
    """Return whether `text` holds a C0 or C1 control character."""
    return _CONTROL.search(text) is not None
