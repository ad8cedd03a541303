"""AuthZEN 1.0: evaluation, evaluations with their three semantics, and the discovery document.

Sans-I/O but for the path itself, which comes in as `Judge`: an evaluation is one Call of protocol
`authzen`, carried, decided and recorded by itself, so n evaluations are n records.

- The subject of an evaluation is a claim of the caller, held to its `may_assert` like any other.
- `context` is a claim as well: it stands under `context.claimed`, and under `context.<key>` only
  for keys that the caller may say. `request.authzen.context` has it as it came.
- Unknown fields are passed over, as the specification asks; a field of the wrong type is not.
- An entry of a batch overrides a default whole, never field by field.
- An entry that cannot be read is a false with `context.error`, as nothing was there to decide.

Source: https://openid.net/specs/authorization-api-1_0.html §6 to §9.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, Literal, TypeAlias, TypeVar, get_args

import msgspec

from sidecar.intercept.envelope import AssertionRefused, Envelope, lenient_party
from sidecar.intercept.limits import ASK_BODY_BYTES_MAX, EVALUATIONS_MAX
from sidecar.syntax import json
from sidecar.terms.call import Json
from sidecar.terms.decision import Decision, decided_by, decision_json
from sidecar.terms.errors import EnvelopeError, RecordError

T = TypeVar("T")
# Others are served between two runs of so many calls of one batch, or of so long: calls differ.
RUN: Final = 16
RUN_S_MAX: Final = 0.002
Semantic = Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"]
# Begins to carry one envelope of the caller down the path. Raises AssertionRefused; what is awaited
# raises RecordError.
Judge: TypeAlias = Callable[[Envelope], Awaitable[Decision]]

EVALUATION_PATH: Final = "/access/v1/evaluation"
EVALUATIONS_PATH: Final = "/access/v1/evaluations"
SEARCH_PATHS: Final = (
    "/access/v1/search/subject",
    "/access/v1/search/resource",
    "/access/v1/search/action",
)
DISCOVERY_PATH: Final = "/.well-known/authzen-configuration"
CAPABILITIES: Final = (
    "urn:ietf:params:authzen:capability:evaluations-semantic",
    "urn:ietf:params:authzen:capability:decision-context-reasons",
)
_PARTS: Final = ("subject", "action", "resource", "context")
# Of a rule that spoke; `status` stands only where it did not simply hold: `error`, `satisfied`.
_SPOKE: Final = ("policy", "id", "effect", "status")
_REQUIRED: Final = {"subject": ("type", "id"), "action": ("name",), "resource": ("type", "id")}


class Batch(msgspec.Struct, frozen=True):
    """The entries of an evaluations request, defaults filled in, not yet read one by one."""

    entries: tuple[Json, ...]
    semantic: Semantic

    @property
    def at_a_time(self) -> int:
        """Return how many of them are under way at a time."""
        return len(self.entries) if self.semantic == "execute_all" else 1


class _Options(msgspec.Struct, frozen=True):
    evaluations_semantic: Semantic = "execute_all"


def read_evaluation(body: Json) -> Envelope:
    """Return the envelope of one evaluation.

    Raises:
        EnvelopeError: A required field is missing or of the wrong type.

    Source: AuthZEN 1.0 §6.1.
    """
    if not isinstance(body, dict):
        raise EnvelopeError("an evaluation is a JSON object")
    payload = {part: body[part] for part in _PARTS if body.get(part) is not None}
    for part, fields in _REQUIRED.items():
        _check_part(payload, part, fields)
    context = payload.setdefault("context", {})
    if not isinstance(context, dict):
        raise EnvelopeError("`context` is not an object")
    subject = lenient_party(payload["subject"], "subject")
    return Envelope(protocol="authzen", call=payload, subject=subject, context=context)


def _check_part(payload: dict[str, Json], part: str, fields: tuple[str, ...]) -> None:
    """Hold one part to its shape; an optional `properties` of null is taken as left out."""
    if part not in payload:
        raise EnvelopeError(f"`{part}` is missing")
    value = payload[part]
    if not isinstance(value, dict):
        raise EnvelopeError(f"`{part}` is not an object")
    for name in fields:
        if name not in value:
            raise EnvelopeError(f"`{part}.{name}` is missing")
        if not isinstance(value[name], str) or not value[name]:
            raise EnvelopeError(f"`{part}.{name}` is not a string of one character or more")
    properties = value.get("properties", {})
    if properties is None:
        payload[part] = {name: told for name, told in value.items() if name != "properties"}
    elif not isinstance(properties, dict):
        raise EnvelopeError(f"`{part}.properties` is not an object")


def read_evaluations(body: Json) -> Batch | Envelope:
    """Return the batch, or the one evaluation that a request without entries is.

    Raises:
        EnvelopeError: It is neither.

    Source: AuthZEN 1.0 §7.1: without `evaluations`, or with none, it is a single evaluation.
    """
    if not isinstance(body, dict):
        raise EnvelopeError("an evaluations request is a JSON object")
    stated = body.get("evaluations")
    if stated is None or stated == []:
        return read_evaluation(body)
    if not isinstance(stated, list):
        raise EnvelopeError("`evaluations` is not a list")
    if len(stated) > EVALUATIONS_MAX:
        raise EnvelopeError(f"`evaluations` has more than {EVALUATIONS_MAX} entries")
    semantic = _semantic(body.get("options"))
    defaults = {part: body[part] for part in _PARTS if part in body}
    # Each entry is judged and recorded with them: 8 MB said once would be read 500 times.
    if len(json.canonical(defaults)) * len(stated) > ASK_BODY_BYTES_MAX:
        raise EnvelopeError("the defaults of `evaluations` are too large for so many entries")
    return Batch(tuple(_entry(defaults, entry) for entry in stated), semantic)


def _entry(defaults: Mapping[str, Json], entry: Json) -> Json:
    return {**defaults, **entry} if isinstance(entry, dict) else entry


def _semantic(options: Json) -> Semantic:
    if options is None:
        return "execute_all"
    if not isinstance(options, dict):
        raise EnvelopeError("`options` is not an object")
    try:
        return msgspec.convert(options, _Options).evaluations_semantic
    except msgspec.ValidationError:
        known = ", ".join(get_args(Semantic))
        raise EnvelopeError(f"`options.evaluations_semantic` is none of {known}") from None


async def evaluate_all(batch: Batch, judge: Judge) -> dict[str, Json]:
    """Return the answers to a batch, in its order; a short circuit gives fewer.

    Raises:
        RecordError: One of them could not be recorded; then none is answered.
    """
    if batch.semantic == "execute_all":
        return {"evaluations": await _evaluate_each(batch.entries, judge)}
    last = batch.semantic == "permit_on_first_permit"
    answers = []
    for entry in batch.entries:
        answers += await _evaluate_each((entry,), judge)
        if answers[-1]["decision"] is last:
            break
    return {"evaluations": answers}


async def _evaluate_each(entries: Sequence[Json], judge: Judge) -> list[dict[str, Json]]:
    """Return the answers to `entries`, all begun before one is waited for.

    Why together: their records share one durable wait.
    """
    begun: list[Awaitable[Decision] | dict[str, Json]] = []
    turns = Turns()
    for entry in entries:
        begun.append(_begin(entry, judge))
        await turns.next()
    decisions = iter(await every(one for one in begun if not isinstance(one, dict)))
    return [one if isinstance(one, dict) else evaluation_json(next(decisions)) for one in begun]


def _begin(entry: Json, judge: Judge) -> Awaitable[Decision] | dict[str, Json]:
    try:
        return judge(read_evaluation(entry))
    except AssertionRefused as error:
        return _unread(403, error)
    except EnvelopeError as error:
        return _unread(400, error)


class Turns:
    """Lets others be served between the calls of a batch."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._count = 0
        self._until_s = clock_s() + RUN_S_MAX

    async def next(self) -> None:
        """Return when it is the batch's turn again, after each of its calls."""
        self._count += 1
        if self._count % RUN == 0 or self._clock_s() >= self._until_s:
            await asyncio.sleep(0)
            self._until_s = self._clock_s() + RUN_S_MAX


async def every(answers: Iterable[Awaitable[T]]) -> list[T]:
    """Return what all of `answers` come to, in order; the first failure once all have ended.

    Why not earlier: what was begun is recorded whether or not it is answered, and nothing is left
    running behind a caller that has its refusal.

    Args:
        answers: All of them under way.
    """
    found: list[T] = []
    failed: RecordError | None = None
    for one in answers:
        try:
            found.append(await one)
        except RecordError as error:
            failed = failed or error
    if failed is not None:
        raise failed
    return found


def _unread(status: int, error: EnvelopeError) -> dict[str, Json]:
    return {
        "decision": False,
        "context": {"error": {"status": status, "message": str(error)}},
    }


def evaluation_json(decision: Decision) -> dict[str, Json]:
    """Return `decision` in AuthZEN's shape, with what an auditor needs to find its record.

    A permit with something to carry out beside it is no permit to a caller that knows only
    `decision`, so it is answered false: AuthZEN 1.0 has no obligations.
    """
    told = decision_json(decision)
    is_plain = not decision.obligations and decision.rewritten is None
    context: dict[str, Json] = {
        "id": told["id"],
        "outcome": told["outcome"],
        "reason": told["reason"],
        "policy": told["policy"],
        "rules": [{name: rule[name] for name in _SPOKE if name in rule} for rule in told["rules"]],
    }
    if decision.approval is not None:
        context["approval"] = told["approval"]
    if decision.obligations:
        context["obligations"] = told["obligations"]
    if not decision.permitted:
        context["reason_admin"] = {"403": _why(decision)}
        context["reason_user"] = {"403": decision.message or "access is denied by policy"}
    return {"decision": decision.permitted and is_plain, "context": context}


def _why(decision: Decision) -> str:
    names = ", ".join(decided_by(decision.outcome, decision.rules))
    return f"{decision.reason}: {names}" if names else str(decision.reason)


def discovery(base: str) -> dict[str, Json]:
    """Return the metadata of the decision point at `base`, naming only what it does.

    Source: AuthZEN 1.0 §9.1; search endpoints are left out until they answer.
    """
    return {
        "policy_decision_point": base,
        "access_evaluation_endpoint": base + EVALUATION_PATH,
        "access_evaluations_endpoint": base + EVALUATIONS_PATH,
        "capabilities": list(CAPABILITIES),
    }
