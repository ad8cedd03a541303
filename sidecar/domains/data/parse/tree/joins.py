"""How the items of FROM stand together, as each of the two readers found it.

Which columns a condition, a USING or a NATURAL can mean hangs on which items it joins, and brackets
that nobody wrote say that: `a JOIN b NATURAL JOIN c USING (x)` is `a JOIN (b NATURAL JOIN c)`. So
each reader tells of every join and of every list of items what stands in it, by the names that they
have in the text, and both must tell the same.

Source: PostgreSQL, src/backend/parser/gram.y, `joined_table`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

from sidecar.terms.call import Json

# What items are called, in order; empty for one without a name.
Names: TypeAlias = tuple[str, ...]

_SIDES: Final = {
    "JOIN_INNER": "", "JOIN_LEFT": "LEFT", "JOIN_RIGHT": "RIGHT", "JOIN_FULL": "FULL",
}  # fmt: skip


class Join(NamedTuple):
    """Two sides that are joined."""

    left: Names
    right: Names
    side: str
    is_natural: bool
    has_condition: bool
    using: Names
    alias: str


class Items(NamedTuple):
    """Items with commas between them, two at least."""

    items: tuple[Names, ...]


Arranged: TypeAlias = Join | Items


def is_same(ours: Iterable[Arranged], theirs: Iterable[Arranged]) -> bool:
    """Return whether both readers found the same joins and lists, each as often."""
    mine, other = tuple(ours), tuple(theirs)
    return mine == other or Counter(mine) == Counter(other)


def arranged_in(node: dict[str, Json]) -> Arranged | None:
    """Return what a node of PostgreSQL's tree arranges; None for one that arranges nothing."""
    if "jointype" in node:
        return Join(
            _names(node.get("larg")),
            _names(node.get("rarg")),
            _SIDES.get(node["jointype"], str(node["jointype"])),
            bool(node.get("isNatural")),
            "quals" in node,
            tuple(name["String"]["sval"] for name in node.get("usingClause", ())),
            _alias(node.get("join_using_alias")),
        )
    listed = node.get("fromClause") or node.get("usingClause") or ()
    return Items(tuple(_names(item) for item in listed)) if len(listed) > 1 else None


def _names(item: Json) -> Names:
    """Return what the parts of an item are called."""
    found: list[str] = []
    waiting: list[Json] = [item]
    while waiting:
        ((kind, node),) = waiting.pop().items()
        if kind == "RangeTableSample":
            waiting.append(node["relation"])
        elif kind == "JoinExpr" and "alias" not in node:
            waiting += [node["rarg"], node["larg"]]
        else:
            named = node.get("relname", "") if kind == "RangeVar" else ""
            found.append(_alias(node.get("alias")) or named)
    return tuple(found)


def _alias(alias: Json) -> str:
    return str(alias["aliasname"]) if isinstance(alias, dict) else ""


def beside(items: Sequence[Names]) -> Names:
    """Return what items are called that stand beside each other."""
    return tuple(name for names in items for name in names)
