"""What cel-python's language lacks: there an error of its own says nothing about ours.

What its grammar cannot read is no question at all (`engine`). Here are the functions, macros and
forms that it reads and then does not know, and data that it could not be given.
"""

from typing import Final

from celpy.evaluation import base_functions

from sidecar.policy.language.tree import Bind, Call, Fold, Name, Select, Tree
from sidecar.policy.language.walk import nodes
from sidecar.review.second.branches import Branch
from sidecar.review.second.engine import is_given

# Operators under our names that it evaluates by rules of its grammar or under another name.
_OPERATORS: Final = frozenset(
    {
        *("_&&_", "_||_", "_?_:_", "!_", "-_", "_[_]", "@in", "_+_", "_-_", "_*_", "_/_", "_%_"),
        *("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"),
    }
)
_FUNCTIONS: Final = frozenset(base_functions) | _OPERATORS | {"dyn", "entity", "glob"}
_MACROS: Final = frozenset({"all", "exists", "exists_one", "map", "filter"})


def lacks(branch: Branch) -> bool:
    """Return whether a branch uses what cel-python does not have, or was not given."""
    part = branch.part
    if isinstance(part.tree, Name | Select) and part.state == "value":
        return not is_given(part.value)
    return any(map(_is_lacking, nodes(part.tree)))


def _is_lacking(tree: Tree) -> bool:
    match tree:
        case Call(function=name):
            return name not in _FUNCTIONS
        case Fold(kind=kind, names=names):
            return kind not in _MACROS or len(names) > 1
        case Bind():
            return True
        case _:
            return False
