"""What a name means: a local of a macro, a declared variable, a type, or a function in a namespace.

`a.b.c` may be a variable `a.b.c`, a field of `a.b`, or a field of a field of `a`; the longest name
that is declared wins, and in a container `x.y` each is looked for as `x.y.a`, `x.a` and `a`. A
local hides them all, and `.a` passes by the locals. Brackets end a name: `(a.b).c` is a field of
`a.b`.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#name-resolution
"""

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from typing import NamedTuple

from sidecar.policy.language.functions.signature import Function
from sidecar.policy.language.functions.wrappers import WRAPPERS
from sidecar.policy.language.tree import Name, Select, Tree
from sidecar.policy.language.types import TYPE, TYPE_NAMES, AnyType


class Environment:
    """What an expression may speak of; made once for the many that share it."""

    __slots__ = ("_container", "_functions", "_member_names", "_names", "_namespaces", "variables")

    def __init__(
        self,
        variables: Mapping[str, AnyType],
        functions: Iterable[Function],
        container: str = "",
    ) -> None:
        """Make an environment.

        Args:
            variables: By full name, which may be dotted: `resource`, `variables.finance`.
            functions: All that may be called.
            container: The namespace that names are looked for in first.
        """
        self.variables = variables
        self._container = container
        self._functions = {(each.name, each.is_member, each.arity): each for each in functions}
        self._names = {name for name, is_member, _ in self._functions if not is_member}
        self._namespaces = {name.rpartition(".")[0] for name in self._names} - {""}
        self._member_names = {name for name, is_member, _ in self._functions if is_member}

    def declaring(self, variables: Mapping[str, AnyType], container: str = "") -> "Environment":
        """Return an environment with the same functions, whose tables it shares."""
        made = copy(self)
        made.variables, made._container = variables, container  # noqa: SLF001 - of its own kind
        return made

    def variable(self, name: str, *, rooted: bool) -> str | None:
        """Return the full name of the variable or type that `name` means."""
        if not self._container:
            return name if name in self.variables or name in TYPE_NAMES else None
        for full in self._candidates(name, rooted=rooted):
            if full in self.variables or full in TYPE_NAMES:
                return full
        return None

    def type_of(self, full: str) -> AnyType:
        """Return the type of what `variable` found; a type's own type is `type`."""
        return self.variables.get(full, TYPE)

    def function(self, name: str) -> str | None:
        """Return the full name of the function that `name(…)` means, `.name` in the root alone."""
        if name in self._names and not self._container:
            return name
        for full in self._candidates(name.removeprefix("."), rooted=name.startswith(".")):
            if full in self._names:
                return full
        return None

    def wrapper(self, name: str) -> str | None:
        """Return the full name of the message that `name{…}` means; see `WRAPPERS`."""
        for full in self._candidates(name.removeprefix("."), rooted=name.startswith(".")):
            if full in WRAPPERS:
                return full
        return None

    def is_namespace(self, name: str) -> bool:
        """Return whether functions are declared below `name`, as `math` in `math.abs`."""
        if not self._container:
            return name.removeprefix(".") in self._namespaces
        rooted = name.startswith(".")
        spaces = self._candidates(name.removeprefix("."), rooted=rooted)
        return any(space in self._namespaces for space in spaces)

    def declared(self, name: str, arity: int, *, is_member: bool) -> Function | None:
        """Return the function of a full name that takes so many arguments."""
        return self._functions.get((name, is_member, arity))

    def arities(self, name: str, *, is_member: bool) -> list[int]:
        """Return how many arguments a function may take."""
        return sorted(
            arity for one, member, arity in self._functions if (one, member) == (name, is_member)
        )

    def function_names(self, *, is_member: bool) -> Iterable[str]:
        """Return the names of all functions of a kind."""
        return self._member_names if is_member else self._names

    def _candidates(self, name: str, *, rooted: bool) -> Iterator[str]:
        """Yield the full names that `name` may have, in the innermost container first."""
        container = "" if rooted else self._container
        while container:
            yield f"{container}.{name}"
            container = container.rpartition(".")[0]
        yield name


class Path(NamedTuple):
    """A dotted name as it was written: `root.fields…`."""

    root: Name
    fields: tuple[str, ...]

    def upto(self, count: int) -> str:
        """Return the name with the first `count` of its fields."""
        return ".".join((self.root.name, *self.fields[:count]))


def path_of(tree: Tree) -> Path | None:
    """Return the dotted name that `tree` spells, if it is one: no call, no index, no brackets."""
    fields: list[str] = []
    start = tree.start
    while isinstance(tree, Select) and not tree.optional and not tree.test:
        # A field in backticks may hold dots, which are not those of a name.
        if not tree.field.isidentifier():
            return None
        fields.append(tree.field)
        tree = tree.operand
    if not isinstance(tree, Name) or tree.start != start:
        return None
    return Path(tree, tuple(reversed(fields)))
