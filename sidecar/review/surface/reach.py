"""What one agent may do to each thing: allowed, on conditions, after an approval, or denied.

The order is the decision's own: deny before defer, step_up and modify, and in each layer an allow
must hold. A rule of which only a condition remains counts for what it might still do: a deny on a
condition leaves "unless", an allow on a condition "when".
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from sidecar.policy.bundle import Bundle
from sidecar.policy.match import Filter
from sidecar.policy.rules import Rule
from sidecar.review.clauses.patterns import covers, overlap
from sidecar.review.surface.partial import Erred, Known, Rest, Truth, cut, rest_of, truth_of
from sidecar.review.surface.things import Thing, literal, things_of
from sidecar.terms.call import Json, Party

_PRIMARY = Rest("it is what the call is about first", frozenset(("targets",)))
Status = Literal["allowed", "conditional", "approval", "denied"]


class Reached(msgspec.Struct, frozen=True):
    """What may be done to one thing.

    Args:
        thing: What.
        status: `conditional`: what is allowed depends on what is in `when` and `unless`.
        when: Conditions under which it is permitted, all of them; CEL as written.
        unless: Conditions under which it is refused, each of them.
        obligations: What is done to it where it is permitted, with a condition where one remains.
        approval: Rules for which somebody has to be asked, with a condition where one remains.
        rules: Those that decide.
        unknown: The paths and facts on which it depends.
    """

    thing: Thing
    status: Status
    when: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    obligations: tuple[str, ...] = ()
    approval: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


class Caller(msgspec.Struct, frozen=True):
    """Who calls, as far as it is known.

    Args:
        subject: On whose behalf; None where that is not known.
        actors: Nearest first.
        is_whole: Whether the properties of these are all that they will have.
    """

    subject: Party | None
    actors: tuple[Party, ...] = ()
    is_whole: bool = True

    @property
    def name(self) -> str:
        """Return who acts."""
        party = self.actors[0] if self.actors else self.subject
        return "somebody" if party is None else f"{party.type}:{party.id}"


def reach(bundle: Bundle, caller: Caller) -> list[Reached]:
    """Return what `caller` may do to everything that there is under `bundle`."""
    return [reached(bundle, thing, caller) for thing in things_of(bundle)]


def reached(bundle: Bundle, thing: Thing, caller: Caller) -> Reached:
    """Return what `caller` may do to one thing."""
    known = known_of(bundle, thing, caller)
    said: dict[str, list[tuple[Rule, Truth]]] = {}
    for rule in bundle.rules:
        truth = _said(rule, thing, known)
        if truth is not False:
            said.setdefault(rule.effect, []).append((rule, truth))
    for effect in ("deny", "defer"):
        sure = [rule.key for rule, truth in said.get(effect, ()) if not isinstance(truth, Rest)]
        if sure:
            return Reached(thing, "denied", rules=tuple(sure))
    return _permitted(bundle, thing, said)


def _permitted(bundle: Bundle, thing: Thing, said: dict[str, list[tuple[Rule, Truth]]]) -> Reached:
    restricting = [*said.get("modify", ()), *said.get("step_up", ())]
    erring = [rule.key for rule, truth in restricting if isinstance(truth, Erred)]
    if erring:
        # It cannot be evaluated, and that denies.
        return Reached(thing, "denied", rules=tuple(erring))
    allows = [(rule, truth) for rule, truth in said.get("allow", ()) if truth != Erred()]
    when: list[Rest] = []
    for layer in bundle.layers:
        its = [truth for rule, truth in allows if rule.layer == layer]
        if not its:
            return Reached(thing, "denied", rules=("(no rule allows it)",))
        if not any(truth is True for truth in its):
            when.append(rest_of([truth for truth in its if isinstance(truth, Rest)], "||"))
    unless = [
        truth
        for effect in ("deny", "defer")
        for _, truth in said.get(effect, ())
        if isinstance(truth, Rest)
    ]
    steps = said.get("step_up", [])
    must_ask = any(truth is True for _, truth in steps)
    # Such a rule refuses too where it cannot be evaluated on a call.
    asked = [truth for _, truth in restricting if isinstance(truth, Rest)]
    open_ = [*when, *unless, *asked]
    status: Status = "approval" if must_ask else "conditional" if open_ else "allowed"
    duties = [(rule, truth) for rule, truth in (*allows, *said.get("modify", ())) if rule.duties]
    rests = [truth for _, truth in duties if isinstance(truth, Rest)]
    return Reached(
        thing,
        status,
        when=tuple(cut(one.text) for one in when),
        unless=tuple(dict.fromkeys(cut(one.text) for one in unless)),
        obligations=tuple(text for rule, truth in duties for text in _duties(rule, truth)),
        approval=tuple(_conditioned(rule.key, truth) for rule, truth in steps),
        rules=tuple(rule.key for rule, _ in allows),
        unknown=tuple(sorted({path for one in (*open_, *rests) for path in one.paths})),
    )


def _duties(rule: Rule, truth: Truth) -> list[str]:
    told = []
    for duty in rule.duties:
        fields = ", ".join(f"{name} {value}" for name, value in duty.fields.items())
        on = f" on {duty.on}" if duty.on else ""
        told.append(
            _conditioned(f"{duty.type.name}{on} ({fields})" if fields else duty.type.name, truth)
        )
    return told


def _conditioned(text: str, truth: Truth) -> str:
    return f"{text} when {cut(truth.text)}" if isinstance(truth, Rest) else text


# --- one rule on one thing ---


def _said(rule: Rule, thing: Thing, known: Known) -> Truth:
    if "call" not in rule.phases:
        return False
    matched = _matched(rule, thing)
    if matched is False:
        return False
    truth = truth_of(rule, known)
    if isinstance(matched, bool) or truth is False:
        return truth
    if isinstance(truth, Erred):
        # An allow that cannot be evaluated is silent, whatever it is asked of.
        return truth if rule.effect == "allow" else matched
    return rest_of([matched, truth], "&&") if isinstance(truth, Rest) else matched


def _matched(rule: Rule, thing: Thing) -> bool | Rest:
    """Return whether `match` of a rule fits a thing; what is left open is said in words."""
    rests: list[Rest] = []
    for one in (rule.policy_filter, rule.filter):
        if not one.fits_bucket(thing.domain, thing.protocol, thing.cls):
            return False
        if rule.call_scope and not rests:
            # Such a rule is asked of the primary target alone.
            rests.append(_PRIMARY)
        for found in _fits(one, thing):
            if found is False:
                return False
            if isinstance(found, Rest):
                rests.append(found)
    return rest_of(rests, "&&") if rests else True


def _fits(one: Filter, thing: Thing) -> list[bool | Rest]:
    written = one.written
    if written is None:
        return []
    found: list[bool | Rest] = []
    if written.resources is not None:
        found.append(_among(written.resources, thing.resource, "the resource"))
    if written.except_ is not None:
        found.append(_negated(_among(written.except_, thing.resource, "the resource")))
    if written.actions is not None:
        found.append(_named(written.actions, thing.action, "the action"))
    if written.upstreams is not None:
        found.append(_named(written.upstreams, thing.upstream, "the upstream"))
    return found


def _among(patterns: Sequence[str], resource: str, what: str) -> bool | Rest:
    if any(covers(pattern, resource) for pattern in patterns):
        return True
    some = [pattern for pattern in patterns if overlap(pattern, resource)]
    if not some:
        return False
    return Rest(f"{what} is like {' or '.join(some)}", frozenset(("resource.id",)))


def _negated(found: Rest | bool) -> Rest | bool:  # noqa: FBT001 - one of three values
    if isinstance(found, bool):
        return not found
    return Rest(found.text.replace(" is like ", " is not like ", 1), found.paths)


def _named(patterns: Sequence[str], name: str | None, what: str) -> bool | Rest:
    if "*" in patterns:
        return True
    if name is None:
        return Rest(f"{what} is {' or '.join(patterns)}", frozenset((what.replace("the ", ""),)))
    return any(covers(pattern, literal(name)) for pattern in patterns)


def known_of(bundle: Bundle, thing: Thing, caller: Caller) -> Known:
    """Return what is known of a call that does this to a thing."""
    kind, _, id_ = thing.resource.replace("\\*", "*").partition(":")
    data: dict[str, Json] = {
        "action": {"class": thing.cls, "name": thing.action or "", "properties": {}},
        "resource": {"type": kind, "id": id_, "labels": list(thing.labels), "properties": {}},
        "request": {"domain": thing.domain, "protocol": thing.protocol, "phase": "call"},
        "params": bundle.params,
    }
    paths = {"action.class", "resource.labels", "request.domain", "request.protocol", "params"}
    paths.add("request.phase")
    if thing.action is not None:
        paths.add("action.name")
    if "*" not in thing.resource.replace("\\*", "").partition(":")[0]:
        paths.add("resource.type")
    if not thing.is_pattern:
        paths.add("resource.id")
    _add_parties(data, paths, caller)
    return Known(data, frozenset(paths), thing.is_open)


def _add_parties(data: dict[str, Json], paths: set[str], caller: Caller) -> None:
    data["actors"] = [msgspec.to_builtins(one) for one in caller.actors]
    data["delegated"] = bool(caller.actors)
    paths.add("delegated")
    acts = caller.actors[0] if caller.actors else caller.subject
    for root, party in (("subject", caller.subject), ("actor", acts)):
        if party is None:
            continue
        data[root] = msgspec.to_builtins(party)
        paths.update((f"{root}.type", f"{root}.id"))
        if caller.is_whole:
            paths.add(root)
        paths.update(f"{root}.properties.{name}" for name in party.properties)
    if caller.is_whole:
        paths.add("actors")
