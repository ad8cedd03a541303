"""Finds `_method`: the word in a query or a body by which frameworks run a POST as another method.

Rails, Laravel, Symfony and Spring read it in forms and multipart bodies, Laravel also in JSON. A
route that was judged as POST would then run as DELETE, so who holds a body asks here first.

The readers are wider than any framework's, not equal to one: names are compared as Rack and PHP
fold them (`[_method]`, `.method`, `_method` before a NUL), and of a multipart body every header
block is looked at wherever it stands, since servers differ on where a part begins. A body without
a type is a form (Rack); one that says `/json` anywhere in its type is JSON (Laravel). Each pattern
passes once over the bytes.

Source: WHATWG URL §5.1, RFC 7578, RFC 2231; the documentation of Rack::MethodOverride, Symfony's
HttpFoundation, Laravel's `isJson` and Spring's HiddenHttpMethodFilter.
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from sidecar.domains.application.parse.headers import Media
from sidecar.syntax.json import loads
from sidecar.terms.call import Json
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

WORD = "_method"

# What stands around the word in a name and that Rack or PHP does not see.
_NAME = re.compile(r"[\s\[\]\0]*+[_.]method(?:[\s\[\]\0].*)?\Z", re.DOTALL | re.IGNORECASE)
# The same on the bytes of a form, each character as it is or escaped; `;` parts pairs for some.
_LETTERS = b"".join(b"(?:%c|%%%02x|%%%02x)" % (c, c, c - 32) for c in b"method")
_AROUND = rb"[\s+\[\]\0]|%(?:0[09abcd]|20|5[bd])"
_PAIR = re.compile(
    rb"(?:\A|[&;])(?:%b)*+(?:[_.]|%%5f|%%2e)%b(?=[=&;]|%%3d|%b|\Z)" % (_AROUND, _LETTERS, _AROUND),
    re.IGNORECASE,
)
# Rack takes a part's name from Content-ID where its disposition has none.
_BLOCK = re.compile(rb"content-(?:disposition|id)", re.IGNORECASE)
# The longest that a block can be: where some server ends it sooner, more is looked at.
_BLANK = b"\r\n\r\n"
# PHP joins lines, so a block is looked at without their ends and nothing is asked of what follows
# the word. A name in pieces (RFC 2231) or in encoded words (RFC 2047) is not read.
_QUOTES = bytes.maketrans(b"\"'", b"  ")
_UNSEEN = b"\\\r\n"
_PART = re.compile(rb"(?<![a-z0-9_])[_.]method|(?<![a-z])name\s*+(?:\*[0-9]|=\s*+=\?)")
# Rack takes a multipart body for a form where it finds no boundary in the type.
_BOUNDARY = re.compile(
    r";[ \t]*boundary=(?:[0-9a-z'()+_./:=?-]{1,70}|\"[0-9a-z'()+_./:=? -]{1,70}\")"
)
_CHARSETS = frozenset((None, "utf-8", "utf8", "us-ascii", "iso-8859-1"))


def is_override(name: str) -> bool:
    """Return whether some server reads a query key or a form's field as the method."""
    return _NAME.match(name) is not None


def may_override(method: str, content_type: str | None) -> bool:
    """Return whether a body of this type may say another method: whoever forwards it must hold it.

    Args:
        method: As on the request line; frameworks look at POST alone.
        content_type: As it will be sent, None when none will be.
    """
    return method == "POST" and any(_kinds(content_type or ""))


def refuse_override(method: str, content_type: str | None, media: Media | None, raw: bytes) -> None:
    """Refuse a POST whose body says that it is another method.

    Raises:
        ParseError: `parse.method`; `parse.content_type` for a type that hides what the body says;
            what `loads` raises where only reading all of the JSON could tell.
    """
    if not may_override(method, content_type):
        return
    is_form, is_multipart, is_json = _kinds(content_type or "")
    if media is not None and media.charset not in _CHARSETS:
        raise ParseError(reason("parse.content_type"), "a body in a charset that hides a method")
    if is_multipart and not _BOUNDARY.search((content_type or "").lower()):
        raise ParseError(reason("parse.content_type"), "a multipart body without a plain boundary")
    if (
        (is_form and _PAIR.search(raw))
        or (is_multipart and any(_PART.search(block) for block in _blocks(raw)))
        or (is_json and _may_hold(raw) and says_method(loads(raw)))
    ):
        raise overridden("body")


def says_method(body: Json) -> bool:
    """Return whether a JSON body names the word at its top."""
    return isinstance(body, dict) and WORD in body


def overridden(where: str) -> ParseError:
    """Return the refusal of a `where` that says another method."""
    return ParseError(reason("parse.method"), f"a {where} that overrides the method")


def _kinds(content_type: str) -> tuple[bool, bool, bool]:
    """Return whether some server reads a body of this type as a form, as multipart, as JSON."""
    said = content_type.strip().lower()
    return (
        said == "" or "urlencoded" in said,
        "multipart" in said,
        "/json" in said or "+json" in said,
    )


def _may_hold(raw: bytes) -> bool:
    """Return whether JSON may spell the word: as it is, or with escapes."""
    return WORD.encode() in raw or b"\\u" in raw


def _blocks(raw: bytes) -> Iterator[bytes]:
    """Yield what may be the headers of a part, from what names it to the blank line."""
    at = 0
    while found := _BLOCK.search(raw, at):
        blank = raw.find(_BLANK, found.end())
        at = blank if blank >= 0 else len(raw)
        yield unquote_to_bytes(raw[found.start() : at]).translate(_QUOTES, _UNSEEN).lower()
