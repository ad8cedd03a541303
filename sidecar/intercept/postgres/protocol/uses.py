"""Uses of prepared statements, each in one piece: sent, and answered, without a look at its parts.

What a driver does most is to bind the unnamed portal of a statement that it has prepared, to run it
to its end and to say Sync, all of which comes at once and is answered at once. Where nothing else
is unanswered, and nothing but the answer's size and tag is of interest, that needs no queue.

INVARIANT: whatever comes that is not exactly this finds the pipeline as if each message had been
taken by itself (`unfold`), and so does an answer that is not exactly theirs.
"""

from collections import deque
from struct import Struct
from typing import Final

from sidecar.intercept.postgres.protocol import wire
from sidecar.intercept.postgres.protocol.expected import Expected
from sidecar.intercept.postgres.protocol.pipeline import Pipeline
from sidecar.intercept.postgres.protocol.prepared import Statements

_BIND: Final = ord("B")
# What may follow a Bind of the unnamed portal, and whether rows are described in the answer.
_RESTS: Final = {
    wire.execute(0) + wire.SYNC: False,
    wire.DESCRIBE_PORTAL + wire.execute(0) + wire.SYNC: True,
}
_BOUND: Final = wire.message(b"2")
_READY: Final = wire.message(b"Z", b"?")[:-1]
_STATUSES: Final = {ord("I"): "I", ord("T"): "T"}
_DESCRIPTIONS: Final = frozenset(b"Tn")
_DATA_ROW: Final = ord("D")
_COMPLETE: Final = ord("C")
_HEAD: Final = Struct("!BI")


class Uses:
    """Those of one connection that are not answered yet."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._waiting: deque[tuple[Statements, bool]] = deque()

    def __len__(self) -> int:
        """Return how many are not answered."""
        return len(self._waiting)

    def unfold(self) -> None:
        """Let the pipeline await the answers of each message."""
        while self._waiting:
            of, is_described = self._waiting.popleft()
            self._pipeline.sent(Expected(b"B", statements=of))
            if is_described:
                self._pipeline.sent(Expected(b"D", closes=b"P"))
            self._pipeline.sent(Expected(b"E", statements=of))
            self._pipeline.sent(Expected(b"S"))

    def used_by(self, data: bytes) -> Statements:
        """Return the one statement that `data` is nothing but a use of, empty where it is more."""
        # A Bind of the unnamed portal: its name is empty.
        if len(data) < wire.HEADER_BYTES + 2 or data[0] != _BIND or data[wire.HEADER_BYTES]:
            return ()
        end = 1 + int.from_bytes(data[1 : wire.HEADER_BYTES], "big")
        if data[end:] not in _RESTS:
            return ()
        name, _, rest = data[wire.HEADER_BYTES + 1 : end].partition(b"\0")
        # Any Bind has more behind its names; without the NUL there is nothing.
        return self._pipeline.plain(name) if rest else ()

    def sent(self, of: Statements, data: bytes) -> None:
        """Note that `data`, a use of one statement, goes upstream."""
        end = 1 + int.from_bytes(data[1 : wire.HEADER_BYTES], "big")
        self._waiting.append((of, _RESTS[data[end:]]))

    def answered(self, data: bytes) -> int:
        """Take the answers that `data` begins with as far as they are whole; return their size."""
        at = 0
        while self._waiting and at < len(data):
            found = self._answer(data, at, is_described=self._waiting[0][1])
            if found is None:
                break
            rows_at, tag_at, end = found
            of, _ = self._waiting.popleft()
            tag = data[tag_at + wire.HEADER_BYTES : end - wire.HEADER_BYTES - 1]
            self._pipeline.used(of, tag, tag_at - rows_at, _STATUSES[data[end - 1]])
            at = end
        return at

    def _answer(self, data: bytes, at: int, *, is_described: bool) -> tuple[int, int, int] | None:
        """Return where rows, tag and end of an answer are; None where it is not whole, or other."""
        # Without a look at its rows where its end is yet to come.
        if data[-6:-1] != _READY or not data.startswith(_BOUND, at):
            return None
        at += len(_BOUND)
        last = len(data) - wire.HEADER_BYTES
        kind, size = _HEAD.unpack_from(data, at) if at <= last else (0, 0)
        if is_described:
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
