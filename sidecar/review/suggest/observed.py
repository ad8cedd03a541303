"""What was permitted, gathered: who did which class of thing to which resources, how often.

Who acts is told as a policy can tell it: an agent or a service by its id; a person by the groups it
was in, and by its id where it was in none.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from sidecar.decide.change import PERMITTED
from sidecar.record.inputs.names import MASK
from sidecar.record.persons.names import HANDLE, MACHINES
from sidecar.review.replay.recorded import Recorded, understood
from sidecar.terms.call import Json, Party
from sidecar.terms.request import Request, Target, each_request

_SUBJECTS_MAX = 10_000
_EXAMPLES_MAX = 24


class Who(msgspec.Struct, frozen=True):
    """Who acts, as far as a rule tells.

    Args:
        type: Of the actor.
        id: Its id; empty where its groups say who it is.
        groups: Of a person.
        behalf: The subject's type where another acts for it.
    """

    type: str
    id: str
    groups: tuple[str, ...] = ()
    behalf: str | None = None

    @property
    def name(self) -> str:
        """Return it in a few words."""
        return self.id or f"{self.type} of {', '.join(self.groups)}"


class What(msgspec.Struct, frozen=True):
    """What is done, as far as one rule says it."""

    protocol: str
    phase: str
    cls: str
    upstream: str


class Touched(msgspec.Struct):
    """One resource and how often it was touched."""

    type: str
    id: str
    labels: tuple[str, ...]
    count: int = 0
    actions: set[str] = set()
    obligations: Counter[str] = msgspec.field(default_factory=Counter)

    @property
    def key(self) -> str:
        """Return `type:id`."""
        return f"{self.type}:{self.id}"


class Evidence(msgspec.Struct):
    """What somebody did of one kind."""

    resources: dict[str, Touched] = {}
    decisions: int = 0
    subjects: set[str] = set()
    first: str = ""
    last: str = ""


class Observed(msgspec.Struct):
    """All that was observed.

    Args:
        evidence: By who and what.
        examples: Of each of these a few requests by their first resource, for tests.
        parties: Somebody of each kind.
        decisions: Permitted decisions that were read.
        left_out: Why others were not used.
        digest: Of the bundle that decided last.
    """

    evidence: dict[Who, dict[What, Evidence]] = {}
    examples: dict[tuple[Who, What], dict[str, Request]] = {}
    parties: dict[Who, Request] = {}
    decisions: int = 0
    left_out: Counter[str] = msgspec.field(default_factory=Counter)
    digest: str | None = None


def observe(records: Iterable[Recorded]) -> Observed:
    """Return what was permitted in `records`."""
    seen = Observed()
    for found in records:
        record = found.record
        seen.digest = record.policy.digest
        if record.outcome not in PERMITTED:
            seen.left_out["not permitted"] += 1
        elif found.text is None:
            seen.left_out["the input is gone"] += 1
        else:
            _add(seen, found)
    return seen


def _add(seen: Observed, found: Recorded) -> None:
    request = understood(found, by_others=True).request
    who = who_of(request)
    if who is None:
        seen.left_out["nobody knows who it was"] += 1
        return
    targets = [(part, target) for part in each_request(request) for target in part.targets]
    outcomes = [target.outcome for target in found.record.targets]
    if len(targets) != len(outcomes):
        seen.left_out["the record was cut"] += 1
        return
    seen.decisions += 1
    seen.parties.setdefault(who, request)
    due = _due(found)
    met: set[What] = set()
    for (part, target), outcome in zip(targets, outcomes, strict=True):
        if outcome not in PERMITTED:
            continue
        if MASK in target.resource.key or HANDLE.search(target.resource.key):
            seen.left_out["a resource is not named"] += 1
            continue
        what = What(part.protocol, part.phase, target.action.cls, target.resource.upstream)
        evidence = seen.evidence.setdefault(who, {}).setdefault(what, Evidence())
        _touch(evidence, target, due)
        met.add(what)
    for what in met:
        _count(seen, (who, what), request, found.subject)


def _count(seen: Observed, key: tuple[Who, What], request: Request, subject: str) -> None:
    """Count a decision in which something of a kind was permitted; keep it for a test."""
    who, what = key
    evidence = seen.evidence[who][what]
    evidence.decisions += 1
    evidence.first = min(evidence.first or request.time, request.time)
    evidence.last = max(evidence.last, request.time)
    if len(evidence.subjects) < _SUBJECTS_MAX:
        evidence.subjects.add(subject)
    examples = seen.examples.setdefault(key, {})
    if len(examples) < _EXAMPLES_MAX and not request.parts:
        examples.setdefault(request.targets[0].resource.key, request)


def _touch(evidence: Evidence, target: Target, due: dict[str, list[str]]) -> None:
    resource = target.resource
    touched = evidence.resources.get(resource.key)
    if touched is None:
        touched = Touched(resource.type, resource.id, resource.labels)
        evidence.resources[resource.key] = touched
    touched.count += 1
    touched.actions.add(target.action.name)
    touched.labels = tuple(sorted({*touched.labels, *resource.labels}))
    touched.obligations.update(due.get(resource.key, ()))


def _due(found: Recorded) -> dict[str, list[str]]:
    """Return the obligations of a decision by target, each as text that can be counted."""
    due: dict[str, list[str]] = {}
    for one in found.record.obligations:
        said: dict[str, Json] = {"type": one.type, **one.values}
        due.setdefault(one.target, []).append(msgspec.json.encode(said, order="sorted").decode())
    return due


def who_of(request: Request) -> Who | None:
    """Return who acts, None where it is a person whose name is not known and who is in no group."""
    actor = request.actor
    behalf = request.subject.type if request.actors else None
    if actor.type in MACHINES:
        return Who(actor.type, actor.id, (), behalf)
    groups = _groups(actor)
    if groups:
        return Who(actor.type, "", groups, behalf)
    return None if HANDLE.search(actor.id) else Who(actor.type, actor.id, (), behalf)


def _groups(party: Party) -> tuple[str, ...]:
    said = party.properties.get("groups")
    if not isinstance(said, list) or not all(isinstance(one, str) for one in said):
        return ()
    return tuple(sorted({one for one in said if MASK not in one}))
