"""A Call: what was intercepted, unread, with the identity that its credential proves.

Identity stands here and nowhere else: a parser gets the Call and cannot set subject or actors.

Whoever keeps something that callers said, beyond the call, for speed alone and in the hope of an
equal one, says here how it is let go (`remembers`). Nobody needs what is kept so: it is found out
again. When a person is forgotten all of it goes at once, since nobody can tell whose words stand
where; it is not done often.
"""

from collections.abc import Callable
from types import MethodType
from typing import Any, Final
from weakref import WeakMethod

import msgspec

from sidecar.terms.words import CallId

# A JSON value after strict reading. `Any` because JSON is recursive and msgspec checks at the edge.
Json = Any


class Party(msgspec.Struct, frozen=True, omit_defaults=False):
    """A subject or an actor: `type` (user, service, agent, anonymous, …), `id`, `properties`."""

    type: str
    id: str
    properties: dict[str, Json] = {}


class Identity(msgspec.Struct, frozen=True):
    """Who is accountable, who acts, and how that is known.

    Args:
        subject: On whose behalf.
        actors: Nearest first (RFC 8693 §4.1 `act`); empty when nobody acts for the subject.
        verified: How: `key` (workload key), `scram`, `peer` (Unix credentials), `operator` (CLI).
        asserted_by: The workload (PEP) that spoke for somebody else, when it `may_assert`.
    """

    subject: Party
    actors: tuple[Party, ...] = ()
    verified: str = "key"
    asserted_by: str | None = None


class Call(msgspec.Struct, frozen=True):
    """What was intercepted.

    Args:
        id: UUIDv7 text; Request, Decision and decision record share it.
        time: RFC 3339 with six decimals: the one clock that rules see (`context.time`).
        listener: Name of the listener, `cli` for a dry run.
        upstream: Name of what stands behind the listener, `default` when none is named.
        protocol: One of `words.PROTOCOLS`.
        payload: The protocol's `call` object in the promised shape; bodies may be bytes.
        identity: From a verified credential, never from the payload.
        context: Owned keys (`time`, `ip`, `session`, `approval`), asserted ones; `claimed` apart.
        parent: Id of the call that this one was found in.
        depth: 0 for what came over the wire, +1 for each call inside a call.
        is_enforced: Whether its listener forwards it, so that an outcome follows what is permitted;
            a decision that somebody else enforces has none.
    """

    id: CallId
    time: str
    listener: str
    upstream: str
    protocol: str
    payload: dict[str, Json]
    identity: Identity
    context: dict[str, Json] = {}
    parent: CallId | None = None
    depth: int = 0
    is_enforced: bool = False


# By a number that is theirs while they live. A bound method is held weakly.
_forgets: Final[dict[int, Callable[[], Callable[[], object] | None]]] = {}


def remembers(forget: Callable[[], object]) -> None:
    """Have `forget` called whenever a person is forgotten; from any thread.

    A method keeps its object alive no longer than others do.
    """
    if isinstance(forget, MethodType):
        weak = WeakMethod(forget, _let_go)
        _forgets[id(weak)] = weak
    else:
        _forgets[id(forget)] = lambda: forget


def forget_calls() -> None:
    """Forget everything that is remembered of calls in this process."""
    for each in tuple(_forgets.values()):
        forget = each()
        if forget is not None:
            forget()


def _let_go(weak: "WeakMethod[MethodType]") -> None:
    _forgets.pop(id(weak), None)
