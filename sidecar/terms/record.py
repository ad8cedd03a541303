"""The shapes of records: what a decision and an outcome leave behind (DESIGN §4).

They are plain dicts once made (`record.write`), canonical by construction: ASCII keys, no floats,
integers below 2^53, RFC 3339 times with six decimals.
"""

from typing import Literal, NewType

import msgspec

from sidecar.terms.call import Json
from sidecar.terms.decision import BundleStamp, Obligation, RuleError, RuleSpoke
from sidecar.terms.words import CallId

RecordBytes = NewType("RecordBytes", bytes)

SCHEMA = "sidecar.record/1"


class PartyRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A subject or actor as recorded: type, id, and how it was verified."""

    type: str
    id: str


class FactRecord(msgspec.Struct, frozen=True):
    """A fact that was used: which, from where, at which revision, how old; the value by digest."""

    function: str
    arguments: tuple[str, ...]
    source: str
    revision: str
    age_ms: int
    digest: str


class InputRecord(msgspec.Struct, frozen=True):
    """The Request as one JSON text: its digest, and the masked form itself."""

    digest: str
    form: Literal["masked", "none"]
    missing: tuple[str, ...] = ()
    text: str | None = None


class TargetRecord(msgspec.Struct, frozen=True, omit_defaults=True):
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
    """Durable before the effect; `effect` is the PDP's, `outcome` what came after enforce."""

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
    message: str | None = None
    parent: CallId | None = None
    timings_us: dict[str, int] = {}


class OutcomeRecord(
    msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="outcome"
):
    """What happened upstream, linked by `parent`; `unknown` when a crash came between."""

    schema: str
    id: CallId
    parent: CallId
    time: str
    result: Literal["forwarded", "blocked", "rewritten", "failed", "advised", "unknown"]
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


AnyRecord = DecisionRecord | OutcomeRecord | AdminRecord | OpsRecord
