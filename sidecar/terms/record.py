"""The shapes of records: what a decision and an outcome leave behind (DESIGN §4).

Canonical by construction: ASCII keys, no floats, integers below 2^53, RFC 3339 times with six
decimals. A person stands in them as a handle, `p_` and 22 letters or digits (`record.persons`).
The schema is added to and never changed: every record that was ever written can be read for ever.
"""

from collections.abc import Callable, Collection, Coroutine, Generator, Mapping
from typing import Any, Final, Literal, NamedTuple, NewType, Protocol, Self, TypeAlias, get_args

import msgspec

from sidecar.terms.call import Json
from sidecar.terms.decision import BundleStamp, Obligation, RuleError, RuleSpoke
from sidecar.terms.words import CallId

RecordBytes = NewType("RecordBytes", bytes)

SCHEMA = "sidecar.record/1"


class SideObject(msgspec.Struct, frozen=True):
    """Bytes that a record names by digest and that are made durable before it.

    Args:
        digest: `sha256:<64 hex>` of `data`.
        data: As it stands in the side store.
    """

    digest: str
    data: bytes


class PartyRecord(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A subject or actor as recorded; a person's `id` is a handle."""

    type: str
    id: str


class FactRecord(msgspec.Struct, frozen=True, gc=False):
    """A fact that was used: which, from where, at which revision, how old; the value by digest.

    The digest is HMAC-SHA-256 under the ledger's digest key, for a fact may be guessed.
    """

    function: str
    arguments: tuple[str, ...]
    source: str
    revision: str
    age_ms: int
    digest: str


class InputRecord(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The Request as one JSON text, persons as handles, sensitive values as `***`.

    Args:
        digest: `hmac-sha256:<64 hex>` under the ledger's digest key, so that guesses cannot be
            tried without it; over the masked text (before tokens are taken out) and, where values
            were hidden, a line feed and the canonical list of them in the order hidden. Empty
            where there is no such text.
        form: `masked`: the text says all that rules may have read. `sealed`: what rules may have
            read and masking hides stands in `sealed_object`. `none`: there is no text.
        missing: What is not kept, in no form.
        text: The masked text itself.
        text_object: Digest of the side object that holds it, where it is too large to stand here.
        sealed_object: Digest of the side object that holds the sealed form.
    """

    digest: str
    form: Literal["masked", "sealed", "none"]
    missing: tuple[str, ...]
    text: str | None = None
    text_object: str | None = None
    sealed_object: str | None = None


class TargetRecord(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One target as recorded: what, done how, what came of it; properties are in `input`."""

    action: str
    cls: str = msgspec.field(name="class")
    resource: str
    upstream: str
    outcome: str
    labels: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    at: str | None = None


class DecisionRecord(
    msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="decision"
):
    """Durable before the effect; `effect` is the PDP's, `outcome` what came after enforce.

    `listener_forwarded`: the sidecar itself forwarded it, so an outcome record follows; where
    none could be written the recorder writes one that says `unknown`.
    """

    schema: str
    id: CallId
    time: str
    listener: str
    upstream: str
    domain: str
    protocol: str
    phase: str
    subject: PartyRecord
    actors: list[PartyRecord]
    verified: str
    effect: str
    outcome: str
    reason: str
    policy: BundleStamp
    engine: str
    targets: list[TargetRecord]
    rules: list[RuleSpoke]
    obligations: list[Obligation]
    facts: list[FactRecord]
    errors: list[RuleError]
    input: InputRecord
    asserted_by: str | None = None
    listener_forwarded: bool = False
    message: str | None = None
    parent: CallId | None = None


Result = Literal["forwarded", "blocked", "rewritten", "failed", "advised", "unknown"]
RESULTS: Final[tuple[Result, ...]] = get_args(Result)


class OutcomeRecord(
    msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="outcome"
):
    """What happened upstream, linked by `parent`; `unknown` when a crash came between.

    Args:
        digest: Over HTTP `sha256:<64 hex>` of the body that came back, and where one was sent
            `request=sha256:…;response=sha256:…`. Over PostgreSQL `hmac-sha256:<64 hex>` under the
            ledger's digest key, so that guesses cannot be tried without it, over the SHA-256 of the
            Bind message (type and length included) of each of these uses, 32 bytes each, in the
            order in which they were answered; absent where none had one.
        timings_us: Whole microseconds by stage (`terms.spent.TOLD`), those of less than one left
            out: `parse`, `facts`, `decide` and `enforce` of the decision; `durable`, how long its
            record was waited for; `upstream`, from then on until this was known, or the sum of that
            over `uses`. What the recorder writes (`unknown`) has none.
        uses: How many runs this tells of, where one decision covers several.
    """

    schema: str
    id: CallId
    parent: CallId
    time: str
    result: Result
    upstream_status: str | None = None
    rows: int | None = None
    bytes: int | None = None
    digest: str | None = None
    applied: tuple[Obligation, ...] = ()
    timings_us: dict[str, int] = {}
    uses: int | None = None


class AdminRecord(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="admin"):
    """What an operator or the sidecar did: bundle activated or refused, start, stop, revoke."""

    schema: str
    id: CallId
    time: str
    event: str
    detail: dict[str, Json] = {}


class OpsRecord(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="ops"):
    """What the machine did to us: disk full and free again, torn tail, refusals before identity."""

    schema: str
    id: CallId
    time: str
    event: str
    detail: dict[str, Json] = {}


class ApprovalRecord(
    msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="approval"
):
    """What a human said to a step_up: bound to exactly what was asked, linked by `parent`."""

    schema: str
    id: CallId
    parent: CallId
    time: str
    event: Literal["asked", "approved", "denied", "expired", "spent"]
    binding: str
    approver: PartyRecord | None = None
    method: str | None = None
    rules: tuple[str, ...] = ()
    detail: dict[str, Json] = {}


class GapRecord(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="gap"):
    """Records may be missing here: at most so many, of at most so long before `time`.

    Args:
        reason: Why: `group` (the window of unsynced records was lost), `outage`, …
        records_max: No more than these are missing; absent when that cannot be said.
        before_ms_max: All of them are of this long before the last record that stands before.
    """

    schema: str
    id: CallId
    time: str
    reason: str
    records_max: int | None = None
    before_ms_max: int | None = None
    detail: dict[str, Json] = {}


class Hole(NamedTuple):
    """Where 64 hexadecimal digits stand in one of several pieces: which piece, and from where."""

    piece: int
    begin: int

    def filled(self, pieces: tuple[bytes, ...], digest: bytes) -> tuple[bytes, ...]:
        """Return the pieces with `digest`, in hexadecimal digits, in that place."""
        at, begin = self
        piece = pieces[at]
        said = b"%b%b%b" % (piece[:begin], digest, piece[begin + len(digest) :])
        return (*pieces[:at], said, *pieces[at + 1 :])


def hole_of(pieces: tuple[bytes, ...], digest: bytes) -> Hole:
    """Return where `digest` stands in `pieces`, which it does."""
    at = next(at for at, piece in enumerate(pieces) if digest in piece)
    return Hole(at, pieces[at].index(digest))


class Stencil(msgspec.Struct, frozen=True, eq=False):
    """The bytes that records of equal calls have in common, around those in which they differ.

    Args:
        head: Before the record's place in the log: around id, digest, id, time, time.
        tail: Behind it: around time.
        counted: What is counted of each: its domain, its outcome, the version of its bundle.
        listener_forwarded: Of each.
        hole: Where in `head` the digest of a text stands in which its records differ as well.
    """

    head: tuple[bytes, bytes, bytes, bytes, bytes, bytes]
    tail: tuple[bytes, bytes]
    counted: tuple[str, str, str]
    listener_forwarded: bool = False
    hole: Hole | None = None

    def opened(self, digest: bytes) -> "Stencil":
        """Return that of records of other texts as well, where these say `digest`, once."""
        hole = hole_of(self.head, digest)
        return Stencil(self.head, self.tail, self.counted, self.listener_forwarded, hole)


class MadeRecord(msgspec.Struct, frozen=True, gc=False):
    """The record of a decision as the bytes of its stencil around its own.

    Args:
        id: The call's.
        time: The call's.
        digest: That of its input, the 32 bytes that stand in the record as hex.
        stencil: All else.
        text: The digest of its text, 32 bytes, where the stencil has a hole for it.
    """

    id: CallId
    time: str
    digest: bytes
    stencil: Stencil
    text: bytes = b""

    @property
    def listener_forwarded(self) -> bool:
        """Return whether an outcome follows."""
        return self.stencil.listener_forwarded

    @property
    def head(self) -> bytes:
        """Return its bytes before its place in the log."""
        pieces: tuple[bytes, ...] = self.stencil.head
        if (hole := self.stencil.hole) is not None:
            pieces = hole.filled(pieces, self.text.hex().encode())
        one, two, three, four, five, six = pieces
        id, time, digest = self.id.encode(), self.time.encode(), self.digest.hex().encode()
        return b"".join((one, id, two, digest, three, id, four, time, five, time, six))

    @property
    def tail(self) -> bytes:
        """Return its bytes behind it."""
        return self.time.encode().join(self.stencil.tail)


# What can be read from a log, and what can be written to one.
LoggedRecord = DecisionRecord | OutcomeRecord | AdminRecord | OpsRecord | ApprovalRecord | GapRecord
AnyRecord = LoggedRecord | MadeRecord


class Written(Protocol):
    """A record on its way to the disk; an `asyncio.Future` is one."""

    def __await__(self) -> Generator[Any, None, None]:
        """Wait until it is durable. Raises RecordError."""
        ...

    def add_done_callback(self, told: Callable[[Self], object], /) -> object:
        """Call `told` once it is known what came of it."""
        ...

    def exception(self) -> BaseException | None:
        """Return why it is not durable, None where it is."""
        ...


# Some ledgers do nothing before they are waited for.
Writing: TypeAlias = Written | Coroutine[Any, Any, None]


class Ledger(Protocol):
    """Where records become durable."""

    def write(self, record: AnyRecord, side: tuple[SideObject, ...] = ()) -> Writing:
        """Return what is done when `record` is durable, and the objects it names before it.

        RecordError, raised or awaited, says that it is not; then nothing may be answered.
        """
        ...

    def known_handles(self) -> Mapping[str, str]:
        """Return the handles that are at hand, live: `type:id` → handle."""
        ...

    async def handles(self, persons: Collection[str]) -> Mapping[str, str]:
        """Return the handles of `persons`, durable. Raises RecordError."""
        ...


class Gathers(Protocol):
    """A ledger that takes many records of a turn of the loop at once."""

    def write_all(self, records: list[MadeRecord]) -> Written | None:
        """Return what is done when all of `records` are durable, which are of one stencil.

        None, with nothing done, where they are to be written one by one.
        """
        ...

    def hold(self) -> None:
        """Gather what is written from here on, until `flush`, which has to follow in this turn."""
        ...

    def flush(self) -> None:
        """Send what was written, at once."""
        ...
