"""Runs of one statement, each in one piece: sent, and answered, without a look at its parts.

What a driver does most comes all at once and is answered at once: to bind the unnamed portal of a
statement that it has prepared, to run it to its end and to say Sync; the same with an unnamed
statement parsed before; a Query. Where nothing else is unanswered, and nothing but the answer's
size and tag is of interest, that needs no queue.

INVARIANT: whatever comes that is not exactly this finds the pipeline as if each message had been
taken by itself (`unfold`), and so does an answer that is not exactly theirs.
"""

from collections import deque
from struct import Struct
from typing import Final, NamedTuple

from sidecar.intercept.postgres.protocol import wire
from sidecar.intercept.postgres.protocol.expected import Expected
from sidecar.intercept.postgres.protocol.pipeline import Pipeline
from sidecar.intercept.postgres.protocol.prepared import Statements

_BIND: Final = ord("B")
_PARSE: Final = ord("P")
_QUERY: Final = ord("Q")
_PARSED: Final = wire.message(b"1")
_BOUND: Final = wire.message(b"2")
_READY: Final = wire.message(b"Z", b"?")[:-1]
_STATUSES: Final = {ord("I"): "I", ord("T"): "T"}
_DESCRIPTIONS: Final = frozenset(b"Tn")
_DESCRIPTION: Final = ord("T")
_DATA_ROW: Final = ord("D")
_COMPLETE: Final = ord("C")
_HEAD: Final = Struct("!BI")


class Form(NamedTuple):
    """What a piece consists of.

    Args:
        kinds: Of its messages, in order.
        begin: What its answer begins with.
        is_described: Whether rows, or that there are none, are described in the answer.
    """

    kinds: bytes
    begin: bytes
    is_described: bool


class Piece(NamedTuple):
    """A piece as it came, and what in it is parsed or asked anew."""

    form: Form
    text: bytes


_USE: Final = Form(b"BES", _BOUND, is_described=False)
_SEEN: Final = Form(b"BDES", _BOUND, is_described=True)
_ANEW: Final = Form(b"PBES", _PARSED + _BOUND, is_described=False)
_ANEW_SEEN: Final = Form(b"PBDES", _PARSED + _BOUND, is_described=True)
_ASKED: Final = Form(b"Q", b"", is_described=False)
# What may follow a Bind of the unnamed portal.
_RESTS: Final = {
    wire.execute(0) + wire.SYNC: _USE,
    wire.DESCRIBE_PORTAL + wire.execute(0) + wire.SYNC: _SEEN,
}
_WITH_PARSE: Final = {_USE: _ANEW, _SEEN: _ANEW_SEEN}


class Uses:
    """Those of one connection that are not answered yet."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._waiting: deque[tuple[Statements, Form]] = deque()

    def __len__(self) -> int:
        """Return how many are not answered."""
        return len(self._waiting)

    def unfold(self) -> None:
        """Let the pipeline await the answers of each message."""
        while self._waiting:
            of, form = self._waiting.popleft()
            for kind in form.kinds.decode("ascii"):
                its = () if kind in "DS" else of
                closes = b"P" if kind == "D" else b""
                self._pipeline.sent(Expected(kind.encode(), closes=closes, statements=its))

    def used_by(self, data: bytes) -> tuple[Statements, Form] | None:
        """Return the one statement that `data` is nothing but a use of, None where it is more."""
        # A Bind of the unnamed portal: its name is empty.
        if len(data) < wire.HEADER_BYTES + 2 or data[0] != _BIND or data[wire.HEADER_BYTES]:
            return None
        end = 1 + int.from_bytes(data[1 : wire.HEADER_BYTES], "big")
        form = _RESTS.get(data[end:])
        if form is None:
            return None
        at = data.find(b"\0", wire.HEADER_BYTES + 1, end)
        # Any Bind has more behind its names; without the NUL there is nothing.
        if at < 0 or at + 1 >= end:
            return None
        name = data[wire.HEADER_BYTES + 1 : at]
        if not name and self._is_parsing:
            return None
        found = self._pipeline.plain(name)
        return (found, form) if found else None

    @property
    def _is_parsing(self) -> bool:
        """Return whether the unnamed statement is about to be another."""
        # INVARIANT: where a piece parses, nothing was unanswered when it went (`asked_by`).
        return bool(self._waiting) and self._waiting[0][1].kinds[0] == _PARSE

    def asked_by(self, data: bytes) -> Piece | None:
        """Return the text that `data` does nothing but run, None where it is more."""
        kind = data[0]
        if kind not in (_QUERY, _PARSE) or len(data) < 2 * wire.HEADER_BYTES:
            return None
        if self._waiting or self._pipeline.is_busy:
            return None
        end = 1 + int.from_bytes(data[1 : wire.HEADER_BYTES], "big")
        if kind == _PARSE:
            return _anew(data, end)
        if end != len(data) or data.find(b"\0", wire.HEADER_BYTES) != end - 1:
            return None
        return Piece(_ASKED, data[wire.HEADER_BYTES : -1])

    def sent(self, of: Statements, form: Form) -> None:
        """Note that a piece goes upstream."""
        self._waiting.append((of, form))

    def answered(self, data: bytes) -> int:
        """Take the answers that `data` begins with as far as they are whole; return their size."""
        at = 0
        while self._waiting and at < len(data):
            of, form = self._waiting[0]
            found = _answer(data, at, form)
            if found is None:
                break
            rows_at, tag_at, end = found
            self._waiting.popleft()
            tag = data[tag_at + wire.HEADER_BYTES : end - wire.HEADER_BYTES - 1]
            status = _STATUSES[data[end - 1]]
            self._pipeline.ran(form.kinds, of, tag, tag_at - rows_at, status)
            at = end
        return at


def _anew(data: bytes, end: int) -> Piece | None:
    """Return an unnamed statement's text where it is parsed, bound, run, and nothing else."""
    # Both are unnamed, and so are the Bind's portal and its statement.
    text_end = data.find(b"\0", wire.HEADER_BYTES + 1, end)
    types = end - text_end - 3
    if data[wire.HEADER_BYTES] or text_end < 0 or types < 0 or types % 4:
        return None
    if types != 4 * int.from_bytes(data[text_end + 1 : text_end + 3], "big"):
        return None
    names = end + wire.HEADER_BYTES
    if data[end : end + 1] != b"B" or data[names : names + 2] != b"\0\0":
        return None
    bound = end + 1 + int.from_bytes(data[end + 1 : names], "big")
    form = _RESTS.get(data[bound:])
    if form is None or bound <= names + 2:
        return None
    return Piece(_WITH_PARSE[form], data[wire.HEADER_BYTES + 1 : text_end])


def _answer(data: bytes, at: int, form: Form) -> tuple[int, int, int] | None:
    """Return where rows, tag and end of an answer are; None where it is not whole, or other."""
    # Without a look at its rows where its end is yet to come.
    if data[-6:-1] != _READY or not data.startswith(form.begin, at):
        return None
    at += len(form.begin)
    last = len(data) - wire.HEADER_BYTES
    kind, size = _HEAD.unpack_from(data, at) if at <= last else (0, 0)
    if form.is_described or (form is _ASKED and kind == _DESCRIPTION):
        if kind not in _DESCRIPTIONS or size < 4:
            return None
        at += size + 1
        kind, size = _HEAD.unpack_from(data, at) if at <= last else (0, 0)
    rows_at = at
    while kind == _DATA_ROW and size >= 4:
        at += size + 1
        kind, size = _HEAD.unpack_from(data, at) if at <= last else (0, 0)
    end = at + size + 1 + len(_READY) + 1
    is_whole = kind == _COMPLETE and size >= 4 and end <= len(data)
    if not is_whole or not data.startswith(_READY, end - 6) or data[end - 1] not in _STATUSES:
        return None
    return rows_at, at, end
