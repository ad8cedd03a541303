"""What the body of a macro weighs: how many steps one element of what it goes over costs.

A step is what an honest condition takes for one element, three comparisons. A body that is heavier
makes the macro pay more, before its first element and whatever its parts then come to, so that the
fast code and the exact agree and no answer depends on where in a list it stands. The units are
measured: 50 ns of the exact evaluator on one machine, for arguments that are free by `cost`; what
is longer pays there. Constants weigh nothing, and a macro inside pays for its own elements.
"""

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Final

from sidecar.policy.language import tree as cel
from sidecar.policy.language.functions import FUNCTIONS
from sidecar.policy.language.running import cost
from sidecar.policy.language.walk import children

# The honest condition weighs 48; half as much again is still one step. Quarters of a step are
# exact in floating point.
_UNITS: Final = 72
_QUARTER: Final = _UNITS // 4
_NODES: Final[dict[type, int]] = {
    cel.Constant: 1,
    cel.Name: 1,
    cel.Select: 3,
    cel.ListOf: 3,
    cel.MapOf: 4,
    cel.MessageOf: 10,
    cel.Bind: 4,
    cel.Fold: 14,
}
_ENTRY: Final = 4
_LOGIC: Final = frozenset({"_&&_", "_||_", "_?_:_", "!_", "orValue", "or"})
_LIGHTEST: Final = 3
_COMPARED: Final = 13
_TYPICAL: Final = 24
_CALLS: Final[dict[str, int]] = {
    **dict.fromkeys(("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"), _COMPARED),
    **dict.fromkeys(("_+_", "_-_"), 26),
    **dict.fromkeys(("_*_", "_/_", "_%_", "@in", "int", "uint", "double"), 20),
    **dict.fromkeys(("url", "isURL"), 84),
    **dict.fromkeys(("timestamp", "ip", "isIP", "cidr", "isCIDR"), 64),
    **dict.fromkeys(("containsIP", "containsCIDR", "getQuery"), 80),
    **dict.fromkeys(("masked", "prefixLength", "family", "isUnspecified", "isLoopback"), 50),
    **dict.fromkeys(("isLinkLocalMulticast", "isLinkLocalUnicast", "isGlobalUnicast"), 50),
    **dict.fromkeys(("duration", "quantity", "isQuantity", "ip.isCanonical"), 40),
    **dict.fromkeys(("matches", "find", "bytes", "base64.encode", "base64.decode"), 60),
    **dict.fromkeys(("regex.extract", "regex.replace", "regex.extractAll", "findAll"), 84),
    **dict.fromkeys(("split", "string", "bool", "lastIndexOf"), 56),
    "strings.quote": 140,
    "glob": 110,
}
# Of the zone that a part of a time is asked in.
_ZONE: Final = 64
# `format` by its text: as written, for each `%`, and where digits may be asked for.
_FORMAT: Final = 60
_VERB: Final = 24
_DIGITS: Final = 300
_DIGITS_ASKED: Final = re.compile(r"%(?:\.[0-9]+)?[ef]")


def weight(fold: cel.Fold, known: Collection[int]) -> float:
    """Return the steps that each element of a macro costs: one, or more in quarters.

    Args:
        fold: The macro.
        known: The nodes that are constant, by identity; see `constants`.
    """
    parts = (fold.body,) if fold.condition is None else (fold.condition, fold.body)
    units = sum(_units(part, known) for part in parts)
    return 1 if units <= _UNITS else -(-units // _QUARTER) / 4


def _units(tree: cel.Tree, known: Collection[int]) -> int:
    total = 0
    rest = [tree]
    while rest:
        node = rest.pop()
        if id(node) in known:
            total += 1
            continue
        total += _node(node)
        if isinstance(node, cel.Fold) and node.kind not in {"optMap", "optFlatMap"}:
            rest.append(node.range)
        else:
            rest += children(node)
    return total


def _node(tree: cel.Tree) -> int:
    if isinstance(tree, cel.Call):
        return _call(tree)
    return _NODES[type(tree)] + (_ENTRY * len(tree.entries) if isinstance(tree, cel.MapOf) else 0)


def _call(tree: cel.Call) -> int:
    if tree.function in _LOGIC:
        return _LIGHTEST
    if tree.function == "format":
        text = tree.target.value if isinstance(tree.target, cel.Constant) else None
        if type(text) is not str:
            return _FORMAT + _DIGITS
        digits = len(_DIGITS_ASKED.findall(text))
        return _FORMAT + text.count("%") * _VERB + digits * _DIGITS
    return _declared(tree.function, tree.target is not None, len(tree.args))


@lru_cache(maxsize=1_024)
def _declared(name: str, is_member: bool, arity: int) -> int:  # noqa: FBT001  # of the key
    function = FUNCTIONS.get((name, is_member, arity))
    if name in _CALLS:
        return _CALLS[name]
    if name.startswith("get") and arity == 1:
        return _ZONE
    if function is not None and cost.is_free(function):
        return _LIGHTEST
    return _TYPICAL
