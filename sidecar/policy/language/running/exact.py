"""The exact evaluator: a checked tree → closures that mean what the specification says.

Every node becomes a function of a `Run`. Faults travel as exceptions; `&&`, `||`, `all` and
`exists` catch them, as do no others: one operand that decides outweighs another that fails. What
`cel.bind` names is computed when it is first asked for, and once. This is the meaning; the emitted
code is a faster way to the same value and asks here whenever it is not sure.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#evaluation
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, Final

from sidecar.policy.language import tree as cel
from sidecar.policy.language.facts import FACT_NAMES
from sidecar.policy.language.faults import (
    Fault,
    InvalidArgument,
    NoSuchField,
    NoSuchOverload,
    NoSuchVariable,
)
from sidecar.policy.language.functions import FUNCTIONS, Function
from sidecar.policy.language.functions.extensions.patterns import Program, compiled
from sidecar.policy.language.functions.standard.containers import (
    has_field,
    optional_select,
    select,
)
from sidecar.policy.language.functions.wrappers import FIELD, WRAPPERS
from sidecar.policy.language.running import cost, folds
from sidecar.policy.language.running.ahead.constants import constants
from sidecar.policy.language.running.ahead.weights import weight
from sidecar.policy.language.running.closures import (
    INSTEAD,
    LOGIC,
    Step,
    called,
    metered_call,
    paid_call,
)
from sidecar.policy.language.running.state import Run
from sidecar.policy.language.values import TYPES, Maybe, Uint, map_key


class Exact:
    """An expression that can be evaluated; `slots` is how many locals it needs room for."""

    __slots__ = ("_slots", "_step")

    def __init__(self, tree: cel.Tree, variables: Collection[str]) -> None:
        """Make closures of a tree.

        Args:
            tree: As the checker returns it; what it could not resolve fails when it is reached.
            variables: The full names that stand for data; every other rooted name is a type.
        """
        builder = Builder(variables, constants(tree))
        self._step = builder.visit(tree)
        self._slots = builder.slots

    def evaluate(self, run: Run) -> object:
        """Return the value.

        Raises:
            Fault: There is none.
        """
        run.slots = [None] * self._slots
        return self._step(run)


class _Lazy:
    """What a name is bound to: computed at most once, value or fault."""

    __slots__ = ("_fault", "_run", "_step", "_value")

    def __init__(self, step: Step, run: Run) -> None:
        self._step: Step | None = step
        self._run = run
        self._value: object = None
        self._fault: Fault | None = None

    def get(self) -> object:
        if self._step is not None:
            step, self._step = self._step, None
            try:
                self._value = step(self._run)
            except Fault as fault:
                self._fault = fault
        if self._fault is not None:
            raise self._fault
        return self._value


class Builder:
    """Makes the closures of one tree; `explain` makes them with a note beside each."""

    __slots__ = ("_constants", "_depth", "_scope", "_variables", "slots")

    def __init__(self, variables: Collection[str], known: Mapping[int, object]) -> None:
        """Begin; `known` are the constant parts of the tree, see `constants`."""
        self._variables = variables
        self._constants = known
        # Name → its slot, and whether what stands there is computed on demand.
        self._scope: dict[str, tuple[int, bool]] = {}
        self.slots = 0
        # How many macros are around.
        self._depth = 0

    def visit(self, tree: cel.Tree) -> Step:
        """Return the closure of a node."""
        if id(tree) in self._constants:
            return self.known(tree, self._constants[id(tree)])
        return _VISITS[type(tree)](self, tree)

    def known(self, _tree: cel.Tree, value: object) -> Step:
        """Return a part that is constant."""
        return lambda _run: value

    def _all(self, trees: tuple[cel.Tree, ...]) -> tuple[Step, ...]:
        return tuple(self.visit(tree) for tree in trees)

    def _slot(self) -> int:
        self.slots += 1
        return self.slots - 1

    # Names, fields, literals.

    def constant(self, tree: cel.Constant) -> Step:
        """Return a literal."""
        value = Uint(tree.value) if tree.kind == "uint" else tree.value  # type: ignore[arg-type]  # an int
        return lambda _run: value

    def name(self, tree: cel.Name) -> Step:
        """Return a local, a variable or a type."""
        name = tree.name
        if not tree.rooted:
            return _local(*self._scope[name]) if name in self._scope else _failing(NoSuchVariable)
        if name in self._variables:
            return _variable(name)
        kind = TYPES.get(name)
        return _failing(NoSuchVariable) if kind is None else lambda _run: kind

    def select(self, tree: cel.Select) -> Step:
        """Return the reading of a field."""
        operand, field = self.visit(tree.operand), tree.field
        if tree.test:
            return lambda run: has_field(operand(run), field)
        if tree.optional:
            return lambda run: optional_select(operand(run), field)
        return _field(operand, field, f"{NoSuchField.text}: {_as_written(tree)}")

    # Calls.

    def call(self, tree: cel.Call) -> Step:
        """Return a call, whatever its function is."""
        name = tree.function
        if tree.target is not None:
            return self._member(tree, tree.target)
        args = self._all(tree.args)
        if name in LOGIC:
            return LOGIC[name](*args)
        if (name, len(args)) in FACT_NAMES:
            return lambda run: run.fact(name, tuple([arg(run) for arg in args]))
        return self._strict(tree, args, is_member=False)

    def _member(self, tree: cel.Call, target: cel.Tree) -> Step:
        steps = (self.visit(target), *self._all(tree.args))
        if len(steps) == 2 and tree.function in INSTEAD:
            return INSTEAD[tree.function](*steps)
        return self._strict(tree, steps, is_member=True)

    def _strict(self, tree: cel.Call, args: tuple[Step, ...], *, is_member: bool) -> Step:
        """Return a call of a function that needs all of its arguments."""
        declared = FUNCTIONS.get((tree.function, is_member, len(tree.args)))
        if declared is None:
            return _failing(NoSuchOverload)
        if declared.is_metered:
            return self._metered(declared, tree.args[not is_member], args)
        if self._depth and not cost.is_free(declared):
            return paid_call(declared, args)
        return called(declared.call, args)

    def _metered(self, declared: Function, pattern: cel.Tree, args: tuple[Step, ...]) -> Step:
        own = literal_pattern(pattern)
        if own is not None and not self._depth:
            return called(declared.call, args)
        return metered_call(declared, args, own, is_inside=self._depth > 0)

    # Aggregates.

    def list_of(self, tree: cel.ListOf) -> Step:
        """Return the making of a list."""
        items, optional = self._all(tree.items), tree.optional
        if not optional:
            return lambda run: [item(run) for item in items]

        def gather(run: Run) -> object:
            found: list[object] = []
            for at, item in enumerate(items):
                value = item(run)
                found += held(value) if at in optional else [value]
            return found

        return gather

    def map_of(self, tree: cel.MapOf) -> Step:
        """Return the making of a map."""
        entries = [(self.visit(key), self.visit(value)) for key, value in tree.entries]
        optional = tree.optional

        def gather(run: Run) -> object:
            found: dict[object, object] = {}
            for at, (key, value) in enumerate(entries):
                known, given = map_key(key(run)), value(run)
                for one in held(given) if at in optional else [given]:
                    insert(found, known, one)
            return found

        return gather

    def message_of(self, tree: cel.MessageOf) -> Step:
        """Return the making of a wrapper's value."""
        wrapper = WRAPPERS.get(tree.name)
        if wrapper is None or [name for name, _ in tree.fields] not in ([], [FIELD]):
            return _failing(NoSuchOverload)
        steps = self._all(tuple(value for _, value in tree.fields))
        return lambda run: wrapper.wrapped(steps[0](run)) if steps else wrapper.zero

    # Macros.

    def fold(self, tree: cel.Fold) -> Step:
        """Return a macro."""
        over = self.visit(tree.range)
        outer = self._scope
        slots = tuple(self._slot() for _ in tree.names)
        self._scope = outer | {
            name: (slot, False) for name, slot in zip(tree.names, slots, strict=True)
        }
        self._depth += 1
        condition = self.visit(tree.condition) if tree.condition is not None else None
        body = self.visit(tree.body)
        self._depth -= 1
        self._scope = outer
        each = weight(tree, self._constants)
        return folds.folded(tree.kind, folds.Parts(over, slots, condition, body, each))

    def bind(self, tree: cel.Bind) -> Step:
        """Return a body that knows one more name."""
        init = self.visit(tree.init)
        outer, slot = self._scope, self._slot()
        self._scope = outer | {tree.name: (slot, True)}
        body = self.visit(tree.body)
        self._scope = outer

        def bound(run: Run) -> object:
            run.slots[slot] = _Lazy(init, run)
            return body(run)

        return bound


def literal_pattern(tree: cel.Tree) -> Program | None:
    """Return the pattern that a literal is, None for anything else."""
    if not isinstance(tree, cel.Constant) or not isinstance(tree.value, str):
        return None
    with suppress(Fault):
        return compiled(tree.value)
    return None


def held(value: object) -> list[object]:
    """Return what an optional behind `?` holds: one value or none."""
    if type(value) is Maybe:
        return [value.value] if value.has else []
    raise NoSuchOverload


def insert(mapping: dict[object, object], key: object, value: object) -> None:
    """Put an entry into a map that is being made, where no key stands twice."""
    if key in mapping:
        raise InvalidArgument("a key stands twice in a map")
    mapping[key] = value


def _local(slot: int, is_lazy: bool) -> Step:  # noqa: FBT001  # as the scope has it
    if is_lazy:
        return lambda run: run.slots[slot].get()  # type: ignore[attr-defined]  # a _Lazy
    return lambda run: run.slots[slot]


def _variable(name: str) -> Step:
    text = f"variable `{name.removeprefix('variables.')}` could not be evaluated"

    def read(run: Run) -> object:
        try:
            return run.data[name]
        except KeyError:
            raise NoSuchVariable(text) from None

    return read


def _field(operand: Step, field: str, text: str) -> Step:
    def read(run: Run) -> object:
        value = operand(run)
        try:
            return select(value, field)
        except NoSuchField:
            raise NoSuchField(text) from None

    return read


def _as_written(tree: cel.Select) -> str:
    """Return the path of a field, as far as it is names that stand in the expression's own text."""
    fields, below = [tree.field], tree.operand
    while isinstance(below, cel.Select):
        fields.append(below.field)
        below = below.operand
    root = below.name if isinstance(below, cel.Name) else "…"
    return ".".join([root, *(one if one.isidentifier() else "…" for one in reversed(fields))])


def _failing(fault: type[Fault]) -> Step:
    def fail(_run: Run) -> object:
        raise fault

    return fail


# The tree is a closed union; each method takes the one kind of node that it stands beside.
_VISITS: Final[dict[type, Callable[[Builder, Any], Step]]] = {
    cel.Constant: Builder.constant,
    cel.Name: Builder.name,
    cel.Select: Builder.select,
    cel.Call: Builder.call,
    cel.ListOf: Builder.list_of,
    cel.MapOf: Builder.map_of,
    cel.MessageOf: Builder.message_of,
    cel.Fold: Builder.fold,
    cel.Bind: Builder.bind,
}
