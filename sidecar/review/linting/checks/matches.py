"""What a `match` takes: nothing, an `except` of nothing, a call whose list shows it anyway."""

from collections.abc import Iterator, Sequence
from itertools import product

from sidecar.policy.rules import Rule
from sidecar.review.clauses import covers, overlap
from sidecar.review.finding import Finding
from sidecar.review.linting.looked import Looked, Reach, finding_of
from sidecar.review.linting.places import Place, patterns_of
from sidecar.review.linting.reach import meets


def matches_nothing(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each rule whose `match` takes no target."""
    for rule in looked.rules:
        why = _why_nothing(looked.reach(rule))
        if why is not None:
            yield finding_of("no-match", rule, f" matches nothing: {why}")


def _why_nothing(reach: Reach) -> str | None:
    if not reach.classes:
        return "policy and rule name different `classes`"
    for field in ("resources", "actions", "upstreams"):
        if _apart(getattr(reach, field)):
            return f"policy and rule name different `{field}`"
    for patterns in reach.resources:
        left = [each for each in patterns if not _excepted(each, reach.excepted)]
        if not left:
            return "`except` takes away all that `resources` names"
    return None


def _apart(lists: Sequence[tuple[str, ...]]) -> bool:
    """Return whether no text is of a pattern of each list."""
    return len(lists) > 1 and not any(overlap(*pair) for pair in product(*lists))


def _excepted(pattern: str, excepted: tuple[str, ...]) -> bool:
    return any(covers(each, pattern) for each in excepted)


def excepts_nothing(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each exception from what is not taken in the first place."""
    rules: dict[str, list[Rule]] = {}
    for rule in looked.rules:
        rules.setdefault(rule.key, []).append(rule)
        rules.setdefault(rule.policy, []).append(rule)
    for place in patterns_of(looked, "except"):
        if not any(_may_take(looked.reach(rule), place) for rule in rules.get(place.about, ())):
            text = f"`except` of `{place.pattern}`, which `resources` does not take"
            yield place.finding("except-nothing", text)


def _may_take(reach: Reach, place: Place) -> bool:
    return all(any(overlap(one, place.pattern) for one in each) for each in reach.resources)


def list_leaks(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each denial of a call to what a list still shows."""
    if not any("list" in looked.reach(rule).phases for rule in looked.rules):
        return
    listed = [
        rule
        for rule in looked.rules
        if rule.effect == "allow" and "list" in looked.reach(rule).phases
    ]
    unlisted = [
        looked.reach(rule)
        for rule in looked.rules
        if rule.effect == "deny" and "list" in looked.reach(rule).phases
    ]
    for rule in looked.rules:
        reach = looked.reach(rule)
        if rule.effect != "deny" or reach.phases != {"call"} or not reach.resources:
            continue
        leaking = next((one for one in listed if _shows(looked.reach(one), reach)), None)
        hidden = any(meets(each, reach, phases=False) for each in unlisted)
        if leaking is not None and not hidden:
            text = f" denies the call alone: in a list `{leaking.key}` still shows what it denies"
            yield finding_of("list-leaks", rule, text)


def _shows(shown: Reach, denied: Reach) -> bool:
    """Return whether a list rule takes what a denial of calls names; a list has its own class."""
    return bool(shown.resources) and meets(shown, denied, phases=False, classes=False)
