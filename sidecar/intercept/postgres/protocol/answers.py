"""The server's stream: framed always, read where it says something, passed on as it is."""

import struct
from collections.abc import Callable
from typing import Final

from sidecar.intercept.postgres.limits import ANSWER_BYTES_MAX
from sidecar.intercept.postgres.protocol.guard import curt
from sidecar.intercept.postgres.protocol.pipeline import Pipeline
from sidecar.intercept.postgres.protocol.wire import HEADER_BYTES, ProtocolError

_DESCRIPTIONS: Final = frozenset(b"Tn")
_DATA_ROW: Final = ord("D")
_ROWS: Final = frozenset(b"Dd")
_HEAD: Final = struct.Struct("!BI")
_UNREAD: Final = _DESCRIPTIONS | _ROWS
_READ: Final = frozenset(b"123CEIsZGHct")
# Notices and notifications come whenever the server likes.
_NOTICE: Final = ord("N")
_NOTIFICATION: Final = ord("A")
_PARAMETER: Final = ord("S")


class Answers:
    """Cuts the server's bytes into messages, however they arrive; the pipeline reads them."""

    def __init__(self, pipeline: Pipeline, agree: Callable[[bytes], None]) -> None:
        """Take the pipeline, and what checks that a ParameterStatus says what is pinned."""
        self._pipeline = pipeline
        self._agree = agree
        self._held = b""
        self._passing = 0
        self._is_dropping = False
        # Whether what comes next begins with a message.
        self.is_between = True

    def feed(self, data: bytes) -> bytes:
        """Return what the client is to be sent for `data`.

        Raises:
            ProtocolError: The server says what cannot follow from what it was asked.
        """
        data = self._held + data
        out: list[bytes] = []
        start = 0
        at = min(self._passing, len(data))
        self._passing -= at
        if self._is_dropping:
            start = at
        while (end := _end(data, at)) is not None:
            if data[at] == _DATA_ROW and self._pipeline.rows_pass:
                self._is_dropping = False
                at = self._rows(data, at)
                continue
            instead = self._message(data, at, end)
            if instead is not None:
                out += (data[start:at], instead)
                start = end
            self._is_dropping = instead is not None
            at = end
        if at > len(data):
            # The rest of a row is on its way and passes unread, or is dropped with the row.
            self._passing, at = at - len(data), len(data)
        out.append(data[start:at])
        self._held = data[at:]
        self.is_between = not (self._held or self._passing)
        return b"".join(out)

    def _rows(self, data: bytes, at: int) -> int:
        """Return where the DataRows that begin at `at` end: nothing but their size is looked at."""
        began, count, last = at, 0, len(data) - HEADER_BYTES
        while at <= last:
            kind, size = _HEAD.unpack_from(data, at)
            if kind != _DATA_ROW:
                break
            if size < 4:
                raise ProtocolError("an answer of impossible length")
            at += size + 1
            count += 1
        self._pipeline.rows_passed(count, at - began)
        return at

    def _message(self, data: bytes, at: int, end: int) -> bytes | None:
        """Take one message; return what the client is told in its place, None for itself."""
        kind = data[at]
        if kind in _ROWS:
            return None if self._pipeline.row_passes(kind, end - at) else b""
        if kind in _DESCRIPTIONS:
            return None if self._pipeline.described(kind) else b""
        if kind in _READ:
            return self._pipeline.answered(kind, data[at + HEADER_BYTES : end])
        if kind == _PARAMETER:
            self._agree(data[at + HEADER_BYTES : end])
        elif kind == _NOTICE:
            body = data[at + HEADER_BYTES : end]
            return b"" if self._pipeline.is_quiet else curt(b"N", body)
        elif kind != _NOTIFICATION:
            raise ProtocolError("an answer of a kind that was not asked for")
        return None


def _end(data: bytes, at: int) -> int | None:
    """Return where the message at `at` ends, None while too little of it is there."""
    if len(data) - at < HEADER_BYTES:
        return None
    size = 1 + int.from_bytes(data[at + 1 : at + HEADER_BYTES], "big")
    if size < HEADER_BYTES:
        raise ProtocolError("an answer of impossible length")
    if at + size <= len(data) or data[at] in _UNREAD:
        return at + size
    if size > ANSWER_BYTES_MAX:
        raise ProtocolError("an answer of excessive length")
    return None
