"""A raw request path, split and decoded once; forms that two servers read differently are refused.

The raw path is split on `/` first and each segment is decoded alone, so that `%2F` never becomes
a boundary. Whatever a later server might collapse, decode again or cut is refused: dot segments,
empty segments, double encodings, backslashes, `;` parameters, fragments, overlong or broken
encodings.

Source: RFC 3986 §3.3 and §6.2; CVE-2019-9901 and CVE-2021-29492 (Envoy) for what happens otherwise.
"""

import re
from urllib.parse import unquote_to_bytes

from sidecar.syntax.limits import PATH_BYTES_MAX, PATH_SEGMENTS_MAX
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

_PLAIN = re.compile(r"[A-Za-z0-9._~!$&'()*+,=:@/-]*\Z")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# What an escape hid: what parts or cuts paths, what would be decoded again, control characters.
_HIDDEN = re.compile(r"[/\\;%#?\x00-\x1f\x7f-\x9f]")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")


def segments(raw: str, *, trailing_slash: bool = False) -> tuple[str, ...]:
    """Return the decoded segments of an absolute raw path; `/a/b` is `("a", "b")`, `/` is `()`.

    Args:
        raw: As it came over the wire, query already cut off.
        trailing_slash: Accept one final `/`, returned as a last segment `""`.

    Raises:
        ParseError: `parse.path`, `parse.encoding`, `parse.too_large`.
    """
    if not raw.startswith("/"):
        raise _refuse("a path starts with `/`")
    if len(raw) > PATH_BYTES_MAX:
        raise ParseError(reason("parse.too_large"), f"a path longer than {PATH_BYTES_MAX} bytes")
    if raw == "/":
        return ()
    parts = raw[1:].split("/")
    if len(parts) > PATH_SEGMENTS_MAX:
        raise ParseError(reason("parse.too_large"), f"more than {PATH_SEGMENTS_MAX} path segments")
    decoded = [segment(part) for part in parts[:-1]]
    if parts[-1] == "" and trailing_slash:
        return (*decoded, "")
    return (*decoded, segment(parts[-1]))


def segment(raw: str) -> str:
    """Return one decoded segment, or refuse it."""
    if raw == "":
        raise _refuse("an empty path segment")
    if "%" not in raw and _PLAIN.match(raw) and raw not in (".", ".."):
        # Most hold nothing that could be decoded.
        return raw
    if not _PLAIN.match(_ESCAPE.sub("", raw)):
        if _BROKEN_ESCAPE.search(raw):
            raise ParseError(reason("parse.encoding"), "a `%` that no two hex digits follow")
        raise _refuse("a character that a path segment may not hold unencoded")
    try:
        text = unquote_to_bytes(raw).decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise ParseError(reason("parse.encoding"), "a path segment that is not UTF-8") from None
    if text in (".", ".."):
        raise _refuse("a dot segment")
    if _HIDDEN.search(text):
        raise _refuse(
            "an encoded separator, control character or double encoding in a path segment"
        )
    return text


def _refuse(text: str) -> ParseError:
    return ParseError(reason("parse.path"), text)
