"""What emitted code may name: its locals, its literals, and the functions handed to it.

Nothing of an expression's text reaches the code but through `repr` of a literal or a field. Locals
are `v_<n>` (names of macros), `r_<n>` (variables), `t_<n>` (values used twice) and `b`, `d`, `f`
(budget, data, facts); everything else is a global made here, and there are no builtins.
"""

from collections.abc import Callable, Collection
from keyword import iskeyword
from typing import Final, NamedTuple, Protocol

from sidecar.policy.language.faults import Fault
from sidecar.policy.language.functions.standard import containers, relations
from sidecar.policy.language.running.cost import (
    SEARCH_LIGHT,
    is_flat,
    is_light,
    is_light_made,
    is_light_pair,
)
from sidecar.policy.language.running.exact import held
from sidecar.policy.language.running.folds import pairs, singles
from sidecar.policy.language.running.state import STEPS_MAX, fact_key
from sidecar.policy.language.tree import Tree
from sidecar.policy.language.values import Maybe, map_key
from sidecar.terms.decision import Facts


class Piece(NamedTuple):
    """A Python expression, and the one type that its value has (`dyn` where that is not known)."""

    code: str
    kind: str = "dyn"


class Unsure(Exception):
    """There is no fast form of this; the exact evaluator has the word."""


def _give_up() -> None:
    raise Unsure


def _fact(facts: Facts, name: str, *arguments: object) -> object:
    return facts[fact_key(name, arguments)].value


def _light(call: Callable[..., object], *args: object) -> object:
    """Call a function that costs nothing as long as nothing is large."""
    value = call(*args)
    if all(map(is_light, args)) and is_light_made(value):
        return value
    raise Unsure


def _equal_flat(left: object, right: object) -> bool:
    """Compare what costs nothing to compare."""
    if (is_flat(left) or is_flat(right)) and is_light_pair(left, right):
        return relations.equal(left, right)
    raise Unsure


def _contains_flat(needle: object, container: object) -> object:
    """Look for what costs nothing to find."""
    if is_flat(needle) and (type(container) is not list or len(container) < SEARCH_LIGHT):
        return relations.contains(needle, container)
    raise Unsure


def _spend(budget: list[float], over: list[object] | dict[object, object], each: float) -> bool:
    budget[0] -= len(over) * each
    if budget[0] < 0:
        raise Unsure
    return True


def _map_of(*entries: tuple[object, object]) -> dict[object, object]:
    made: dict[object, object] = {map_key(key): value for key, value in entries}
    if len(made) < len(entries):
        raise Unsure
    return made


# What every emitted function may call beside the functions of its own expression.
_SHARED: Final[dict[str, object]] = {
    "__builtins__": {},
    "type": type,
    "len": len,
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "list": list,
    "dict": dict,
    "maybe": Maybe,
    "sized": frozenset({str, bytes, list, dict}),
    "give_up": _give_up,
    "fact": _fact,
    "spend": _spend,
    "light": _light,
    "equal_flat": _equal_flat,
    "contains_flat": _contains_flat,
    "map_of": _map_of,
    "held": held,
    "pairs": pairs,
    "singles": singles,
    "has_field": containers.has_field,
    "select": containers.select,
    "optional_select": containers.optional_select,
    "index": containers.index,
    "equal": relations.equal,
    "contains": relations.contains,
}
# What emitted code may end in where the exact evaluator must be asked.
GIVES_UP: Final = (
    *(Fault, Unsure, LookupError, TypeError, ValueError),
    *(ArithmeticError, AttributeError, RecursionError),
)


class _Frame:
    """One emitted function: which locals it reads, and which of them it sets itself."""

    __slots__ = ("defines", "reads")

    def __init__(self) -> None:
        self.reads: dict[str, None] = {}
        self.defines: set[str] = set()

    @property
    def free(self) -> list[str]:
        return [name for name in self.reads if name not in self.defines]


class Scope:
    """The names of one expression's code."""

    __slots__ = (
        "_count",
        "_frames",
        "_locals",
        "fields",
        "functions",
        "given",
        "known",
        "roots",
        "variables",
    )

    def __init__(self, variables: Collection[str]) -> None:
        self.variables = variables
        self.known: dict[str, object] = dict(_SHARED)
        self.functions: list[str] = []
        # Variables by full name, each read from the data once, at the start.
        self.roots: dict[str, str] = {}
        # Variables by full name that stand in locals already.
        self.given: dict[str, Piece] = {}
        # Fields that stand in locals, by variable and names.
        self.fields: dict[tuple[str, ...], str] = {}
        self._locals: dict[str, str] = {}
        self._frames = [_Frame()]
        self._count = 0

    def fresh(self, prefix: str) -> str:
        """Return a name that stands for nothing yet."""
        self._count += 1
        return f"{prefix}_{self._count}"

    def constant(self, value: object) -> str:
        """Return the global that stands for `value`."""
        name = self.fresh("g")
        self.known[name] = value
        return name

    def local(self, name: str) -> str:
        """Return what stands for a name of a macro. Raises Unsure where it is none."""
        if name not in self._locals:
            raise Unsure
        return self.read(self._locals[name])

    def root(self, full: str) -> str:
        """Return what stands for a variable."""
        if full not in self.roots:
            self.roots[full] = self.fresh("r")
        return self.read(self.roots[full])

    def read(self, name: str) -> str:
        """Note that the function being written reads `name`."""
        self._frames[-1].reads[name] = None
        return name

    def bind(self, names: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
        """Let names of a macro stand for new locals.

        Returns:
            What stood for names before, for `restore`, and the locals.
        """
        outer = self._locals
        made = [self.fresh("v") for _ in names]
        self._locals = outer | dict(zip(names, made, strict=True))
        self._frames[-1].defines.update(made)
        return outer, made

    def restore(self, outer: dict[str, str]) -> None:
        """End what `bind` began."""
        self._locals = outer

    def abandon(self) -> None:
        """Forget the expression that was begun; what it left behind is called by nobody."""
        self._locals = {}
        del self._frames[1:]

    @property
    def is_inside(self) -> bool:
        """Return whether a loop is being written, where calls may cost something."""
        return len(self._frames) > 1

    def enter(self) -> None:
        """Begin a function inside of the one being written."""
        self._frames.append(_Frame())

    def leave(self) -> list[str]:
        """End it, and return the locals of others that it reads: its parameters."""
        free = self._frames.pop().free
        for name in free:
            self.read(name)
        return free

    def once(self, piece: Piece) -> tuple[str, str]:
        """Return how to name a value where it is first used, and how after that."""
        if piece.code.isidentifier() and not iskeyword(piece.code):
            return piece.code, piece.code
        name = self.fresh("t")
        return f"({name} := {piece.code})", name


class Writer(Protocol):
    """Whoever turns trees into pieces."""

    scope: Scope
    # How many macros go over something: one alone needs no counting.
    folds: int
    # The parts that are the same in every evaluation, by identity.
    constants: dict[int, object]

    def visit(self, tree: Tree) -> Piece:
        """Return the code of a node."""

    def condition(self, tree: Tree) -> str:
        """Return code whose value is `True` or `False`, of a node that must be a bool."""


Form = Callable[[Writer, tuple[Tree, ...]], Piece | None]
BUDGET: Final = STEPS_MAX
