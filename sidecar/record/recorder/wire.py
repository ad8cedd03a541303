"""What a worker and the recorder say to each other: a length, then one msgpack array.

```
worker   ─▶ Hello(open, was)  Outline(…)  Write(number, until, items, side, made)  Took(epoch)
            AskHandles   Erase(person)  Refused(decisions)  Dropped  Spent
recorder ─▶ Welcome(…)   Ack(number, error, at)  Synced(number) Revoked(epoch, parties)
            Handles      Forgot      Forget                 State(size, refusing)
```
A `Write` carries what a worker has gathered in one turn of its loop, and is acknowledged as a
whole. Both ends are one descriptor pair that the supervisor made: nobody else can speak here, and
nothing has a name that could be taken.

Of records that are alike but for their id, time and digest, the bytes that they have in common go
over once, as an `Outline` with a number, and after that what differs alone (`stencils/`); where
their texts differ, the digests of these as well.
"""

import struct
from collections.abc import Callable
from typing import ClassVar, Final

import msgspec

from sidecar.record.limits import WIRE_BYTES_MAX
from sidecar.terms.record import Hole

_LENGTH: Final = struct.Struct("<I")


class Item(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One record on its way.

    Args:
        id: The record's own: one that is there already is not written again.
        head: The record's bytes before its place in the log.
        tail: Those behind it.
        opens: Whether an outcome must follow.
        closes: The decision whose outcome this is.
        strict: Whether it has to be durable, whatever the ledger promises for others.
    """

    id: str
    head: bytes
    tail: bytes
    opens: bool = False
    closes: str | None = None
    strict: bool = False

    # Whether no record like it can be obeyed.
    is_plain: ClassVar[bool] = False

    @property
    def head_size(self) -> int:
        """Return how many bytes stand before its place."""
        return len(self.head)

    def placed(self, place: bytes) -> bytes:
        """Return the record in its place."""
        return b"%b%b%b" % (self.head, place, self.tail)


class SideItem(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An object that must be durable before the records of its frame."""

    digest: str
    data: bytes


class Outline(msgspec.Struct, frozen=True, array_like=True, tag="outline"):
    """The stencil that has this number from here on, on this connection.

    Args:
        number: Below `STENCILS_MAX`; what had it before has none any more.
        head: As `terms.record.Stencil` has it.
        tail: As well.
        opens: Whether an outcome must follow each of its records.
        hole: As `Stencil` has it.
    """

    number: int
    head: tuple[bytes, bytes, bytes, bytes, bytes, bytes]
    tail: tuple[bytes, bytes]
    opens: bool
    hole: Hole | None = None


class Made(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Records of one stencil, one behind the other.

    Args:
        at: Before which of the frame's items they stand.
        number: Of their stencil.
        ids: Of all of them, in one piece; so are
        times: these, and
        digests: these, 32 bytes each, and where the stencil has a hole
        texts: those of their texts.
    """

    at: int
    number: int
    ids: bytes
    times: bytes
    digests: bytes
    texts: bytes = b""


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """The first frame of a worker: the decisions whose outcome it still owes.

    Args:
        open: They, and those whose outcomes were acknowledged, may be lost, and come again.
        was: The spools that it had of recorders before: what stands there comes again.
    """

    open: tuple[str, ...] = ()
    was: tuple[str, ...] = ()


class Write(msgspec.Struct, frozen=True, array_like=True, tag="write"):
    """Records to be made durable, all or none.

    Args:
        number: Grows by one with each frame of a worker's life, also over connections.
        until_us: On the machine's monotonic clock: later than this nobody waits any more, and what
            was not written is not written. 0 for what must be written whenever it can be.
        items: Records, whole.
        side: Objects that must be durable before them.
        made: Records by their stencils, between the items.
    """

    number: int
    until_us: int
    items: list[Item]
    side: list[SideItem] = []
    made: list[Made] = []


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    """Decisions that were sent and whose callers were refused: their outcome will not come."""

    decisions: list[str]


class Took(msgspec.Struct, frozen=True, array_like=True, tag="took"):
    """The worker judges by this epoch of the revocations from now on."""

    epoch: int


class AskHandles(msgspec.Struct, frozen=True, array_like=True, tag="ask_handles"):
    """The worker needs handles of persons."""

    number: int
    persons: list[str]


class Erase(msgspec.Struct, frozen=True, array_like=True, tag="erase"):
    """Erase a person; from the supervisor alone."""

    number: int
    person: str


class Dropped(msgspec.Struct, frozen=True, array_like=True, tag="dropped"):
    """No handle is remembered any more, and what was made with them has been sent."""


class Spent(msgspec.Struct, frozen=True, array_like=True, tag="spent"):
    """What stands in the spools of before stands elsewhere by now."""


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag="welcome"):
    """The first frame of the recorder: what is so."""

    size: int
    is_refusing: bool
    epoch: int
    revoked: tuple[str, ...]
    verifier: str
    is_group: bool = False


class Ack(msgspec.Struct, frozen=True, array_like=True, tag="ack"):
    """What came of a frame: durable, or the text that says why not; and when (`group`)."""

    number: int
    error: str | None = None
    at_s: float = 0.0


class Synced(msgspec.Struct, frozen=True, array_like=True, tag="synced"):
    """The frames up to this number, acknowledged before, are durable: none is to be sent again."""

    number: int


class Revoked(msgspec.Struct, frozen=True, array_like=True, tag="revoked"):
    """Who is revoked now; to be answered with `Took`."""

    epoch: int
    parties: tuple[str, ...]


class State(msgspec.Struct, frozen=True, array_like=True, tag="state"):
    """How the ledger is, whenever it has changed."""

    size: int
    is_refusing: bool


class Handles(msgspec.Struct, frozen=True, array_like=True, tag="handles"):
    """The handles that were asked for, durable; or why there are none."""

    number: int
    handles: dict[str, str] = {}
    error: str | None = None


class Forget(msgspec.Struct, frozen=True, array_like=True, tag="forget"):
    """Remember no handles any more; to be answered with `Dropped`."""


class Forgot(msgspec.Struct, frozen=True, array_like=True, tag="forgot"):
    """Whether there was such a person; or why that could not be done."""

    number: int
    was_known: bool = False
    error: str | None = None


FromWorker = Hello | Outline | Write | Refused | Took | AskHandles | Erase | Dropped | Spent
FromRecorder = Welcome | Ack | Synced | Revoked | State | Handles | Forget | Forgot

_encode_into: Final = msgspec.msgpack.Encoder().encode_into
read_worker: Final[Callable[[bytes], FromWorker]] = msgspec.msgpack.Decoder(FromWorker).decode
read_recorder: Final[Callable[[bytes], FromRecorder]] = msgspec.msgpack.Decoder(FromRecorder).decode


class Garbled(Exception):
    """The other side does not speak this language: the connection is of no use any more."""


def frame(said: FromWorker | FromRecorder) -> bytearray:
    """Return one frame."""
    data = bytearray(_LENGTH.size)
    _encode_into(said, data, _LENGTH.size)
    _LENGTH.pack_into(data, 0, len(data) - _LENGTH.size)
    return data


class Frames:
    """Cuts a stream into frames; what has come of one that is not whole is joined once."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._have = 0
        self._need = _LENGTH.size

    def feed(self, data: bytes) -> list[bytes]:
        """Return the bodies that are whole now. Raises Garbled for one that is too long."""
        if not self._have and len(data) >= _LENGTH.size:
            # One frame by itself, which most are.
            (length,) = _LENGTH.unpack_from(data)
            if length + _LENGTH.size == len(data) and length <= WIRE_BYTES_MAX:
                return [data[_LENGTH.size :]]
        self._pieces.append(data)
        self._have += len(data)
        if self._have < self._need:
            return []
        whole = data if len(self._pieces) == 1 else b"".join(self._pieces)
        found: list[bytes] = []
        at, self._need = 0, _LENGTH.size
        while self._have - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(whole, at)
            if length > WIRE_BYTES_MAX:
                raise Garbled(f"a frame of {length} bytes")
            if self._have - at - _LENGTH.size < length:
                self._need = _LENGTH.size + length
                break
            at += _LENGTH.size + length
            found.append(whole[at - length : at])
        self._pieces = [whole[at:]] if at < self._have else []
        self._have -= at
        return found
