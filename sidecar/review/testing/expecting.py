"""What a cell expects beside what came: each way in which they differ, as one line."""

from collections.abc import Iterator, Mapping
from typing import Final

from sidecar.decide.target import Judged
from sidecar.policy.bundle import Bundle
from sidecar.review.testing.written import Expected, ObligationDoc
from sidecar.terms.call import Json
from sidecar.terms.decision import Decision, Obligation

_PERMITTED: Final = frozenset({"allow", "modify"})
# So much of a text or of a list is told; the rest is in the policy and in the test.
_SHOWN_MAX: Final = 300


def differences(expected: Expected, decision: Decision, *, is_read: bool = True) -> tuple[str, ...]:
    """Return how a decision differs from what is expected; nothing where it does not.

    Args:
        expected: As written.
        decision: After enforcement.
        is_read: Whether the call could be read. A slip of the pen in a statement is denied as well,
            and would pass wherever a denial is expected, so that one is expected by its reason.
    """
    spoke = {f"{rule.policy}/{rule.id}" for rule in decision.rules}
    told = [
        f"{what}: expected {_shown(want)}, got {_shown(got)}"
        for what, want, got in _pairs(expected, decision, is_read=is_read)
        if want != got
    ]
    told += _obligations(expected, decision)
    told += _rewritten(expected, decision)
    mute = [rule for rule in expected.rules or () if rule not in spoke]
    if mute:
        told.append(
            f"rules: {', '.join(mute)} did not speak; spoke: {', '.join(sorted(spoke)) or 'none'}"
        )
    loud = [rule for rule in expected.silent or () if rule in spoke]
    if loud:
        told.append(f"silent: {', '.join(loud)} spoke")
    return tuple(told)


def _pairs(
    expected: Expected, decision: Decision, *, is_read: bool
) -> Iterator[tuple[str, object, object]]:
    yield "outcome", expected.outcome, decision.outcome
    if expected.reason is not None:
        yield "reason", expected.reason, decision.reason
    elif decision.reason == "parse.envelope":
        yield "reason", "a call of its protocol's shape", decision.reason
    elif not is_read:
        yield "reason", "a call that can be read", decision.reason
    if expected.message is not None:
        yield "message", expected.message, decision.message
    if expected.errors is not None:
        yield "errors", expected.errors, len(decision.errors)


def _obligations(expected: Expected, decision: Decision) -> Iterator[str]:
    """Yield what is not one to one: every obligation is expected, every expectation is met."""
    if expected.obligations is None:
        return
    left = list(decision.obligations)
    lacking = []
    # The most telling first, so that a bare type does not take what a target names.
    for want in sorted(expected.obligations, key=_looseness):
        found = next((one for one in left if _is_met(want, one)), None)
        if found is None:
            lacking.append(want)
        else:
            left.remove(found)
    if lacking or left:
        wanted = [_wanted(one) for one in expected.obligations]
        in_full = not all(isinstance(one, str) for one in expected.obligations)
        got = [_found(one) if in_full else one.type for one in decision.obligations]
        yield f"obligations: expected {_shown(sorted(wanted))}, got {_shown(sorted(got))}"


def _looseness(want: str | ObligationDoc) -> int:
    if isinstance(want, str):
        return 2
    return (want.target is None) + (want.values is None)


def _is_met(want: str | ObligationDoc, found: Obligation) -> bool:
    if isinstance(want, str):
        return want == found.type
    return (
        want.type == found.type
        and want.target in {None, found.target}
        and (want.values is None or _plain(want.values) == _plain(found.values))
    )


def _plain(values: Mapping[str, Json]) -> dict[str, Json]:
    """Return values in one form: lists as they are written, whatever holds them here."""
    return {key: _listed(value) for key, value in values.items()}


def _listed(value: Json) -> Json:
    if isinstance(value, Mapping):
        return _plain(value)
    if isinstance(value, list | tuple):
        return [_listed(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(value)
    return value


def _wanted(want: str | ObligationDoc) -> str:
    if isinstance(want, str):
        return want
    target = "" if want.target is None else f" on {want.target}"
    return f"{want.type}{target}" + ("" if want.values is None else f" {_plain(want.values)}")


def _found(one: Obligation) -> str:
    return f"{one.type} on {one.target} {_plain(one.values)}"


def _rewritten(expected: Expected, decision: Decision) -> Iterator[str]:
    """Yield each field of the forwarded payload that is not the one expected."""
    wanted, got = expected.rewritten, decision.rewritten
    if wanted is None:
        return
    if not wanted:
        if got is not None:
            yield f"rewritten: expected nothing, got {_shown(sorted(got))}"
        return
    if got is None:
        yield f"rewritten: expected {_shown(sorted(wanted))}, got nothing"
        return
    for field, value in wanted.items():
        found = got.get(field)
        if _spaced(value) != _spaced(_listed(found)):
            yield f"rewritten {field}: expected {_shown(value)}, got {_shown(found)}"


def _spaced(value: Json) -> Json:
    """Return a text with every run of white space as one blank: statements are set as one likes."""
    return " ".join(value.split()) if isinstance(value, str) else value


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"


def causes(
    expected: Expected, decision: Decision, judged: list[Judged], bundle: Bundle
) -> tuple[str, ...]:
    """Return where the rules stand that made a cell differ, the likeliest first.

    A rule that was expected to speak and did not; one that spoke and was to be silent; those whose
    effect made the outcome. Where nothing permitted, the rules that would have.
    """
    findings = [finding for one in judged for finding in one.findings]
    spoke = [finding for finding in findings if finding.said != "silent"]
    loud = [f.rule for f in spoke if f.rule.key in (expected.silent or ())]
    heard = {finding.rule.key for finding in spoke}
    wanted = frozenset(expected.rules or ()) - heard
    mute = [rule for rule in bundle.rules if rule.key in wanted]
    effects = _PERMITTED if decision.outcome in _PERMITTED else {decision.outcome}
    made = [f.rule for f in spoke if f.said == "error" or f.rule.effect in effects]
    might = [f.rule for f in findings if f.said == "silent" and f.rule.effect == "allow"]
    blamed = [*mute, *loud, *(made if expected.outcome != decision.outcome else ())]
    if not blamed and decision.outcome == "deny":
        blamed = might
    return tuple(dict.fromkeys(rule.where for rule in blamed or (f.rule for f in spoke)))
