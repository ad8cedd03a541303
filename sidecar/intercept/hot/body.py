"""Collect the body of a request: by its length, or in chunks read to the letter.

Extensions of chunks and trailers are refused, not passed over: nobody on a JSON API sends them, and
how much of such a line belongs to it is where servers have differed.

Source: RFC 9112 §7.1.
"""

import re
from typing import Final, TypeAlias

from sidecar.intercept.hot.head import Head, Malformed
from sidecar.intercept.hot.limits import CHUNKS_MAX

_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,8}\r\n")
_PART_OF_SIZE: Final = re.compile(rb"(?:[0-9A-Fa-f]{1,8}\r?)?\Z")


class TooLarge(Exception):
    """A body beyond the bound."""


class Sized:
    """A body whose length was said."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._data = bytearray()
        # Of the bytes of all bodies, those that are counted as its own.
        self.counted = 0

    @property
    def size(self) -> int:
        """Return how much of it has come."""
        return len(self._data)

    def feed(self, data: bytes) -> bytes | None:
        """Take `data`; return what came after the body once it is whole, else None."""
        self._data += data
        if len(self._data) < self._length:
            return None
        rest = bytes(self._data[self._length :])
        del self._data[self._length :]
        return rest

    def whole(self) -> bytes:
        """Return the body, and keep nothing of it."""
        data, self._data = bytes(self._data), bytearray()
        return data


class Chunked:
    """A body in chunks, of `bytes_max` at most."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._data = bytearray()
        # Of the bytes of all bodies, those that are counted as its own.
        self.counted = 0
        # A size line or a chunk's end that is not whole yet: a dozen bytes at most.
        self._unread = b""
        # Of the chunk that is being read; None before its first line.
        self._left: int | None = None
        self._is_last = False
        self._chunks = 0

    @property
    def size(self) -> int:
        """Return how much of it has come."""
        return len(self._data)

    def feed(self, data: bytes) -> bytes | None:
        """Take `data`; return what came after the body once it is whole, else None.

        Raises:
            Malformed: The chunks are not framed as chunks are.
            TooLarge: The body is beyond its bound.
        """
        unread, at = self._unread + data, 0
        while True:
            before, is_last = at, self._is_last
            at = self._line(unread, at) if self._left is None else self._piece(unread, at)
            if self._left is None and is_last:
                return unread[at:]
            if at == before:
                self._unread = unread[at:]
                return None

    def whole(self) -> bytes:
        """Return the body, and keep nothing of it."""
        data, self._data = bytes(self._data), bytearray()
        return data

    def _line(self, unread: bytes, at: int) -> int:
        """Read the line before a chunk; return where it ends, `at` when it is not whole."""
        line = _SIZE.match(unread, at)
        if line is None:
            if not _PART_OF_SIZE.match(unread, at):
                raise Malformed
            return at
        self._left = int(line[0], 16)
        self._is_last = self._left == 0
        self._chunks += 1
        if len(self._data) + self._left > self._bytes_max or self._chunks > CHUNKS_MAX:
            raise TooLarge
        return line.end()

    def _piece(self, unread: bytes, at: int) -> int:
        """Take what has come of a chunk and of the end of its line; return where that ends."""
        assert self._left is not None
        took = unread[at : at + self._left]
        self._data += took
        self._left -= len(took)
        at += len(took)
        end = unread[at : at + 2]
        if self._left or end in (b"", b"\r"):
            return at
        if end != b"\r\n":
            raise Malformed
        self._left = None
        return at + 2


Body: TypeAlias = Sized | Chunked


def body_of(head: Head, bytes_max: int) -> Body:
    """Return what collects the body of a request."""
    return Chunked(bytes_max) if head.is_chunked else Sized(head.length)
