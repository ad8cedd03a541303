"""What is hidden in the requests of one protocol under one bundle, found out once.

A plan is a tree of names for each root of a request; a leaf hides everything below it. There are
two: `hidden` follows every sensitive word; `withheld` leaves out those that some rule may read.
What is hidden and not withheld is sealed, so that a replay sees what the rules saw.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, Protocol

from sidecar.policy.cel import reads
from sidecar.terms.domain import Domain, Needs

# Names on the way to what is hidden; empty where all below is.
Tree = Mapping[str, "Tree"]
ALL: Final[Tree] = {}
# Any name, on the way or at its end.
ANY: Final = "*"
# What the sidecar alone says in the context; the rest are a caller's words, and may be a prompt.
OWN_CONTEXT: Final = frozenset(("time", "ip", "session"))
# Properties that say who a person is, whatever its id: OpenID Connect Core §5.1, and their kin.
PERSONAL: Final = frozenset(
    (
        "name", "given_name", "family_name", "middle_name", "nickname", "preferred_username",
        "profile", "picture", "website", "email", "mail", "gender", "birthdate", "phone_number",
        "phone", "mobile", "address", "username", "login", "full_name", "first_name", "last_name",
        "display_name", "upn", "ssn", "iban",
    )
)  # fmt: skip
_SPLIT = re.compile(r"\.|\[\*?\]")
# Of these a word may name properties alone: what else they say is what a record is for.
_WITH_PROPERTIES: Final = ("subject", "actors", "actor", "action", "resource")


class Asked(Protocol):
    """What a plan needs to know of a bundle."""

    @property
    def domains(self) -> Mapping[str, Domain]:
        """Return the domain of each protocol."""
        ...

    def needs(self, protocol: str) -> Needs:
        """Return what rules may read of a call of `protocol`."""
        ...


class Plan(NamedTuple):
    """What is hidden below each root, None where nothing is; of parties and targets, properties.

    Args:
        spares: What rules may read, where that is not hidden; None where nothing is spared.
    """

    request: Tree | None
    context: Tree | None
    subject: Tree | None
    actors: Tree | None
    action: Tree | None
    resource: Tree | None
    spares: frozenset[str] | None

    def is_spared(self, path: str) -> bool:
        """Return whether `path` is hidden by nobody because a rule may read it."""
        return self.spares is not None and reads(self.spares, path)


class Plans(NamedTuple):
    """The plans of one protocol under one bundle.

    Args:
        hidden: For what stands in the record.
        withheld: For what is sealed.
        needs: What rules may read.
        seals: Whether any of that may be hidden.
    """

    hidden: Plan
    withheld: Plan
    needs: frozenset[str]
    seals: bool


class Unmaskable(Exception):
    """A sensitive word that cannot be found in a request."""


def plans(bundle: Asked, protocol: str) -> Plans:
    """Return what is hidden of requests of `protocol`, and what is not even sealed.

    Raises:
        Unmaskable: A word names what no request has.
    """
    domain = bundle.domains.get(protocol)
    words = domain.vocabulary.words.get(protocol, ()) if domain is not None else ()
    # What nobody reads is asked about as well, and is a recorded denial.
    needs = _everybody(bundle.needs(protocol).paths) if domain is not None else frozenset()
    paths = [word.path for word in words if word.sensitive]
    withheld = [path for path in paths if not reads(needs, _fixed(path))]
    seals = len(withheld) < len(paths) or any(map(_may_be_hidden, needs))
    return Plans(_plan(paths, None), _plan(withheld, needs), needs, seals)


def _everybody(paths: Iterable[str]) -> frozenset[str]:
    """Return `paths` with those of `actor` said of whoever may be the actor as well."""
    found = set(paths)
    for path in paths:
        root, dot, rest = path.partition(".")
        if root == "actor":
            found.update((f"subject{dot}{rest}", f"actors{dot}{rest}"))
    return frozenset(found)


def _may_be_hidden(path: str) -> bool:
    """Return whether something at `path` is hidden that no word of the protocol speaks of."""
    root, *rest = path.split(".")
    if root == "context":
        return not rest or rest[0] not in OWN_CONTEXT
    if root not in ("subject", "actors"):
        return False
    if not rest:
        return True
    return rest[0] == "properties" and (len(rest) < 2 or rest[1] in PERSONAL)


def _fixed(path: str) -> str:
    """Return `path` up to where it means many things."""
    return re.split(r"\[|\.\*", path, maxsplit=1)[0]


def _plan(paths: Iterable[str], spares: frozenset[str] | None) -> Plan:
    roots: dict[str, Tree | None] = dict.fromkeys(("request", "context", *_WITH_PROPERTIES))
    for path in paths:
        root, steps = _placed(path)
        roots[root] = _with(roots[root], steps)
    # Who acts is the nearest actor, else the subject: what hides of one hides of all of them.
    actor = roots.pop("actor")
    roots["subject"] = both(roots["subject"], actor)
    roots["actors"] = both(roots["actors"], actor)
    return Plan(**roots, spares=spares)


def _placed(path: str) -> tuple[str, tuple[str, ...]]:
    """Return the root of `path` and the steps below what is hidden there."""
    root, *steps = [step for step in _SPLIT.split(path) if step]
    if root == "targets" and steps:
        root, *steps = steps
    if root in ("request", "context"):
        return root, tuple(steps)
    if root in _WITH_PROPERTIES and steps and steps[0] == "properties":
        return root, tuple(steps[1:])
    raise Unmaskable(path)


def _with(tree: Tree | None, steps: tuple[str, ...]) -> Tree:
    """Return `tree` with one more path; who hides all below a name hides what is deeper there."""
    if not steps or (tree is not None and not tree):
        return ALL
    below = {} if tree is None else dict(tree)
    below[steps[0]] = _with(below.get(steps[0]), steps[1:])
    return below


def both(one: Tree | None, other: Tree | None) -> Tree | None:
    """Return a tree that leads to what either leads to."""
    if one is None or other is None:
        return other if one is None else one
    if not one or not other:
        return ALL
    joined = {name: both(one.get(name), other.get(name)) for name in one.keys() | other.keys()}
    return {name: tree for name, tree in joined.items() if tree is not None}
