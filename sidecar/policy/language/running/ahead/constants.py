"""Parts that are the same in every evaluation: `duration('1h')`, `[1, 2, 3]`, computed when made.

Only what is light in the sense of `cost` is kept: a short text may stand for a long list. A part
that fails stays as it is, and fails where it is reached. The tree itself is not changed.
"""

from sidecar.policy.language.faults import Fault
from sidecar.policy.language.functions import FUNCTIONS
from sidecar.policy.language.running.cost import is_light, is_light_made
from sidecar.policy.language.tree import Call, Constant, ListOf, MapOf, Tree
from sidecar.policy.language.values import Uint, map_key
from sidecar.policy.language.walk import children, nodes


class _Unknown(Exception):
    """A part is not the same in every evaluation, or too large to be kept."""


def constants(tree: Tree) -> dict[int, object]:
    """Return the values of parts that are constant, by the identity of their nodes.

    Literals by themselves are left out.
    """
    found: dict[int, object] = {}
    for node in reversed(list(nodes(tree))):
        if not isinstance(node, Call | ListOf | MapOf):
            continue
        try:
            value = _value(node, [_given(child, found) for child in children(node)])
        except (Fault, _Unknown):
            continue
        if is_light(value) and (is_light_made(value) or not isinstance(node, Call)):
            found[id(node)] = value
    return found


def _given(tree: Tree, found: dict[int, object]) -> object:
    if isinstance(tree, Constant):
        return Uint(tree.value) if tree.kind == "uint" else tree.value  # type: ignore[arg-type]  # an int
    if id(tree) in found:
        return found[id(tree)]
    raise _Unknown


def _value(tree: Call | ListOf | MapOf, below: list[object]) -> object:
    if isinstance(tree, Call):
        is_member = tree.target is not None
        declared = FUNCTIONS.get((tree.function, is_member, len(tree.args)))
        if declared is None:
            raise _Unknown
        return declared.call(*below)
    if tree.optional:
        raise _Unknown
    if isinstance(tree, ListOf):
        return below
    made = {map_key(key): value for key, value in zip(below[::2], below[1::2], strict=True)}
    if len(made) < len(tree.entries):
        raise _Unknown
    return made
