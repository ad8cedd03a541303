"""What `flow.carry` hands to a listener: forward, refuse, or wait for a human."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

import msgspec

from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Approval, Decision, Facts
from sidecar.terms.request import Request
from sidecar.terms.spent import Spent


class ResultFilter(Protocol):
    """Fed the upstream's answer chunk by chunk, sans-I/O; returns what may be released."""

    def feed(self, chunk: bytes) -> bytes:
        """Return what of `chunk` (and of what was held before) may go out."""
        ...

    def finish(self) -> bytes:
        """Return what is left when the upstream's answer has ended."""
        ...


class Forward(msgspec.Struct, frozen=True, tag=True):
    """The decision is durable and permits: send `payload`, the Call's own or the rewritten one.

    `spent` goes on from the decision: what is forwarded tells of it in its outcome.
    """

    call: Call
    request: Request
    decision: Decision
    payload: dict[str, Json]
    spent: Spent
    result: ResultFilter | None = None


class Refuse(msgspec.Struct, frozen=True, tag=True):
    """Denied and recorded. `refusal` is the denial in the protocol's own words."""

    decision: Decision
    refusal: "Refusal"


class Await(msgspec.Struct, frozen=True, tag=True):
    """Permitted only with a human's approval (step_up) or later (defer); recorded as such."""

    decision: Decision
    refusal: "Refusal"
    approval: Approval | None = None


class Refusal(msgspec.Struct, frozen=True):
    """A denial in a protocol's own words.

    Args:
        status: HTTP status; 0 where the protocol has none (PostgreSQL).
        headers: Beside content type and length.
        body: JSON object or text; for SQL `{code, message, detail, hint}`.
    """

    status: int
    body: Json
    headers: dict[str, str] = {}
    content_type: str = "application/problem+json"


Answer: TypeAlias = Forward | Refuse | Await


def durable(answer: Answer) -> Answer:
    """Return `answer`, whose record was waited for and is durable by now."""
    if isinstance(answer, Forward):
        answer.spent.waited()
    return answer


# Who is told of every call that was decided, beside its caller: the call, what it came to, the
# facts that were in hand.
Shadow: TypeAlias = Callable[[Call, Decision, Facts], None]


def unseen(_call: Call, _decision: Decision, _facts: Facts) -> None:
    """Tell nobody."""
