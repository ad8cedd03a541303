"""Which paths are attributes of an organisation's own that nothing has declared."""

from collections.abc import Mapping
from typing import Final

from sidecar.policy.language.types import AnyType, Record
from sidecar.policy.vocabulary.roots import UNDECLARED

# Below these stand attributes; what a call's native block holds is the protocol's own.
_OWN: Final = frozenset({"subject", "actor", "resource", "action", "session"})


def is_untyped(path: str, roots: Mapping[str, AnyType]) -> bool:
    """Return whether an Attributes document could say of which type `path` is, and none does.

    Args:
        path: As an expression reads it.
        roots: The types of the roots for the calls that it meets.
    """
    root, *fields = path.split(".")
    if root not in _OWN or root not in roots:
        return False
    found = roots[root]
    for field in fields:
        if not isinstance(found, Record):
            # Behind what is declared as a map or as anything, nothing more can be said.
            return found is UNDECLARED
        if field not in found.fields:
            return found.is_open
        found = found.fields[field]
    return False
