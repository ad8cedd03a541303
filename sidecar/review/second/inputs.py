"""Inputs made up for a rule from its own text: what it reads, and what it compares that with.

Every literal that a path is compared with becomes a value of that path, with its neighbours on
either side; a literal that is sought in a list becomes an element. The first input has the first
value of every path; each of the others has one path changed, or its last field absent. That reaches
most outcomes of most branches; it is a rehearsal, not a proof.
"""

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

import msgspec

from sidecar.policy.language.tree import Bind, Call, Constant, Fold, ListOf, Name, Select, Tree
from sidecar.policy.language.walk import children
from sidecar.terms.call import Json

INPUTS_MAX: Final = 16
VALUES_MAX: Final = 6
# In a path: whatever element of a list.
EACH: Final = "[]"
Path: TypeAlias = tuple[str, ...]
_COMPARED: Final = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"})
_TEXTS: Final = frozenset({"startsWith", "endsWith", "contains"})
# What takes a value away, and leaves what is around it.
_ABSENT: Final = object()
_ENTITY: Final = "entity()"


class Read(msgspec.Struct):
    """What is known of one path: values to try, and whether it is gone over as a list."""

    values: list[Json] = []
    is_condition: bool = False

    def add(self, *values: Json) -> None:
        """Note values, each once."""
        for value in values:
            if not any(value == one and type(value) is type(one) for one in self.values):
                self.values.append(value)

    def candidates(self) -> list[Json]:
        """Return what to try, the likeliest first."""
        plain: list[Json] = [True, False] if self.is_condition else ["a", "b"]
        return (self.values or plain)[:VALUES_MAX]


def inputs(trees: Mapping[str, Tree], params: Json) -> Iterator[dict[str, Json]]:
    """Yield data to try on a rule, at most `INPUTS_MAX`; `entity()` stands for every entity.

    Args:
        trees: Its expressions, checked, the variables by their full names.
        params: The bundle's own, which are no matter of choice.
    """
    reads = _reads(trees)
    paths = sorted(path for path in reads if path[0] != "params")
    chosen = {path: reads[path].candidates() for path in paths}
    first = {path: values[0] for path, values in chosen.items()}
    made = [first]
    made += [{path: values[-1] for path, values in chosen.items()}]
    for path, values in chosen.items():
        made += [{**first, path: value} for value in values[1:]]
        if len(path) > 1:
            made.append({**first, path: _ABSENT})
    for one in made[:INPUTS_MAX]:
        yield {**_tree(one), "params": params}


def _tree(chosen: Mapping[Path, Json]) -> dict[str, Json]:
    """Return data in which each path has its value; the shorter path gives way to the longer."""
    data: dict[str, Json] = {}
    for path, value in chosen.items():
        _put(data, path, value)
    return {root: _listed(value) for root, value in data.items()}


def _put(data: dict[str, Json], path: Path, value: Json) -> None:
    *above, last = path
    held = data
    for step in above:
        below = held.get(step)
        if not isinstance(below, dict):
            below = held[step] = {}
        held = below
    # What takes away the elements of a list leaves the list.
    is_there = value is not _ABSENT or last == EACH
    if is_there and not isinstance(held.get(last), dict):
        held[last] = value


def _listed(value: Json) -> Json:
    """Return a value with what stands for each element made into a list of it."""
    if not isinstance(value, dict):
        return value
    if value.get(EACH) is _ABSENT:
        return []
    if EACH in value:
        element = _listed(value[EACH])
        return element if isinstance(element, list) and len(value) == 1 else [element]
    return {key: _listed(one) for key, one in value.items()}


class _Reader:
    def __init__(self) -> None:
        self.reads: dict[Path, Read] = {}
        # What a name stands for: of a macro an element, of `cel.bind` or a variable a path.
        self.names: dict[str, Path | None] = {}

    def path(self, tree: Tree) -> Path | None:
        """Return the path that a node reads: fields and text keys below a root."""
        if isinstance(tree, Name):
            return self.names.get(tree.name, (tree.name,) if tree.rooted else None)
        if isinstance(tree, Select):
            above = self.path(tree.operand)
            return None if above is None else (*above, tree.field)
        if isinstance(tree, Call) and tree.function in {"_[_]", "_[?_]"}:
            above, key = self.path(tree.args[0]), tree.args[1]
            if above is not None and isinstance(key, Constant):
                return (*above, key.value if isinstance(key.value, str) else EACH)
        if isinstance(tree, Call) and tree.function == "entity":
            return (_ENTITY,)
        if isinstance(tree, Call) and tree.function == "orValue" and tree.target is not None:
            return self.path(tree.target)
        return None

    def read(self, tree: Tree) -> Read | None:
        """Return what is known of the path that a node reads; None where it reads none."""
        path = self.path(tree)
        return None if path is None else self.reads.setdefault(path, Read())

    def visit(self, tree: Tree) -> None:
        """Note what a node says of the paths below it."""
        found = self.read(tree)
        if found is not None and isinstance(tree, Select):
            self.visit_call(tree.operand)
        if found is not None and not isinstance(tree, Call):
            return
        if isinstance(tree, Fold):
            self._fold(tree)
            return
        if isinstance(tree, Bind):
            self.visit(tree.init)
            self._named(tree.name, self.path(tree.init), tree.body)
            return
        if isinstance(tree, Call):
            self._call(tree)
        for child in children(tree):
            self.visit(child)

    def visit_call(self, tree: Tree) -> None:
        """Note what the call says whose value a chain of fields is read from."""
        while isinstance(tree, Select):
            tree = tree.operand
        if isinstance(tree, Call):
            self.visit(tree)

    def _named(self, name: str, path: Path | None, *bodies: Tree) -> None:
        outer = self.names
        self.names = {**outer, name: path}
        for body in bodies:
            self.visit(body)
            self.condition(body)
        self.names = outer

    def _fold(self, tree: Fold) -> None:
        self.visit(tree.range)
        above = self.path(tree.range)
        element = None if above is None else (*above, EACH)
        bodies = [tree.body] if tree.condition is None else [tree.condition, tree.body]
        outer = self.names
        if len(tree.names) == 2:
            self.names = {**outer, tree.names[0]: None}
        self._named(tree.names[-1], element, *bodies)
        self.names = outer

    def condition(self, tree: Tree) -> None:
        """Note that a path stands where a bool is asked for."""
        found = self.read(tree)
        if found is not None:
            found.is_condition = True

    def _call(self, tree: Call) -> None:
        args = tree.args if tree.target is None else (tree.target, *tree.args)
        if tree.function in {"_&&_", "_||_", "!_"}:
            for arg in args:
                self.condition(arg)
        elif tree.function == "_?_:_":
            self.condition(args[0])
        elif tree.function in _COMPARED:
            self._compared(*args)
        elif tree.function == "@in":
            self._sought(*args)
        elif tree.function in _TEXTS or tree.function == "matches":
            self._asked(tree.function, *args)

    def _compared(self, one: Tree, other: Tree) -> None:
        for side, literal in ((one, other), (other, one)):
            if not isinstance(literal, Constant):
                continue
            found, counted = self.read(side), _counted(side)
            if found is not None:
                found.add(*_around(literal.value))
            held = self.read(counted) if counted is not None else None
            if held is not None and type(literal.value) is int:
                held.add(*(["a"] * size for size in _sizes(literal.value)))

    def _sought(self, needle: Tree, held: Tree) -> None:
        container, sought = self.read(held), self.read(needle)
        if container is not None and isinstance(needle, Constant):
            container.add([needle.value], ["b", needle.value], [], {str(needle.value): "a"})
        if sought is not None and isinstance(held, ListOf):
            literals = [item.value for item in held.items if isinstance(item, Constant)]
            sought.add(*literals[: VALUES_MAX - 1], "b")

    def _asked(self, function: str, text: Tree, *args: Tree) -> None:
        found = self.read(text)
        if found is None or not args or not isinstance(args[0], Constant):
            return
        literal = args[0].value
        if isinstance(literal, str):
            pieces = ["a"] if function == "matches" else [f"{literal}b", f"b{literal}"]
            found.add(literal, *pieces, "")


def _reads(trees: Mapping[str, Tree]) -> dict[Path, Read]:
    reader = _Reader()
    for name, tree in trees.items():
        reader.visit(tree)
        if name == "when":
            reader.condition(tree)
        reader.names[name] = reader.path(tree)
    return {path: read for path, read in reader.reads.items() if path[0] != "variables"}


def _counted(tree: Tree) -> Tree | None:
    """Return what `size(x)` or `x.size()` counts."""
    if not isinstance(tree, Call) or tree.function != "size":
        return None
    return tree.target if tree.target is not None else tree.args[0]


def _sizes(around: int) -> list[int]:
    return [size for size in (around, around + 1, around - 1) if 0 <= size <= 64]


def _around(value: Json) -> list[Json]:
    """Return a literal and its neighbours on either side, and one of another type."""
    if isinstance(value, bool):
        return [value, not value]
    if isinstance(value, str):
        return [value, f"{value}b", ""]
    if isinstance(value, int):
        # To some languages true is one.
        alike: list[Json] = [value == 1] if value in {0, 1} else []
        return [value, value - 1, value + 1, *alike]
    if isinstance(value, float):
        return [value, value - 0.5, value + 0.5]
    return [value, "a"] if value is None else []
