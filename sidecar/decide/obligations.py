"""Which obligations are due, and how several of one type on one resource become one.

All obligations of all allow and modify rules that hold are due; nothing lifts one. Combination is
declared per type by the domain (DESIGN §2): filters AND, limits min, group sizes max, redactions
union, masks strictest; anything else that differs is `obligation.conflict`.
"""

from collections.abc import Iterable

import msgspec

from sidecar.syntax import json
from sidecar.terms.call import Json
from sidecar.terms.decision import Obligation
from sidecar.terms.domain import ObligationType


class Conflict(Exception):
    """Two obligations of one type on one resource that cannot be combined."""


class Due(msgspec.Struct, frozen=True):
    """One obligation of one rule, filled, on one resource."""

    type: ObligationType
    target: str
    values: dict[str, Json]
    rule: str


def combined(due: Iterable[Due]) -> tuple[Obligation, ...]:
    """Return the obligations due, one per (type, resource), in the order first asked for.

    Raises:
        Conflict: Naming the type and the resource.
    """
    groups: dict[tuple[str, str], list[Due]] = {}
    for one in due:
        groups.setdefault((one.type.name, one.target), []).append(one)
    return tuple(_one(group) for group in groups.values())


def _one(group: list[Due]) -> Obligation:
    kind = group[0].type
    rules = tuple(dict.fromkeys(one.rule for one in group))
    different = list({json.canonical(one.values): one.values for one in group}.values())
    # A copy: what a rule asks for is remembered, and a decision is its receiver's.
    values = (
        dict(different[0])
        if len(different) == 1 and kind.combine != "and"
        else _joined(kind, group, different)
    )
    return Obligation(kind.name, group[0].target, values, rules)


def _joined(
    kind: ObligationType, group: list[Due], different: list[dict[str, Json]]
) -> dict[str, Json]:
    given = [values.get(kind.field) for values in different]
    rest = {json.canonical({k: v for k, v in d.items() if k != kind.field}) for d in different}
    if kind.combine == "and":
        # Filters are kept apart and all apply: joining conditions as text is not ours to do.
        return {**different[0], kind.field: given}
    if len(rest) != 1 or any(value is None for value in given):
        raise Conflict(_told(group))
    if kind.combine in ("min", "max"):
        numbers = [v for v in given if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) != len(given):
            raise Conflict(_told(group))
        chosen = min(numbers) if kind.combine == "min" else max(numbers)
        return {**different[0], kind.field: chosen}
    if kind.combine == "union" and all(isinstance(value, list) for value in given):
        return {
            **different[0],
            kind.field: sorted({str(v) for value in given for v in value or ()}),
        }
    if kind.combine == "strictest" and all(value in kind.order for value in given):
        return {**different[0], kind.field: min(given, key=kind.order.index)}
    raise Conflict(_told(group))


def _told(group: list[Due]) -> str:
    rules = ", ".join(dict.fromkeys(one.rule for one in group))
    return f"`{group[0].type.name}` on {group[0].target} asked for differently by {rules}"
