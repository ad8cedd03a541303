"""How names and URIs may be spelt, and the ids they make: one spelling for one thing.

A name that two readers see differently is a way round a rule that is written against an id. So a
name is NFKC, visible, and holds no `/`, which is what stands between server and tool; it is
refused, never repaired. A URI has one spelling too: no dot, empty or trailing segments, no encoding
of what needs none, upper-case hex digits, lower-case scheme and host, no port that its scheme has
anyway (RFC 3986 §6.2).
"""

import re
import unicodedata
from typing import Final
from urllib.parse import unquote_to_bytes

from sidecar.domains.ai.limits import NAME_BYTES_MAX, OPAQUE_BYTES_MAX, URI_BYTES_MAX
from sidecar.syntax.glob import pieces
from sidecar.syntax.rawpath import segment
from sidecar.terms.call import Json
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason
from sidecar.terms.words import component, path_component

# Control, format (zero width, bidi, tags), surrogate, private, unassigned, line and paragraph
# separators.
_UNSEEN_CATEGORIES: Final = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
# Default_Ignorable_Code_Point of other categories, and the braille blank (Unicode 15.1,
# DerivedCoreProperties).
_UNSEEN: Final = re.compile(
    "[\u034f\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2800\u3164"
    "\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)

_URI: Final = re.compile(r"([a-z][a-z0-9+.-]*):(//([^/?]*))?([^?]*)(?:\?(.+))?\Z", re.DOTALL)
_HOST: Final = re.compile(
    r"([a-z0-9_~-]+(?:\.[a-z0-9_~-]+)*|\[[0-9a-f:.]+\])?(?::([1-9][0-9]{0,4}))?\Z"
)
_QUERY: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,=:@/?-]|%[0-9A-F]{2})+\Z")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = re.compile(rb"[A-Za-z0-9._~-]")
_VARIABLE: Final = re.compile(r"\{[A-Za-z0-9_+#./;?&,*:%-]+\}")
_DOTTED: Final = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})\Z")
_PORTS: Final = {"http": "80", "ws": "80", "https": "443", "wss": "443"}


def name(value: Json, what: str) -> str:
    """Return `value` as a name of a server, tool, prompt, collection or agent.

    Raises:
        ParseError: `parse.missing`, `parse.syntax`, `parse.too_large`, `parse.encoding`,
        `parse.ambiguous`.
    """
    text = opaque(value, what, NAME_BYTES_MAX)
    if "/" in text or text != text.strip():
        raise ParseError(reason("parse.ambiguous"), f"{what} with `/` or outer white space")
    if unicodedata.normalize("NFKC", text) != text:
        raise ParseError(
            reason("parse.ambiguous"), f"{what} that Unicode spells in two ways (NFKC)"
        )
    return text


def opaque(value: Json, what: str, bytes_max: int = OPAQUE_BYTES_MAX) -> str:
    """Return `value` as text that is told apart by its bytes alone, and can be seen."""
    if value is None or value == "":
        raise ParseError(reason("parse.missing"), f"{what} is missing")
    if not isinstance(value, str):
        raise ParseError(reason("parse.syntax"), f"{what} is not text")
    if len(value.encode("utf-8", "surrogatepass")) > bytes_max:
        raise ParseError(reason("parse.too_large"), f"{what} of more than {bytes_max} bytes")
    if not (value.isascii() and value.isprintable()) and _has_unseen(value):
        raise ParseError(reason("parse.encoding"), f"{what} with characters that cannot be seen")
    return value


def _has_unseen(text: str) -> bool:
    unseen = any(unicodedata.category(char) in _UNSEEN_CATEGORIES for char in text)
    return unseen or _UNSEEN.search(text) is not None


def uri(value: Json, *, template: bool = False) -> str:
    """Return `value` as an absolute URI in its one spelling.

    Args:
        value: As the call has it.
        template: Allow `{variables}` (RFC 6570) where a URI has characters.

    Raises:
        ParseError: `parse.path` for a spelling that consumers read differently, else as for names.
    """
    text = opaque(value, "a URI", URI_BYTES_MAX)
    if not text.isascii():
        raise ParseError(reason("parse.encoding"), "a URI with characters that it has to encode")
    _check_uri(_VARIABLE.sub("x", text) if template else text)
    return text


def _check_uri(text: str) -> None:
    if any(_respelt(digits) for digits in _ESCAPE.findall(text)):
        raise _refuse("an encoding that has another spelling")
    parts = _URI.match(text)
    if parts is None:
        raise _refuse("not an absolute URI with a lower-case scheme")
    scheme, has_host, host, path, query = parts.groups()
    if has_host:
        _check_host(scheme, host)
    if scheme == "file" and (host != "" or not path.startswith("/")):
        raise _refuse("a file URI that is not `file:///…`")
    if path not in ("", "/"):
        for part in path.removeprefix("/").split("/"):
            segment(part)
    if text.endswith("?") or (query is not None and not _QUERY.match(query)):
        raise _refuse("a query that is empty or holds a character it may not")


def _respelt(digits: str) -> bool:
    """Return whether an encoding has another spelling: lower-case digits, or none at all."""
    return digits != digits.upper() or _UNRESERVED.match(unquote_to_bytes(f"%{digits}")) is not None


def _check_host(scheme: str, authority: str) -> None:
    found = _HOST.match(authority)
    if found is None:
        raise _refuse("a host that is not lower case, or stands beside user information")
    host, port = found.groups()
    if port is not None and (host is None or port == _PORTS.get(scheme)):
        raise _refuse("a port that the scheme has anyway")
    last = (host or "").rpartition(".")[2]
    if re.fullmatch(r"0x[0-9a-f]*|[0-9]+", last) and not _DOTTED.match(host):
        raise _refuse("an IP address that is not four decimal numbers")


def _refuse(text: str) -> ParseError:
    return ParseError(reason("parse.path"), text)


def named_id(*names: str) -> str:
    """Return the id of what is found by name: `crm/get_customer`."""
    return "/".join(component(part) for part in names)


def opaque_id(owner: str, opaque_text: str) -> str:
    """Return the id of what `owner` tells apart by opaque text: URI, document, task, model."""
    return f"{component(owner)}/{path_component(opaque_text)}"


def opaque_glob(owner: str, pattern: str) -> str:
    """Return the glob over ids for a glob over opaque text, encoded between its stars.

    Raises:
        ValueError: The glob is not one.
    """
    runs = (path_component(run).replace("\\", "\\\\") for run in pieces(pattern))
    return f"{component(owner)}/".replace("\\", "\\\\") + "*".join(runs)
