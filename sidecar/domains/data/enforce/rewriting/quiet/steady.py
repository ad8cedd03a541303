"""Says whether a rule's own SQL can fail on what a row holds.

A filter that may is fenced as well: where the statement's conditions come first, its failing would
tell which rows they are true of. Who writes rules is not who asks, so that it is enough to look at
the form: comparisons, NULL tests, AND, OR, NOT, IN, BETWEEN and EXISTS, of columns and constants.
"""

from typing import Final

from sidecar.domains.data.enforce.rewriting.quiet.condition import COMPARISONS, TESTS
from sidecar.terms.call import Json

_NODES: Final = """
A_Const Alias BoolExpr Boolean BooleanTest ColumnRef Float Integer List NullTest RangeVar ResTarget
SelectStmt String TypeName
"""
_ALLOWED: Final = frozenset(_NODES.split())
_SUBLINKS: Final = frozenset(("EXISTS_SUBLINK", "ANY_SUBLINK"))


def is_steady(tree: Json) -> bool:
    """Return whether a rule's SQL cannot fail on what a row holds."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            if not all(_is_allowed(*part) for part in node.items() if part[0][:1].isupper()):
                return False
            waiting.extend(node.values())
    return True


def _is_allowed(kind: str, part: dict[str, Json]) -> bool:
    if kind == "A_Expr":
        names = [name["String"]["sval"] for name in part["name"]]
        is_word = part["kind"] in ("AEXPR_BETWEEN", "AEXPR_NOT_BETWEEN")
        if part["kind"] == "AEXPR_LIKE":
            # One that ends in a backslash fails where a text is as long.
            pattern = part["rexpr"].get("A_Const", {}).get("sval", {}).get("sval", "\\")
            return "\\" not in pattern
        return part["kind"] in TESTS and (is_word or names[0] in COMPARISONS)
    if kind == "SubLink":
        # As a value it fails where it has two rows.
        return part["subLinkType"] in _SUBLINKS
    if kind == "TypeCast":
        # It is made before there are rows.
        return "A_Const" in part["arg"]
    return kind in _ALLOWED
