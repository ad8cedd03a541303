"""What of a decision is not as it was recorded."""

from collections.abc import Callable, Iterator

from sidecar.decide.change import group_of
from sidecar.record.inputs.names import MASK
from sidecar.review.replay.recorded import LoggedDecision, Recorded
from sidecar.terms.decision import Decision, Obligation


def came_out_alike(one: LoggedDecision, other: LoggedDecision) -> bool:
    """Return whether what is compared of two records is the same."""
    return (
        one.effect == other.effect
        and one.outcome == other.outcome
        and one.reason == other.reason
        and one.rules == other.rules
        and one.targets == other.targets
        and one.obligations == other.obligations
        and len(one.errors) == len(other.errors)
        and one.input.missing == other.input.missing
    )


def differences(recorded: Recorded, now: Decision, due: list[Obligation]) -> Iterator[str]:
    """Yield what of a decision is not as it was recorded."""
    record = recorded.record
    if record.effect != now.outcome:
        yield "outcome"
    was_refused = group_of(record.effect) != group_of(record.outcome)
    if record.reason != now.reason and not was_refused:
        yield "reason"
    if recorded.is_cut:
        return
    lists: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("rules", lambda: tuple(record.rules) == now.rules),
        ("errors", lambda: was_refused or len(record.errors) == len(now.errors)),
        ("targets", lambda: was_refused or _is_alike(recorded, now)),
        ("obligations", lambda: _is_due_alike(recorded, now, due)),
    )
    yield from (name for name, is_so in lists if not is_so())


def _is_alike(found: Recorded, now: Decision) -> bool:
    was = found.record.targets
    if len(was) != len(now.targets):
        return not now.targets and found.record.reason == "revoked"
    return all(
        (one.outcome, one.rules) == (other.outcome, other.rules)
        for one, other in zip(was, now.targets, strict=True)
    )


def _is_due_alike(found: Recorded, now: Decision, due: list[Obligation]) -> bool:
    """Return whether the same is due; what filled a hole is masked, so its rules must be the same.

    Handles and names: both are as a record has them.
    """
    was = found.record.obligations
    if len(was) != len(due):
        return False
    digests = {f"{rule.policy}/{rule.id}": rule.digest for rule in found.record.rules}
    standing = {f"{rule.policy}/{rule.id}": rule.digest for rule in now.rules}
    for one, other in zip(was, due, strict=True):
        if (one.type, one.target, one.values) != (other.type, other.target, other.values):
            return False
        if MASK in repr(one.values) and any(
            digests.get(rule) != standing.get(rule) for rule in {*one.rules, *other.rules}
        ):
            return False
    return True
