"""Terraform and OpenTofu plans in JSON: a target for each change that applying would make.

`resource_changes` is the truth, not `planned_values`, which leaves deletions and unknown values
out. A replacement is two targets, a delete and a create: a rule against either must see it.
Provisioners stand only in `configuration`; each change that runs them brings one more target of
class `execute`. What this version does not know of a plan it refuses, for applying a plan takes no
other input.

Source: developer.hashicorp.com/terraform/internals/json-format, format 1.x.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from sidecar.domains.infrastructure.catalogue import InfrastructureCatalogue
from sidecar.domains.infrastructure.limits import MODULE_DEPTH_MAX, PLAN_CHANGES_MAX
from sidecar.domains.infrastructure.parse.payload import check_fields, refuse
from sidecar.domains.infrastructure.parse.plan_values import known, masked
from sidecar.syntax import json
from sidecar.terms.call import Call, Json
from sidecar.terms.request import Action, Parsed, ParseStatus, Resource, Target
from sidecar.terms.words import ActionClass, path_component

PARSER: Final = "tfplan/1"

_KNOWN_KEYS: Final = frozenset((
    "format_version", "terraform_version", "variables", "planned_values", "resource_drift",
    "resource_changes", "output_changes", "prior_state", "configuration", "relevant_attributes",
    "checks", "timestamp", "applyable", "complete", "errored", "deferred_changes",
    "action_invocations", "deferred_action_invocations", "proposed_unknown",
))  # fmt: skip
# Whether anything stands here decides what the apply does, and this parser does not read it.
_UNREAD: Final = ("deferred_changes", "action_invocations", "deferred_action_invocations")
_VERSION: Final = re.compile(r"1\.[0-9]{1,3}\Z")
_TYPE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,254}\Z")
# Severest first, so that the primary target is the one that matters most.
_STEPS: Final[dict[tuple[str, ...], tuple[tuple[str, ActionClass], ...]]] = {
    ("no-op",): (),
    ("create",): (("create", "write"),),
    ("read",): (("read", "read"),),
    ("update",): (("update", "write"),),
    ("delete",): (("delete", "delete"),),
    ("delete", "create"): (("delete", "delete"), ("create", "write")),
    ("create", "delete"): (("delete", "delete"), ("create", "write")),
    ("forget",): (("forget", "write"),),
    ("create", "forget"): (("create", "write"), ("forget", "write")),
    ("forget", "create"): (("create", "write"), ("forget", "write")),
}
_KINDS: Final[dict[tuple[str, ...], str]] = {
    ("delete", "create"): "replace",
    ("create", "delete"): "replace",
}
_PROVISIONERS: Final = "resource.properties.provisioners"
# Its whole purpose is to run a program on the machine that applies.
_RUNS_PROGRAMS: Final = frozenset(("external",))


def parse_terraform(call: Call, catalogue: InfrastructureCatalogue) -> Parsed:
    """Return what applying a `terraform` plan would do."""
    check_fields(call.payload, ("plan",))
    plan = _plan(call.payload)
    changes = _changes(plan)
    provisioners = _provisioners(plan.get("configuration", {}))
    targets: list[Target] = []
    counts: Counter[str] = Counter()
    for change in changes:
        found = _targets(change, provisioners, counts)
        targets.extend(_labelled(target, call, catalogue) for target in found)
    if not targets:
        nothing = Target(Action("no-op", "read"), Resource("tf/plan", "-", call.upstream))
        targets.append(_labelled(nothing, call, catalogue))
    native: dict[str, Json] = {
        "format_version": plan["format_version"],
        "counts": dict(counts),
    }
    told = ("terraform_version", "complete", "errored")
    native.update({key: plan[key] for key in told if key in plan})
    return Parsed(tuple(targets), native, _status(plan))


def _status(plan: dict[str, Json]) -> ParseStatus:
    """Return `partial` for a plan cut down to its changes: what it would run is not known."""
    if "configuration" in plan:
        return ParseStatus("complete", PARSER)
    return ParseStatus("partial", PARSER, missing=(_PROVISIONERS,))


def _plan(payload: dict[str, Json]) -> dict[str, Json]:
    """Return the plan if it is one that may be applied and that is understood whole."""
    plan = payload.get("plan")
    if isinstance(plan, str | bytes):
        plan = json.loads(plan)
    if not isinstance(plan, dict):
        raise refuse("parse.envelope", "`plan` is an object, or its JSON text")
    if set(plan) - _KNOWN_KEYS:
        raise refuse("parse.unexpected", "a plan with a part that is not known")
    version = _field(plan, "format_version", str)
    if not _VERSION.match(version):
        raise refuse("parse.unsupported", "a plan of another format than 1.x")
    # Terraform's state has a JSON form too, of which nothing can be applied. Terraform leaves
    # `resource_changes` out when there is nothing to say, so one of the two makes it a plan.
    if "resource_changes" not in plan:
        _field(plan, "planned_values", dict)
    for name, kind in (("terraform_version", str), ("configuration", dict)):
        if name in plan:
            _field(plan, name, kind)
    _check_flags(plan)
    return plan


def _check_flags(plan: dict[str, Json]) -> None:
    for flag in ("complete", "errored", "applyable"):
        if flag in plan and not isinstance(plan[flag], bool):
            raise refuse("parse.syntax", f"`{flag}` is true or false")
    if plan.get("errored") is True:
        raise refuse("parse.unsupported", "a plan that ended in an error says only a part")
    if plan.get("complete") is False:
        raise refuse("parse.unsupported", "a plan that is not complete says only a part")
    if any(plan.get(key) for key in _UNREAD):
        raise refuse("parse.unsupported", "a plan with deferred changes or with actions")


def _field(holder: dict[str, Json], name: str, kind: type) -> Json:
    if name not in holder:
        raise refuse("parse.missing", f"`{name}` is required")
    if not isinstance(holder[name], kind):
        raise refuse("parse.syntax", f"`{name}` is of another type")
    return holder[name]


def _changes(plan: dict[str, Json]) -> list[dict[str, Json]]:
    """Return `resource_changes`, which Terraform leaves out when there is nothing to say."""
    changes = plan.get("resource_changes", [])
    if not isinstance(changes, list) or not all(isinstance(change, dict) for change in changes):
        raise refuse("parse.syntax", "`resource_changes` is a list of objects")
    if len(changes) > PLAN_CHANGES_MAX:
        raise refuse("parse.too_large", f"more than {PLAN_CHANGES_MAX} changes")
    named = [(change.get("address"), change.get("deposed")) for change in changes]
    if len(set(map(repr, named))) != len(named):
        raise refuse("parse.ambiguous", "two changes of one address")
    return changes


def _targets(
    entry: dict[str, Json], provisioners: dict[tuple[str, str], list[str]], counts: Counter[str]
) -> list[Target]:
    """Return the targets of one change and count it."""
    kind, address = (_field(entry, key, str) for key in ("type", "address"))
    name = _field(entry, "name", str) if "name" in entry else ""
    mode = _field(entry, "mode", str) if "mode" in entry else "managed"
    if mode not in ("managed", "data"):
        raise refuse("parse.unsupported", "a resource of an unknown mode")
    prefix = "data." if mode == "data" else ""
    if not _TYPE.match(kind) or f"{prefix}{kind}.{name}" not in address:
        raise refuse("parse.ambiguous", "an address that is not of its resource's type and name")
    change = _field(entry, "change", dict)
    actions = _actions(change)
    steps = list(_steps(entry, change, actions))
    runs = _runs(actions, mode, provisioners.get((kind, name), []))
    if mode == "data" and kind in _RUNS_PROGRAMS:
        steps = [(step, "execute") for step, _ in steps]
    counts[_KINDS.get(actions, steps[0][0] if steps else "no-op")] += 1
    properties = _properties(entry, change) if steps else {}
    if runs:
        steps.append(("provision", "execute"))
        properties["provisioners"] = runs
    resource = Resource(f"tf/{kind}", path_component(address), properties=properties)
    return [Target(Action(step, cls), resource) for step, cls in steps]


def _actions(change: dict[str, Json]) -> tuple[str, ...]:
    actions = _field(change, "actions", list)
    found = tuple(action if isinstance(action, str) else "" for action in actions)
    if found not in _STEPS:
        raise refuse("parse.unknown_operation", "a change with unknown actions")
    return found


def _steps(
    entry: dict[str, Json], change: dict[str, Json], actions: tuple[str, ...]
) -> Iterator[tuple[str, ActionClass]]:
    """Yield what is done; an import or a move changes the state although nothing else changes."""
    yield from _STEPS[actions]
    if change.get("importing"):
        yield "import", "write"
    if entry.get("previous_address"):
        yield "move", "write"


def _runs(actions: tuple[str, ...], mode: str, types: list[str]) -> list[str]:
    """Return the provisioners that run: when an object is made or destroyed."""
    made = mode == "managed" and bool({"create", "delete"} & set(actions))
    return types if made else []


def _properties(entry: dict[str, Json], change: dict[str, Json]) -> dict[str, Json]:
    found: dict[str, Json] = {
        "provider": entry.get("provider_name", ""),
        "module": entry.get("module_address", ""),
        "mode": entry.get("mode", "managed"),
    }
    some, after, unknown_paths = known(change.get("after"), change.get("after_unknown", True))
    found["unknown_paths"] = unknown_paths
    # Marks that are absent say nothing, so nothing is shown.
    if some and after is not None:
        found["after"] = masked(after, change.get("after_sensitive", True))
    if change.get("before") is not None:
        found["before"] = masked(change["before"], change.get("before_sensitive", True))
    if isinstance(entry.get("action_reason"), str):
        found["reason"] = entry["action_reason"]
    if entry.get("deposed"):
        found["deposed"] = entry["deposed"]
    return found


def _provisioners(configuration: dict[str, Json]) -> dict[tuple[str, str], list[str]]:
    """Return the types of all provisioners by type and name of their resource.

    Modules are folded together on purpose: the same type and name in two modules may then count the
    provisioner of one for the other, which errs to the severer side; an address misread would not.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for resource in _resources(configuration.get("root_module", {}), 0):
        provisioners = resource.get("provisioners", [])
        if not isinstance(provisioners, list):
            raise refuse("parse.syntax", "`provisioners` is a list")
        if provisioners:
            key = (_field(resource, "type", str), _field(resource, "name", str))
            found.setdefault(key, []).extend(map(_provisioner, provisioners))
    return found


def _provisioner(provisioner: Json) -> str:
    if not isinstance(provisioner, dict):
        raise refuse("parse.syntax", "a provisioner is an object")
    return str(_field(provisioner, "type", str))


def _resources(module: Json, depth: int) -> Iterator[dict[str, Json]]:
    if depth > MODULE_DEPTH_MAX:
        raise refuse("parse.too_large", f"modules nested deeper than {MODULE_DEPTH_MAX}")
    resources = module.get("resources", []) if isinstance(module, dict) else None
    calls = module.get("module_calls", {}) if isinstance(module, dict) else None
    if not isinstance(resources, list) or not isinstance(calls, dict):
        raise refuse("parse.syntax", "a module has a list of resources and an object of calls")
    for resource in resources:
        if not isinstance(resource, dict):
            raise refuse("parse.syntax", "a resource of the configuration is an object")
        yield resource
    for called in calls.values():
        if not isinstance(called, dict):
            raise refuse("parse.syntax", "a module call is an object")
        yield from _resources(called.get("module", {}), depth + 1)


def _labelled(target: Target, call: Call, catalogue: InfrastructureCatalogue) -> Target:
    named = target.resource
    resource = Resource(named.type, named.id, call.upstream, named.labels, named.properties)
    labelled = catalogue.resource("terraform", call.upstream, resource)
    return Target(target.action, labelled, target.role)
