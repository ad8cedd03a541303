"""Read the envelope of a Call, as it stands on stdin and in `POST /v1/decide`, and make the Call.

`{"protocol", "subject"?, "actors"?, "context"?, "upstream"?, "call": {…}}`. Only the envelope is
judged here: the `call` object belongs to its protocol's domain, and what that cannot read is a
decided and recorded denial. What this page refuses is not a Call, so nothing is decided: 400 on the
wire, exit 2 on the command line.

Two readers, one page, and `trusted` is the difference. The ask listener's caller is a workload that
may say what its configuration says. The command line's is the operator, at a dry run without a
ledger, who may be anybody at any time and may bring a catalogue along.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from sidecar.facts.identity import (
    OWNED_CONTEXT,
    AssertionRefused,
    Caller,
    asserted_identity,
    party_problem,
)
from sidecar.facts.limits import ACTORS_MAX
from sidecar.intercept.limits import (
    CALLS_ELEMENTS_MAX,
    CALLS_MAX,
    CLAIMED_VALUES_MAX,
    WORD_CHARS_MAX,
)
from sidecar.syntax import json
from sidecar.terms.call import Call, Identity, Json, Party
from sidecar.terms.decision import Decision, decision_json
from sidecar.terms.errors import EnvelopeError
from sidecar.terms.words import CallId

_KEYS: Final = frozenset({"protocol", "subject", "actors", "context", "upstream", "call"})
_PARTY_KEYS: Final = frozenset({"type", "id", "properties"})
# A word that may stand in a record; whether a domain speaks it is decided, and recorded, later.
_WORD: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{WORD_CHARS_MAX - 1}}}\Z")
_BODY_PROTOCOLS: Final = frozenset({"http", "k8s", "aws", "llm"})
# The bundle's own catalogue must not be argued with by the caller whose statement it judges.
_OPERATOR_SQL: Final = ("catalog", "search_path", "session", "drift")
# What an operator may pretend at a dry run; an approval is never pretended.
_PRETENDED: Final = ("ip", "session")
_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)\Z", re.ASCII
)
NOBODY: Final = Party("anonymous", "anonymous")
DEFAULT_UPSTREAM: Final = "default"


class Envelope(msgspec.Struct, frozen=True):
    """What the body says, each part of the right type; who may say it is not judged yet."""

    protocol: str
    call: dict[str, Json]
    subject: Party | None = None
    actors: tuple[Party, ...] | None = None
    context: dict[str, Json] = {}
    upstream: str = DEFAULT_UPSTREAM


class Seen(msgspec.Struct, frozen=True):
    """What the sidecar itself knows of a call: its id, its time, where it came in, from where."""

    id: CallId
    time: str
    listener: str
    ip: str | None = None


def read_envelope(body: Json, *, trusted: bool) -> Envelope:
    """Return the envelope that a strictly read JSON value is.

    Args:
        body: From `sidecar.syntax.json.loads`.
        trusted: The operator's own, from the command line.

    Raises:
        EnvelopeError: Naming the key; never its value.
    """
    if not isinstance(body, dict):
        raise EnvelopeError("an envelope is a JSON object")
    if not body.keys() <= _KEYS:
        unknown = sorted(body.keys() - _KEYS)
        raise EnvelopeError(f"unknown key `{_shown(unknown[0])}`; an envelope has {_listed(_KEYS)}")
    for required in ("protocol", "call"):
        if required not in body:
            raise EnvelopeError(f"`{required}` is missing")
    protocol = _word(body, "protocol")
    call = _payload(protocol, _object(body["call"], "call"), trusted=trusted)
    return Envelope(
        protocol=protocol,
        call=call,
        subject=_stated_subject(protocol, body, call),
        actors=read_actors(body["actors"]) if "actors" in body else None,
        context=_object(body.get("context", {}), "context"),
        upstream=_word(body, "upstream") if "upstream" in body else DEFAULT_UPSTREAM,
    )


def read_calls(body: Mapping[str, Json]) -> list[Envelope]:
    """Return the envelopes of a batch, all of them or none."""
    calls = body["calls"]
    if set(body) != {"calls"}:
        raise EnvelopeError("a batch has the one key `calls`")
    if not isinstance(calls, list):
        raise EnvelopeError("`calls` is not a list")
    if len(calls) > CALLS_MAX:
        raise EnvelopeError(f"`calls` has more than {CALLS_MAX} entries")
    found = []
    for number, one in enumerate(calls):
        try:
            found.append(read_envelope(one, trusted=False))
        except EnvelopeError as error:
            raise EnvelopeError(f"calls[{number}]: {error}") from None
    if sum(_elements(one.call) for one in found) > CALLS_ELEMENTS_MAX:
        elements = CALLS_ELEMENTS_MAX
        raise EnvelopeError(f"the lists in `calls` have more than {elements} entries together")
    return found


def _elements(call: Mapping[str, Json]) -> int:
    """Return how many entries the lists of a call have: each may be judged by itself."""
    return sum(len(value) for value in call.values() if isinstance(value, list))


def asked_call(envelope: Envelope, caller: Caller, seen: Seen) -> Call:
    """Return the Call of a workload's envelope.

    Raises:
        EnvelopeError: It says too much besides the call.
        AssertionRefused: It speaks for somebody for whom it may not.
    """
    claims = _claims(envelope)
    _check_claims(envelope, claims)
    identity = asserted_identity(caller, envelope.subject, envelope.actors)
    may = caller.workload.may_assert
    said = {name: value for name, value in claims.items() if may.key(name)} if claims else {}
    return _call(envelope, identity, seen, said)


def _check_claims(envelope: Envelope, claims: Mapping[str, Json]) -> None:
    parties = (envelope.subject, *(envelope.actors or ()))
    stated = [party.properties for party in parties if party is not None and party.properties]
    if (claims or stated) and json.holds_more([claims, stated], CLAIMED_VALUES_MAX):
        raise EnvelopeError(f"context and properties hold more than {CLAIMED_VALUES_MAX} values")


def operator_call(envelope: Envelope, seen: Seen) -> Call:
    """Return the Call of an operator's envelope: a dry run, as whoever it names, at any time.

    Raises:
        EnvelopeError: `context.time` is no RFC 3339 time.
    """
    told = envelope.context
    if "time" in told:
        seen = msgspec.structs.replace(seen, time=_time(told["time"]))
    claims = _claims(envelope)
    said = {name: value for name, value in claims.items() if name not in OWNED_CONTEXT}
    said |= {name: told[name] for name in _PRETENDED if name in told}
    identity = Identity(envelope.subject or NOBODY, envelope.actors or (), verified="operator")
    return _call(envelope, identity, seen, said)


def _call(envelope: Envelope, identity: Identity, seen: Seen, said: Mapping[str, Json]) -> Call:
    context: dict[str, Json] = {**said, "claimed": _claims(envelope)}
    if seen.ip is not None:
        context["ip"] = seen.ip
    return Call(
        id=seen.id,
        time=seen.time,
        listener=seen.listener,
        upstream=envelope.upstream,
        protocol=envelope.protocol,
        payload=envelope.call,
        identity=identity,
        context=context,
    )


def _claims(envelope: Envelope) -> dict[str, Json]:
    """Return the context that the caller claims; an AuthZEN call may bring its own instead."""
    inner = envelope.call.get("context")
    if envelope.protocol == "authzen" and not envelope.context and isinstance(inner, dict):
        return inner
    return envelope.context


def decided(decision: Decision) -> dict[str, Json]:
    """Return the promised JSON of `decision`, a rewritten body of bytes as `body_base64`."""
    body = decision_json(decision)
    if decision.rewritten is not None and isinstance(decision.rewritten.get("body"), bytes):
        body["rewritten"]["body_base64"] = body["rewritten"].pop("body")
    return body


def read_party(value: Json, at: str) -> Party:
    """Return the party at `at`: `type`, `id` and nothing else but `properties`."""
    stated = _object(value, at)
    if not stated.keys() <= _PARTY_KEYS:
        unknown = sorted(stated.keys() - _PARTY_KEYS)
        raise EnvelopeError(f"unknown key `{at}.{_shown(unknown[0])}`")
    return lenient_party(stated, at)


def lenient_party(stated: Mapping[str, Json], at: str) -> Party:
    """Return the party at `at`, passing over keys that it does not have (AuthZEN says so)."""
    for name in ("type", "id"):
        if name not in stated:
            raise EnvelopeError(f"`{at}.{name}` is missing")
        if not isinstance(stated[name], str):
            raise EnvelopeError(f"`{at}.{name}` is not a string")
    properties = _object(stated.get("properties", {}), f"{at}.properties")
    party = Party(stated["type"], stated["id"], properties)
    problem = party_problem(party)
    if problem:
        raise EnvelopeError(f"`{at}`: {problem}")
    return party


def read_actors(value: Json) -> tuple[Party, ...]:
    """Return the chain of actors, nearest first."""
    if not isinstance(value, list):
        raise EnvelopeError("`actors` is not a list")
    if len(value) > ACTORS_MAX:
        raise EnvelopeError(f"`actors` has more than {ACTORS_MAX} entries")
    return tuple(read_party(actor, f"actors[{number}]") for number, actor in enumerate(value))


def _stated_subject(
    protocol: str, body: Mapping[str, Json], call: Mapping[str, Json]
) -> Party | None:
    """Return whom the envelope names; an AuthZEN call names its subject itself, and only once."""
    stated = read_party(body["subject"], "subject") if "subject" in body else None
    if protocol != "authzen" or "subject" not in call:
        return stated
    inner = lenient_party(_object(call["subject"], "call.subject"), "call.subject")
    if stated is not None and stated != inner:
        raise EnvelopeError("`subject` and `call.subject` name two subjects")
    return inner


def _payload(protocol: str, call: dict[str, Json], *, trusted: bool) -> dict[str, Json]:
    if protocol == "sql" and not trusted:
        for name in _OPERATOR_SQL:
            if name in call:
                raise EnvelopeError(f"`call.{name}` is taken from the command line alone")
    if protocol not in _BODY_PROTOCOLS or "body_base64" not in call:
        return call
    if "body" in call:
        raise EnvelopeError("`call.body` and `call.body_base64` exclude each other")
    rest = {name: value for name, value in call.items() if name != "body_base64"}
    return {**rest, "body": _bytes(call["body_base64"])}


def _bytes(text: Json) -> bytes:
    if not isinstance(text, str):
        raise EnvelopeError("`call.body_base64` is not a string")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise EnvelopeError("`call.body_base64` is not base64") from None


def _object(value: Json, at: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise EnvelopeError(f"`{at}` is not an object")
    return value


def _word(body: Mapping[str, Json], name: str) -> str:
    value = body[name]
    if not isinstance(value, str):
        raise EnvelopeError(f"`{name}` is not a string")
    if not _WORD.match(value):
        raise EnvelopeError(f"`{name}` is not a word of letters, digits, `.`, `_` and `-`")
    return value


def _time(value: Json) -> str:
    """Return an RFC 3339 time in UTC with six decimals, as every record carries it."""
    if not isinstance(value, str) or not _TIME.match(value):
        raise EnvelopeError("`context.time` is not an RFC 3339 time")
    try:
        moment = datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise EnvelopeError("`context.time` is not an RFC 3339 time") from None
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _shown(key: str) -> str:
    """Return a key fit for a message: short, printable, unable to end its backticks."""
    return "".join(char if char.isprintable() and char != "`" else "?" for char in key[:64])


def _listed(words: frozenset[str]) -> str:
    return ", ".join(f"`{word}`" for word in sorted(words))


__all__ = [
    "AssertionRefused",
    "Envelope",
    "Seen",
    "asked_call",
    "decided",
    "lenient_party",
    "operator_call",
    "read_actors",
    "read_envelope",
    "read_party",
]
