"""Read the head of an HTTP/1.1 request strictly, and say how its body is framed.

The bytes are looked at twice: llhttp (httptools) reads them with no leniency, and what it lets pass
that two servers could still read differently is refused here: a bare LF or CR anywhere, a request
line that is not three words parted by one space each, a version other than 1.0 and 1.1, no Host or
two, a transfer coding other than `chunked`, and any transfer coding in HTTP/1.0. Two lengths, a
length beside a coding, folded lines and blanks before a colon are llhttp's to refuse; a test holds
it to that.

Source: RFC 9112 §2.2, §3, §5.1, §5.2, §6; RFC 9110 §10.1.1.
"""

import re
from typing import Final

import httptools
import msgspec

from sidecar.intercept.hot.limits import HEAD_BYTES_MAX, HEADERS_MAX, LINE_BYTES_MAX

_LINE: Final = re.compile(rb"[A-Z]{1,20} [\x21-\x7e]+ HTTP/1\.[01]\r\n")
_ABSOLUTE: Final = re.compile(r"https?://([^/?#]+)(.*)", re.IGNORECASE)
_ONCE: Final = frozenset(("content-length", "transfer-encoding", "expect"))


class Malformed(Exception):
    """Bytes that are no request that every server reads alike."""


class Unexpected(Malformed):
    """A request that expects what is not met: something else than `100-continue`, or two things."""


class Head(msgspec.Struct, frozen=True):
    """A request without its body.

    Args:
        method: As it was sent, upper case.
        target: As it was sent, not decoded; of an absolute one, what comes after the authority.
        headers: In order, names in lower case, values without outer blanks.
        length: Bytes of the body; 0 without one, unknown when `is_chunked`.
        is_chunked: The body comes in chunks.
        keeps_alive: The connection may serve another request.
        expects: The caller waits to be asked for the body.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    length: int = 0
    is_chunked: bool = False
    keeps_alive: bool = True
    expects: bool = False

    def all(self, name: str) -> list[str]:
        """Return every value of a header, `name` in lower case."""
        return [value for said, value in self.headers if said == name]


def head_end(data: bytes) -> int:
    """Return where the head in `data` ends, 0 when it is not whole yet.

    Raises:
        Malformed: It will never be one: too long, or with a line that does not end as lines do.
    """
    end = data.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX) + 4
    if end > 3:
        return end
    # A line that ended with a bare LF would be waited for until its deadline; so would TLS.
    may_be = data[:1].isupper() or data == b"\r"
    if len(data) >= HEAD_BYTES_MAX or not may_be or b"\n" in data.replace(b"\r\n", b""):
        raise Malformed
    return 0


def behind_empty_line(data: bytes) -> bytes | None:
    """Return what follows an empty line before a request, None where there is none.

    Source: RFC 9112 §2.2.
    """
    return data[2:] if data.startswith(b"\r\n") else None


def read_head(raw: bytes) -> Head:
    """Return the head that `raw`, up to its empty line, is.

    Raises:
        Malformed: It is none, or one that servers read differently.
    """
    _check_lines(raw)
    seen = _Seen()
    seen.parser = httptools.HttpRequestParser(seen)
    try:
        seen.parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        # Nobody is let change the protocol: the header is passed over (RFC 9110 §7.8).
        pass
    except httptools.HttpParserError:
        raise Malformed from None
    if not seen.is_whole:
        raise Malformed
    method, target, _ = raw.split(b" ", 2)
    return _framed(method.decode("ascii"), _place(target.decode("ascii"), seen), seen)


def _place(target: str, seen: "_Seen") -> str:
    """Return the path and query of a target; an absolute one is of the host that is asked.

    Source: RFC 9112 §3.2.2. Raises Malformed where target and Host name two.
    """
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        return target
    hosts = [value.lower() for name, value in seen.headers if name == "host"]
    if hosts != [found[1].lower()]:
        raise Malformed
    return found[2] if found[2].startswith("/") else "/" + found[2]


def _check_lines(raw: bytes) -> None:
    lines = raw.count(b"\r\n")
    if lines != raw.count(b"\n") or lines != raw.count(b"\r") or not _LINE.match(raw):
        raise Malformed
    # The request line and the empty one are no headers.
    if lines - 2 > HEADERS_MAX or max(map(len, raw.split(b"\r\n"))) > LINE_BYTES_MAX:
        raise Malformed


def _framed(method: str, target: str, seen: "_Seen") -> Head:
    once = {name: value for name, value in seen.headers if name in _ONCE}
    coding, expected = once.get("transfer-encoding"), once.get("expect")
    names = [name for name, _ in seen.headers]
    if coding is not None and (seen.is_old or coding.lower() != "chunked"):
        raise Malformed
    hosts = names.count("host")
    if hosts > 1 or (hosts == 0 and not seen.is_old) or names.count("transfer-encoding") > 1:
        raise Malformed
    if expected is not None and (names.count("expect") > 1 or expected.lower() != "100-continue"):
        raise Unexpected
    return Head(
        method=method,
        target=target,
        headers=tuple(seen.headers),
        length=int(once.get("content-length", "0")),
        is_chunked=coding is not None,
        keeps_alive=seen.keeps_alive and not seen.is_old,
        expects=expected is not None and not seen.is_old,
    )


class _Seen:
    """What llhttp tells while it reads."""

    parser: httptools.HttpRequestParser

    def __init__(self) -> None:
        self.headers: list[tuple[str, str]] = []
        self.is_whole = False
        self.is_old = False
        self.keeps_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        # Latin-1 names every byte, so that nothing is lost before a value is judged.
        self.headers.append((name.decode("ascii").lower(), value.decode("latin-1").strip(" \t")))

    def on_headers_complete(self) -> None:
        # Asked here: at the end of a message the parser forgets what it was.
        self.is_whole = True
        self.is_old = self.parser.get_http_version() == "1.0"
        self.keeps_alive = self.parser.should_keep_alive()
