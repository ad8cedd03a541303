"""How a function is declared: its name, how it is called, what it takes, and what stands behind."""

from collections.abc import Callable

import msgspec

from sidecar.policy.language.faults import BadConversion, Overflow
from sidecar.policy.language.types import Signature, signature


class Function(msgspec.Struct, frozen=True):
    """One function in one way of being called.

    `call` takes values positionally, the target of a member function first, and is strict and
    total: it returns a value or raises a `Fault`, whatever it is given. A metered one
    takes a `meter` as well, by name, and pays as it works: its arguments alone do not tell what it
    will cost.
    """

    name: str
    is_member: bool
    arity: int
    signatures: tuple[Signature, ...]
    call: Callable[..., object]
    is_metered: bool = False


def function(name: str, call: Callable[..., object], *signatures: str) -> Function:
    """Return the declaration of `name(…)`; its signatures all have one number of parameters."""
    return _declared(name, call, signatures, is_member=False)


def member(name: str, call: Callable[..., object], *signatures: str) -> Function:
    """Return the declaration of `target.name(…)`; the target is the first parameter."""
    return _declared(name, call, signatures, is_member=True)


def metered(declared: Function) -> Function:
    """Return `declared` as one whose `call` takes a meter."""
    return msgspec.structs.replace(declared, is_metered=True)


def spells(convert: Callable[[object], object]) -> Callable[[object], bool]:
    """Return the function that tells whether a text can be converted: `isIP(text)` of `ip(text)`.

    Args:
        convert: Takes texts alone; anything else is no overload here either.
    """

    def is_spelt(text: object) -> bool:
        try:
            convert(text)
        except (BadConversion, Overflow):
            return False
        return True

    return is_spelt


def _declared(
    name: str, call: Callable[..., object], texts: tuple[str, ...], *, is_member: bool
) -> Function:
    signatures = tuple(signature(text) for text in texts)
    counts = {len(each.parameters) for each in signatures}
    assert len(counts) == 1, f"`{name}` is declared with different numbers of parameters"
    return Function(name, is_member, counts.pop() - is_member, signatures, call)
