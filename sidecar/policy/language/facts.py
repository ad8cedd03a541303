"""The fact functions: declared with types, and never called by the engine.

Each is a look-up in the facts that came along with the evaluation. One that is not in hand ends it
as NeedFacts, which nothing absorbs, and whoever asked fetches it. To add one: declare it here, name
its provider in `facts` and `runtime`'s wiring. Its arguments are strings: they are the fact's key.
"""

from typing import Final

from sidecar.policy.language.faults import NoSuchOverload
from sidecar.policy.language.functions.signature import Function, function


def _not_called(*_arguments: object) -> object:
    raise NoSuchOverload


FACT_FUNCTIONS: Final[tuple[Function, ...]] = (
    # entity(type, id): what the entities file says of somebody or something; null for nothing.
    function("entity", _not_called, "string, string -> dyn"),
)
FACT_NAMES: Final = frozenset((each.name, each.arity) for each in FACT_FUNCTIONS)
