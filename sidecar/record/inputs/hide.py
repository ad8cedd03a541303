"""Hide what is sensitive in a request, and put handles where persons are named.

Nothing is changed in place: what was decided is forwarded afterwards. What needs no change comes
back as the very same object, so that a call without secrets costs a look and no copy.
"""

import re
from collections.abc import Mapping
from typing import Final, TypeAlias

from sidecar.record.inputs.names import MASK, Names
from sidecar.record.inputs.plan import ANY, OWN_CONTEXT, PERSONAL, Plan, Tree, both
from sidecar.record.persons.names import MACHINES, PERSON_RESOURCES
from sidecar.terms.call import Json, Party, remembers
from sidecar.terms.request import Action, Request, Resource, Target

_SECRET_KEY = re.compile(
    r"(authorization|cookie|password|passwd|passphrase|secrets?|token|credentials?|assertion"
    r"|(api|private|access|secret)[-_]?key)\Z",
    re.IGNORECASE,
)
_CONTAINERS: Final = (dict, list, tuple)
# Names are mostly the same few; callers may send others, so what is remembered is bounded.
_NAMES_SEEN_MAX: Final = 4096
_clean: set[str] = set()
_PARTIES_MAX: Final = 1024
_Known: TypeAlias = tuple[Party, Plan | None, str, Names, Party]
_parties: dict[int, _Known] = {}
_EMPTY: Final[Tree] = {}
remembers(_clean.clear)
remembers(_parties.clear)


class Hider:
    """Hides in one request, by one plan.

    Args:
        plan: What is hidden; None hides nothing, not even credentials, and only puts handles.
        names: Of the persons of the call.
    """

    __slots__ = ("hidden", "lost", "names", "plan")

    def __init__(self, plan: Plan | None, names: Names) -> None:
        self.plan = plan
        self.names = names
        # The values that `***` stands for, in the order in which they were hidden.
        self.hidden: list[Json] = []
        # Where credentials were hidden: they are kept in no form, also where a rule reads them.
        self.lost: list[str] = []

    def request(self, request: Request, parts: tuple[Request, ...]) -> Request:
        """Return `request` as it is shown; `parts` are its parts as they are shown."""
        plan = self.plan
        native = subject_tree = actors_tree = action_tree = resource_tree = None
        if plan is not None:
            native, _, subject_tree, actors_tree, action_tree, resource_tree, _ = plan
        actors = request.actors
        if actors:
            actors = tuple([self._party(one, actors_tree, "actors.properties") for one in actors])
        return Request(
            request.id,
            request.time,
            request.listener,
            request.upstream,
            request.domain,
            request.phase,
            request.protocol,
            self._party(request.subject, subject_tree, "subject.properties"),
            actors,
            tuple([self._target(one, action_tree, resource_tree) for one in request.targets]),
            self._context(request.context),
            self._members(request.request, native, "request"),
            request.parse,
            request.combine,
            parts,
            request.at,
            request.parent,
        )

    def _party(self, party: Party, tree: Tree | None, at: str) -> Party:
        if not party.properties and party.type in MACHINES:
            return party
        # A workload's own parties are the same objects with each of its calls.
        known = _parties.get(id(party))
        if known is not None and self._is_so(known, party, at):
            return known[4]
        hidden = len(self.hidden)
        shown = self._shown_party(party, tree, at)
        if len(self.hidden) == hidden:
            if len(_parties) >= _PARTIES_MAX:
                _parties.clear()
            _parties[id(party)] = (party, self.plan, at, self.names, shown)
        return shown

    def _is_so(self, known: _Known, party: Party, at: str) -> bool:
        return (
            known[0] is party
            and known[1] is self.plan
            and known[2] is at
            and known[3] is self.names
        )

    def _shown_party(self, party: Party, tree: Tree | None, at: str) -> Party:
        properties = party.properties
        if party.type in MACHINES:
            return Party(party.type, party.id, self._members(properties, tree, at))
        if properties:
            properties = self._personal(self._members(properties, tree, at), at)
        return Party(party.type, self.names.id_of(party.type, party.id), properties)

    def _personal(self, properties: dict[str, Json], at: str) -> dict[str, Json]:
        """Return a person's properties without those that say who it is."""
        plan = self.plan
        if plan is None or PERSONAL.isdisjoint(properties):
            return properties
        return {
            name: self._stars(value)
            if name in PERSONAL and not plan.is_spared(f"{at}.{name}")
            else value
            for name, value in properties.items()
        }

    def _target(self, target: Target, action_tree: Tree | None, tree: Tree | None) -> Target:
        action, resource = target.action, target.resource
        done, properties, type_, id_ = (
            action.properties, resource.properties, resource.type, resource.id,
        )  # fmt: skip
        if done:
            found = self._members(done, action_tree, "action.properties")
            if found is not done:
                action = Action(action.name, action.cls, found)
        if properties:
            properties = self._members(properties, tree, "resource.properties")
        if type_ in PERSON_RESOURCES or type_ in self.names.types:
            id_ = self.names.key(type_, id_)[len(type_) + 1 :]
        if properties is not resource.properties or id_ is not resource.id:
            resource = Resource(type_, id_, resource.upstream, resource.labels, properties)
        elif action is target.action:
            return target
        return Target(action, resource, target.role)

    def _context(self, context: dict[str, Json]) -> dict[str, Json]:
        plan, shown = self.plan, dict(context)
        if plan is not None and plan.context is not None:
            shown = self._members(shown, plan.context, "context")
        for name, value in context.items():
            if name == "ip":
                shown[name] = self.names.exact.get(value, value)
            elif name in OWN_CONTEXT or (not value and isinstance(value, dict)):
                continue
            elif plan is None or plan.is_spared(f"context.{name}"):
                shown[name] = self._any(value, None, f"context.{name}")
            else:
                shown[name] = self._stars(value)
        return shown

    # --- any value ---

    def _any(self, value: Json, tree: Tree | None, at: str) -> Json:
        """Return `value` as it is shown; `tree` leads on to what is hidden in it."""
        kind = type(value)
        if kind is dict:
            return self._members(value, tree, at)
        if kind is list or kind is tuple:
            # Lists are looked through.
            exact = self.names.exact
            shown = [
                exact.get(member, member)
                if tree is None and type(member) is str
                else self._any(member, tree, at)
                for member in value
            ]
            return value if all(map(_is, shown, value)) else shown
        if tree is not None and value is not None:
            # A scalar where more was expected may well hold the rest.
            self.hidden.append(value)
            return MASK
        return self.names.exact.get(value, value) if kind is str else value

    def _members(self, value: dict[str, Json], tree: Tree | None, at: str) -> dict[str, Json]:
        """Return a mapping as it is shown, the same one where nothing is to be hidden in it."""
        if tree is None:
            tree = _EMPTY
        elif not tree or ANY in tree:
            return self._all_members(value, tree, at)
        shown, exact, hides = value, self.names.exact, self.plan is not None
        for name, member in value.items():
            if name in tree or (hides and name not in _clean and _is_secret(name)):
                found = self._hidden(member, tree.get(name), f"{at}.{name}")
            elif member.__class__ is str:
                found = exact.get(member, member)
            elif member.__class__ in _CONTAINERS and member:
                found = self._any(member, None, f"{at}.{name}")
            else:
                continue
            if found is not member:
                shown = dict(value) if shown is value else shown
                shown[name] = found
        return _renamed(shown, exact) if exact else shown

    def _hidden(self, member: Json, below: Tree | None, at: str) -> Json:
        """Return what stands for a member that a word or its name leads to."""
        if below:
            return self._any(member, below, at)
        found = self._stars(member)
        if below is None and found is not member:
            self.lost.append(at)
        return found

    def _all_members(self, value: dict[str, Json], tree: Tree, at: str) -> dict[str, Json]:
        """Return a mapping of which every member is hidden, or is on the way to what is."""
        if not tree:
            return {name: self._stars(member) for name, member in value.items()} or value
        every = tree[ANY]
        return {
            name: self._hidden(member, both(every, tree.get(name)), f"{at}.{name}")
            for name, member in value.items()
        }

    def _stars(self, value: Json) -> Json:
        kind = type(value)
        if kind is dict:
            return {name: self._stars(member) for name, member in value.items()} if value else value
        if kind is list or kind is tuple:
            return [self._stars(member) for member in value] if value else value
        self.hidden.append(value)
        return MASK


def _renamed(value: dict[str, Json], exact: Mapping[str, str]) -> dict[str, Json]:
    """Return a mapping with handles where its names are those of persons."""
    if exact.keys().isdisjoint(value):
        return value
    return {exact.get(name, name): member for name, member in value.items()}


def _is(one: Json, other: Json) -> bool:
    return one is other


def _is_secret(name: str) -> bool:
    """Return whether a name is a credential's; those that are not are remembered."""
    found = _SECRET_KEY.search(name) is not None
    if not found and len(_clean) < _NAMES_SEEN_MAX:
        _clean.add(name)
    return found
