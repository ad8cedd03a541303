"""Every function of the language in one table, by name, way of being called, and arity.

`FUNCTIONS[("size", True, 0)]` is `target.size()`: the arity of a member function leaves its target
out. Operators stand under the specification's names (`_+_`, `@in`); `&&`, `||`, `?:` and the macros
are no functions, for they do not evaluate all of their parts. Names with a dot (`math.abs`) are
functions of a namespace.
"""

from collections.abc import Iterable
from typing import Final

from sidecar.policy.language.functions.extensions import (
    aggregates,
    encoders,
    formatting,
    lists,
    maths,
    network,
    optionals,
    patterns,
    quantities,
    strings,
    urls,
)
from sidecar.policy.language.functions.signature import Function
from sidecar.policy.language.functions.standard import (
    arithmetic,
    containers,
    conversions,
    relations,
    texts,
    times,
)

_MODULES: Final = (
    *(arithmetic, containers, conversions, relations, texts, times),
    *(aggregates, encoders, formatting, lists, maths, network, optionals, patterns, quantities),
    *(strings, urls),
)


def _table(declared: Iterable[Function]) -> dict[tuple[str, bool, int], Function]:
    table: dict[tuple[str, bool, int], Function] = {}
    for each in declared:
        key = (each.name, each.is_member, each.arity)
        assert key not in table, f"`{each.name}` is declared twice"
        table[key] = each
    return table


FUNCTIONS: Final = _table(each for module in _MODULES for each in module.DECLARED)

__all__ = ["FUNCTIONS", "Function"]
