"""Runs of one statement, each in one piece: sent, and answered, without a look at its parts.

What a driver does most comes all at once and is answered at once: to bind the unnamed portal of a
statement that it has prepared, to run it to its end and to say Sync; the same with an unnamed
statement parsed before; a Query. Where nothing else is unanswered, and nothing but the answer's
size and tag is of interest, that needs no queue.

INVARIANT: whatever comes that is not exactly this finds the pipeline as if each message had been
taken by itself (`unfold`), and so does an answer that is not exactly theirs.
"""

import struct
from collections import deque
from hashlib import sha256
from typing import Final

import msgspec

from sidecar.intercept.postgres.protocol import wire
from sidecar.intercept.postgres.protocol.expected import Expected, Form, Sent
from sidecar.intercept.postgres.protocol.parameters.declared import is_plain
from sidecar.intercept.postgres.protocol.pipeline import Pipeline
from sidecar.intercept.postgres.protocol.prepared import Statements
from sidecar.terms.record import Written

_BIND: Final = ord("B")
_PARSE: Final = ord("P")
_QUERY: Final = ord("Q")
_PARSED: Final = wire.message(b"1")
_BOUND: Final = wire.message(b"2")
_READY: Final = wire.message(b"Z", b"?")[:-1]
_READY_BYTES: Final = len(_READY) + 1
_STATUSES: Final = {ord("I"): "I", ord("T"): "T"}
_READIES: Final = tuple(_READY + bytes((status,)) for status in _STATUSES)
_DESCRIPTIONS: Final = frozenset(b"Tn")
_DESCRIPTION: Final = ord("T")
_DATA_ROW: Final = ord("D")
_COMPLETE: Final = ord("C")
_HEAD: Final = struct.Struct("!BI")


class _Use(msgspec.Struct, frozen=True):
    """What uses of one statement have in common.

    Args:
        form: What they consist of.
        names: How the first message's body begins: with its portal and its statement.
        rest: What follows the first message.
        name: That of the statement.
        bound_at: Where the first message's body goes on behind its names.
    """

    form: Form
    names: bytes
    rest: bytes
    name: bytes
    bound_at: int


class Piece(msgspec.Struct, frozen=True):
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


class Asked(msgspec.Struct, frozen=True):
    """A piece that is decided, and sent as it came once that is on record.

    `handed_s` is when its record was handed over, by the clock of `Runs`.
    """

    data: bytes
    form: Form
    of: Statements
    written: Written
    handed_s: float


class Uses:
    """Those of one connection that are not answered yet."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        # Those that are not answered, in order.
        self.waiting: deque[Sent] = deque()
        # The last one: most are like it.
        self._like: _Use | None = None

    def __len__(self) -> int:
        """Return how many are not answered."""
        return len(self.waiting)

    def unfold(self) -> None:
        """Let the pipeline await the answers of each message."""
        while self.waiting:
            sent = self.waiting.popleft()
            for kind in sent.form.kinds.decode("ascii"):
                its = () if kind in "DS" else sent.of
                closes = b"P" if kind == "D" else b""
                bind = sent.bind if kind == "B" else b""
                expected = Expected(kind.encode(), closes=closes, statements=its, bind=bind)
                expected.sent_s = sent.sent_s
                self._pipeline.sent(expected)

    def used_by(self, data: bytes) -> tuple[Statements, Form] | None:
        """Return the one statement that `data` is nothing but a use of, None where it is more."""
        use = self._like
        end = 0 if use is None else len(data) - len(use.rest)
        # As the last one was, with other values; any Bind has more behind its names.
        if (
            use is None
            or use.bound_at >= end
            or not data.startswith(use.names, wire.HEADER_BYTES)
            or not data.endswith(use.rest)
            or _HEAD.unpack_from(data) != (_BIND, end - 1)
        ):
            use = self._like = _use(data)
            if use is None:
                return None
        if not use.name and self._is_parsing:
            return None
        found = self._pipeline.plain(use.name)
        return (found, use.form) if found else None

    @property
    def _is_parsing(self) -> bool:
        """Return whether the unnamed statement is about to be another."""
        # INVARIANT: where a piece parses, nothing was unanswered when it went (`asked_by`).
        return bool(self.waiting) and self.waiting[0].form.kinds[0] == _PARSE

    def asked_by(self, data: bytes) -> Piece | None:
        """Return the text that `data` does nothing but run, None where it is more."""
        kind = data[0]
        if kind not in (_QUERY, _PARSE) or len(data) < 2 * wire.HEADER_BYTES:
            return None
        if self.waiting or self._pipeline.is_busy:
            return None
        end = 1 + int.from_bytes(data[1 : wire.HEADER_BYTES], "big")
        if kind == _PARSE:
            return _anew(data, end)
        if end != len(data) or data.find(b"\0", wire.HEADER_BYTES) != end - 1:
            return None
        return Piece(_ASKED, data[wire.HEADER_BYTES : -1])

    def sent(self, of: Statements, form: Form) -> float:
        """Note that a piece goes upstream, and return when."""
        sent_s = self._pipeline.runs.clock_s()
        self.waiting.append(Sent(of, form, sent_s))
        return sent_s

    def went(self, data: bytes) -> None:
        """Note which values the last piece has, if it was sent; behind it, for that takes time."""
        if not self.waiting or data[0] == _QUERY:
            return
        at = _end(data, 0) if data[0] == _PARSE else 0
        self.waiting[-1].bind = sha256(data[at : _end(data, at)]).digest()

    def answered(self, data: bytes) -> int:
        """Take the answers that `data` begins with as far as they are whole; return their size."""
        at = 0
        # Without a look at its rows where its end is yet to come.
        while self.waiting and at < len(data) and data.endswith(_READIES):
            sent = self.waiting[0]
            found = _answer(data, at, sent.form)
            if found is None:
                break
            rows_at, tag_at, at = found
            self.waiting.popleft()
            tag = data[tag_at + wire.HEADER_BYTES : at - _READY_BYTES]
            self._pipeline.ran(sent, tag, tag_at - rows_at, _STATUSES[data[at - 1]])
        return at


def _end(data: bytes, at: int) -> int:
    """Return where the message that begins at `at` ends."""
    _, size = _HEAD.unpack_from(data, at)
    return at + 1 + int(size)


def _use(data: bytes) -> _Use | None:
    """Return what `data` is a use of, whether there is such a statement or not."""
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
    names = data[wire.HEADER_BYTES : at + 1]
    return _Use(form, names, data[end:], names[1:-1], at + 1)


def _anew(data: bytes, end: int) -> Piece | None:
    """Return an unnamed statement's text where it is parsed, bound, run, and nothing else."""
    # Both are unnamed, and so are the Bind's portal and its statement.
    text_end = data.find(b"\0", wire.HEADER_BYTES + 1, end)
    types = end - text_end - 3
    if data[wire.HEADER_BYTES] or text_end < 0 or types < 0 or types % 4:
        return None
    if types != 4 * int.from_bytes(data[text_end + 1 : text_end + 3], "big"):
        return None
    if types and not is_plain(data[text_end + 3 : end]):
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
    if not data.startswith(form.begin, at):
        return None
    at += len(form.begin)
    try:
        kind, size = _HEAD.unpack_from(data, at)
        if form.is_described or (form is _ASKED and kind == _DESCRIPTION):
            if kind not in _DESCRIPTIONS or size < 4:
                return None
            at += size + 1
            kind, size = _HEAD.unpack_from(data, at)
        rows_at = at
        while kind == _DATA_ROW and size >= 4:
            at += size + 1
            kind, size = _HEAD.unpack_from(data, at)
    except struct.error:
        # Its end is yet to come.
        return None
    end = at + size + 1 + _READY_BYTES
    # Bounds first: from a negative place on it would be counted from the end.
    is_whole = kind == _COMPLETE and size >= 4 and end <= len(data)
    if not is_whole or not data.startswith(_READIES, end - _READY_BYTES):
        return None
    return rows_at, at, end
