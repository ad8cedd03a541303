"""Judge one request again and again: what rules see of it is made once, but for the time.

Of a request that is asked again under the same bundle nothing that a rule can read has changed but
`context.time` and the facts. So the rules are asked each time, and of the same words: which of them
hold now says what follows, in the verdict that `judge.py` remembers for them. Whatever else it may
come to (a rule that gives up, a text of its own, a fact that is lacking) is not answered here.

INVARIANT: a verdict is the one that `decide` would come to with the same facts at the same time,
none of them that somebody is revoked.
"""

from typing import Final
from weakref import ReferenceType, ref

from sidecar.decide.judge import bucket_of, candidates_of
from sidecar.decide.target import Verdict
from sidecar.decide.view import View
from sidecar.policy.bundle import Bundle
from sidecar.policy.index.candidates import Candidates
from sidecar.terms.call import Json
from sidecar.terms.decision import Decision, Facts
from sidecar.terms.request import Request, Target

_CONTEXT: Final = "context"
_TIME: Final = (_CONTEXT, "time")
# Rules are asked of each target by itself; of more than these `judge` asks them together.
_TARGETS_MAX: Final = 8
_KNOWN_MAX: Final = 8


class Repeat:
    """One request under one bundle."""

    __slots__ = ("_candidates", "_context", "_seen")

    def __init__(self, candidates: Candidates, seen: dict[str, Json]) -> None:
        # Why weakly: the index says how many sets of rules are kept, not who asks again.
        self._candidates: ReferenceType[Candidates] = ref(candidates)
        self._seen = seen
        # INVARIANT: a copy of its own, and nobody who is asked keeps what was seen.
        self._context: dict[str, Json] | None = None
        if _CONTEXT in seen:
            self._context = seen[_CONTEXT] = dict(seen[_CONTEXT])

    def verdict(self, facts: Facts, time: str) -> Verdict | None:
        """Return what follows of what the rules say now, None where that has to be found out."""
        candidates = self._candidates()
        if candidates is None:
            return None
        if self._context is not None:
            self._context["time"] = time
        held, unsure = candidates.whole.ask(self._seen, facts)
        if unsure:
            return None
        found: Verdict | None = candidates.verdicts.young.get(tuple(held))
        return found

    def verdict_of(self, decision: Decision, facts: Facts, time: str) -> Verdict | None:
        """Return the verdict that `decision` says nothing more than; it was made of the same."""
        found = self.verdict(facts, time)
        says_no_more = (
            found is not None
            and decision.rules is found.spoke
            and (decision.reason, decision.outcome) == (found.why, found.outcome)
            and not decision.obligations
            and not decision.errors
        )
        return found if says_no_more else None


class Repeats:
    """One request of several targets under one bundle; what follows is what follows for each.

    INVARIANT: only of verdicts that permit and ask for nothing, for then a decision is a function
    of them alone.
    """

    __slots__ = ("_each", "_known")

    def __init__(self, each: tuple[Repeat, ...]) -> None:
        self._each = each
        # By what they are: the same of them are one object each time.
        self._known: dict[tuple[int, ...], tuple[Verdict, ...]] = {}

    def verdict(self, facts: Facts, time: str) -> tuple[Verdict, ...] | None:
        """Return what follows of what the rules say now, None where that has to be found out."""
        found: list[Verdict] = []
        for one in self._each:
            verdict = one.verdict(facts, time)
            if verdict is None or not verdict.is_final:
                return None
            found.append(verdict)
        if len(self._known) > _KNOWN_MAX:
            self._known.clear()
        return self._known.setdefault(tuple(map(id, found)), tuple(found))

    def verdict_of(self, decision: Decision, facts: Facts, time: str) -> tuple[Verdict, ...] | None:
        """Return the verdicts that `decision` says nothing more than; it was made of the same."""
        found = self.verdict(facts, time)
        says_no_more = (
            found is not None
            and len(decision.targets) == len(found)
            and all(
                shown.rules is one.keys and shown.outcome == one.outcome
                for shown, one in zip(decision.targets, found, strict=True)
            )
            and decision.permitted
            and not decision.obligations
            and not decision.errors
        )
        return found if says_no_more else None


def repeat_of(request: Request, bundle: Bundle) -> Repeat | Repeats | None:
    """Return how `request` is judged again, None where it is not judged by verdicts alone."""
    parse = request.parse
    if request.parts or not 0 < len(request.targets) <= _TARGETS_MAX:
        return None
    if parse.missing or parse.ambiguities:
        return None
    first = request.targets[0]
    each = [_repeat(request, bundle, one, is_primary=one is first) for one in request.targets]
    known = tuple(one for one in each if one is not None)
    if len(known) < len(each):
        return None
    return known[0] if len(known) == 1 else Repeats(known)


def _repeat(request: Request, bundle: Bundle, target: Target, *, is_primary: bool) -> Repeat | None:
    view = View(request, request, bundle)
    choice = bucket_of(request, bundle, target).choice
    if choice is not None and choice.looks_at(_TIME):
        # Which rules are asked is another question each time.
        return None
    candidates, seen = candidates_of(view, target, is_primary=is_primary)
    return Repeat(candidates, view.add(seen, candidates.whole.roots, target))
