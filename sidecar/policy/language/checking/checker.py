"""The static check: names resolved, overloads chosen by type, everything else said with its place.

The tree that comes back is the one to evaluate. In it a `Name` that is rooted is a declared
variable or a type under its full name (`variables.finance`); one that is not is a local of a macro,
or was found nowhere. A call of a function in a namespace (`math.abs(x)`) has its full name and no
target.

All problems are found in one pass: what could not be typed is `dyn`, which fits everywhere and so
causes no second message. Whoever evaluates unchecked takes the tree and leaves the problems.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#gradual-type-checking
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, TypeAlias, TypeGuard

import msgspec

from sidecar.policy.language import tree as cel
from sidecar.policy.language.checking import folds, wording
from sidecar.policy.language.checking.names import Environment, Path, path_of
from sidecar.policy.language.functions.wrappers import FIELD, WRAPPERS
from sidecar.policy.language.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DYN,
    INT,
    KEYS,
    NULL,
    STRING,
    UINT,
    AnyType,
    Bindings,
    Record,
    Signature,
    Type,
    filled,
    fits,
    join,
    join_all,
    list_of,
    map_of,
    optional_of,
)

_Typed: TypeAlias = tuple[cel.Tree, AnyType]

_KINDS: Final = {
    "null": NULL,
    "bool": BOOL,
    "int": INT,
    "uint": UINT,
    "double": DOUBLE,
    "string": STRING,
    "bytes": BYTES,
}
_LOGIC: Final = frozenset({"_&&_", "_||_"})
_INDEX: Final = frozenset({"_[_]", "_[?_]"})


class TypeProblem(msgspec.Struct, frozen=True):
    """What is wrong, and the code points `start` to `end` that show it."""

    text: str
    start: int
    end: int


class Checked(msgspec.Struct, frozen=True):
    """A tree with its names resolved, the type of its value, and what is wrong with it."""

    tree: cel.Tree
    type: AnyType
    problems: tuple[TypeProblem, ...]


def check(tree: cel.Tree, environment: Environment) -> Checked:
    """Return `tree` resolved and typed.

    Args:
        tree: As parsed; its depth is bounded, so it is walked by recursion.
        environment: What it may speak of.
    """
    checker = _Checker(environment)
    resolved, found = checker.visit(tree)
    return Checked(resolved, found, tuple(checker.problems))


class _Checker:
    __slots__ = ("_environment", "_locals", "problems")

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._locals: dict[str, AnyType] = {}
        self.problems: list[TypeProblem] = []

    def visit(self, tree: cel.Tree) -> _Typed:
        """Return a node resolved, with its type."""
        return _VISITS[type(tree)](self, tree)

    def _wrong(self, text: str, tree: cel.Tree) -> AnyType:
        self.problems.append(TypeProblem(text, tree.start, tree.end))
        return DYN

    def _visit_all(self, trees: Iterable[cel.Tree]) -> tuple[tuple[cel.Tree, ...], list[AnyType]]:
        typed = [self.visit(tree) for tree in trees]
        return tuple(tree for tree, _ in typed), [found for _, found in typed]

    def _condition(self, tree: cel.Tree, said: str) -> cel.Tree:
        resolved, found = self.visit(tree)
        if found not in (BOOL, DYN):
            self._wrong(f"{said} expects a bool, this is {wording.a(found)}", tree)
        return resolved

    # Names and fields.

    def constant(self, tree: cel.Constant) -> _Typed:
        return tree, _KINDS[tree.kind]

    def name(self, tree: cel.Name) -> _Typed:
        if self._is_local(tree):
            return tree, self._locals[tree.name]
        return self._resolved(Path(tree, ()), [tree])

    def _is_local(self, root: cel.Name) -> bool:
        return not root.rooted and root.name in self._locals

    def _resolved(self, path: Path, chain: list[cel.Tree]) -> _Typed:
        """Return the longest declared name of a path, and the selection of its other fields.

        Args:
            path: A dotted name whose root is no local.
            chain: The node of each of its prefixes, the shortest first.
        """
        for count in range(len(path.fields), -1, -1):
            full = self._environment.variable(path.upto(count), rooted=path.root.rooted)
            if full is not None:
                break
        else:
            said = wording.unknown_word(path, self._environment.variables)
            shown = chain[bool(wording.is_dotted(path, self._environment.variables))]
            return chain[-1], self._wrong(said, shown)
        node = chain[count]
        tree: cel.Tree = cel.Name(node.start, node.end, full, rooted=True)
        found = self._environment.type_of(full)
        for node, field in zip(chain[count + 1 :], path.fields[count:], strict=True):
            tree = cel.Select(node.start, node.end, tree, field)
            found = self._field(found, field, node)
        return tree, found

    def select(self, tree: cel.Select) -> _Typed:
        path = path_of(tree)
        if path is not None and not self._is_local(path.root):
            return self._resolved(path, _chain(tree))
        operand, over = self.visit(tree.operand)
        found = self._field(over, tree.field, tree, is_asked=tree.test or tree.optional)
        resolved = cel.Select(tree.start, tree.end, operand, tree.field, tree.optional, tree.test)
        if tree.test:
            return resolved, BOOL
        return resolved, _optional(found) if tree.optional else found

    def _field(
        self, over: AnyType, field: str, node: cel.Tree, *, is_asked: bool = False
    ) -> AnyType:
        """Return the type of a field of something of type `over`; `is_asked` for, not just read."""
        if isinstance(over, Record):
            known = over.fields.get(field)
            may_lack = over.is_open or (is_asked and over.may_ask)
            if known is None and not may_lack:
                return self._wrong(wording.unknown_field(field, over), _last_word(node))
            return known or DYN
        if over == DYN:
            return DYN
        if over.name == "optional":
            # A field of what may be absent may be absent, but must be one that there may be.
            return _optional(self._field(over.args[0], field, node, is_asked=is_asked))
        if over.name != "map":
            return self._wrong(f"a field of {wording.a(over)}, which has none", node)
        if not fits(STRING, over.args[0], {}):
            return self._wrong(f"a field of a {over}, whose keys are no strings", node)
        return over.args[1]

    # Calls.

    def call(self, tree: cel.Call) -> _Typed:
        if tree.function in _LOGIC:
            said = f"`{tree.function.strip('_')}`"
            clauses = tuple(self._condition(arg, said) for arg in tree.args)
            return cel.Call(tree.start, tree.end, tree.function, clauses), BOOL
        if tree.function == "_?_:_":
            return self._conditional(tree)
        full = self._namespaced(tree)
        if tree.target is None or full is not None:
            return self._global(tree, full or tree.function)
        (target, *args), types = self._visit_all((tree.target, *tree.args))
        resolved = cel.Call(tree.start, tree.end, tree.function, tuple(args), target)
        return resolved, self._overload(tree, tree.function, types, is_member=True)

    def _conditional(self, tree: cel.Call) -> _Typed:
        condition, then, otherwise = tree.args
        asked = self._condition(condition, "`? :`")
        (one, other), types = self._visit_all((then, otherwise))
        return cel.Call(tree.start, tree.end, tree.function, (asked, one, other)), join(*types)

    def _namespaced(self, tree: cel.Call) -> str | None:
        """Return the dotted name of the function, where its target is a namespace."""
        path = path_of(tree.target) if tree.target is not None else None
        if path is None or self._is_local(path.root):
            return None
        space = ("." if path.root.rooted else "") + path.upto(len(path.fields))
        if not self._environment.is_namespace(space):
            return None
        name = f"{space}.{tree.function}"
        is_value = self._environment.variable(path.root.name, rooted=path.root.rooted) is not None
        return name if self._environment.function(name) or not is_value else None

    def _global(self, tree: cel.Call, name: str) -> _Typed:
        known = len(self.problems)
        typed = self._called(tree, name)
        if name == "@in" and isinstance(tree.args[0], cel.Call) and tree.args[0].function == "!_":
            self._explain_not(known)
        return typed

    def _explain_not(self, known: int) -> None:
        """Add what was probably meant to the first problem of `!x in list` with its types."""
        for at, one in enumerate(self.problems[known:], known):
            if one.text.startswith(("no `!`", "no `in`")):
                self.problems[at] = TypeProblem(f"{one.text}; {wording.NOT_IN}", one.start, one.end)
                return

    def _called(self, tree: cel.Call, name: str) -> _Typed:
        args, types = self._visit_all(tree.args)
        full = self._environment.function(name)
        if full is None:
            known = self._environment.function_names(is_member=False)
            found = self._wrong(wording.unknown_function(name, known), tree)
            return cel.Call(tree.start, tree.end, name, args), found
        resolved = cel.Call(tree.start, tree.end, full, args)
        record, key = types[0] if types else DYN, tree.args[-1] if tree.args else None
        if full in _INDEX and isinstance(record, Record) and _is_string(key):
            found = self._field(record, str(key.value), tree, is_asked=full == "_[?_]")
            return resolved, found if full == "_[_]" else _optional(found)
        return resolved, self._overload(tree, full, types, is_member=False)

    def _overload(
        self, tree: cel.Call, full: str, types: list[AnyType], *, is_member: bool
    ) -> AnyType:
        """Return what the function returns for arguments of these types (a target is the first)."""
        arity = len(types) - is_member
        function = self._environment.declared(full, arity, is_member=is_member)
        if function is None:
            return self._wrong(self._not_callable(full, arity, is_member=is_member), tree)
        found = _result(function.signatures, tuple(types))
        return found or self._wrong(wording.no_overload(function, types), tree)

    def _not_callable(self, name: str, arity: int, *, is_member: bool) -> str:
        arities = self._environment.arities(name, is_member=is_member)
        if arities:
            return wording.wrong_count(name, arities, arity)
        names = self._environment.function_names(is_member=is_member)
        return wording.unknown_function(name, names)

    # Aggregates.

    def list_of(self, tree: cel.ListOf) -> _Typed:
        items, types = self._visit_all(tree.items)
        for at in tree.optional:
            types[at] = self._unwrapped(types[at], tree.items[at])
        return cel.ListOf(tree.start, tree.end, items, tree.optional), list_of(join_all(types))

    def map_of(self, tree: cel.MapOf) -> _Typed:
        keys, key_types = self._visit_all(key for key, _ in tree.entries)
        values, types = self._visit_all(value for _, value in tree.entries)
        for (key, _), found in zip(tree.entries, key_types, strict=True):
            if found != DYN and found not in KEYS:
                self._wrong(f"a key is an int, uint, bool or string, not {wording.a(found)}", key)
        for at in tree.optional:
            types[at] = self._unwrapped(types[at], tree.entries[at][1])
        entries = tuple(zip(keys, values, strict=True))
        resolved = cel.MapOf(tree.start, tree.end, entries, tree.optional)
        return resolved, map_of(join_all(key_types), join_all(types))

    def _unwrapped(self, found: AnyType, tree: cel.Tree) -> AnyType:
        """Return what an optional holds that stands behind a `?`."""
        if isinstance(found, Type) and found.name == "optional":
            return found.args[0]
        if found == DYN:
            return DYN
        return self._wrong(f"`?` expects an optional, this is {wording.a(found)}", tree)

    def message_of(self, tree: cel.MessageOf) -> _Typed:
        full = self._environment.wrapper(tree.name)
        typed = [(name, *self.visit(value)) for name, value in tree.fields]
        fields = tuple((name, value) for name, value, _ in typed)
        if full is None:
            found = self._wrong(f"there are no message types, such as `{tree.name}`", tree)
            return cel.MessageOf(tree.start, tree.end, tree.name, fields), found
        wrapped = WRAPPERS[full].type
        if [name for name, _ in fields] not in ([], [FIELD]):
            self._wrong(f"`{full}` has one field, `{FIELD}`", tree)
        elif any(not fits(found, wrapped, {}) for _, _, found in typed):
            self._wrong(f"`{full}` expects {wording.a(wrapped)}", tree)
        return cel.MessageOf(tree.start, tree.end, full, fields), wrapped

    # Macros.

    def fold(self, tree: cel.Fold) -> _Typed:
        range_, over = self.visit(tree.range)
        element = folds.elements(tree.kind, over)
        if element is None:
            wanted = "an optional" if tree.kind in folds.OPTIONAL else "a list or map"
            over = self._wrong(
                f"`{tree.kind}` expects {wanted}, this is {wording.a(over)}", tree.range
            )
            element = DYN, DYN
        names = folds.named(over, *element, len(tree.names))
        outer = self._locals
        self._locals = outer | dict(zip(tree.names, names, strict=True))
        said = f"`{tree.kind}`"
        condition = self._condition(tree.condition, said) if tree.condition is not None else None
        is_test = tree.kind in folds.TESTS
        body, found = (self._condition(tree.body, said), BOOL) if is_test else self.visit(tree.body)
        self._locals = outer
        resolved = cel.Fold(
            tree.start, tree.end, tree.kind, range_, tree.names, body, condition=condition
        )
        return resolved, folds.result(tree.kind, over, names[0], found)

    def bind(self, tree: cel.Bind) -> _Typed:
        init, found = self.visit(tree.init)
        outer = self._locals
        self._locals = outer | {tree.name: found}
        body, result = self.visit(tree.body)
        self._locals = outer
        return cel.Bind(tree.start, tree.end, tree.name, init, body), result


def _chain(tree: cel.Tree) -> list[cel.Tree]:
    """Return the nodes of a dotted name: of its root, its root and first field, and so on."""
    chain = [tree]
    while isinstance(tree, cel.Select):
        tree = tree.operand
        chain.append(tree)
    return chain[::-1]


def _last_word(node: cel.Tree) -> cel.Tree:
    """Return the field alone of a plain selection; of `has(…)` and of backticks, the whole."""
    if not isinstance(node, cel.Select) or node.test or not node.field.isidentifier():
        return node
    return cel.Name(node.end - len(node.field), node.end, node.field)


def _optional(found: AnyType) -> AnyType:
    """Return the type of an optional selection, which does not nest."""
    is_optional = isinstance(found, Type) and found.name == "optional"
    return found if is_optional else optional_of(found)


def _is_string(tree: cel.Tree | None) -> TypeGuard[cel.Constant]:
    return isinstance(tree, cel.Constant) and tree.kind == "string"


@lru_cache(maxsize=4096)
def _result(signatures: tuple[Signature, ...], types: tuple[AnyType, ...]) -> AnyType | None:
    """Return what a function returns for arguments of `types`; None if no signature takes them."""
    results = [found for found in (_returned(each, types) for each in signatures) if found]
    return join_all(results) if results else None


def _returned(signature: Signature, types: tuple[AnyType, ...]) -> AnyType | None:
    bound: Bindings = {}
    pairs = zip(types, signature.parameters, strict=True)
    fitting = all(fits(given, wanted, bound) for given, wanted in pairs)
    return filled(signature.result, bound) if fitting else None


# The tree is a closed union; each method takes the one kind of node that it stands beside.
_VISITS: Final[dict[type, Callable[[_Checker, Any], _Typed]]] = {
    cel.Constant: _Checker.constant,
    cel.Name: _Checker.name,
    cel.Select: _Checker.select,
    cel.Call: _Checker.call,
    cel.ListOf: _Checker.list_of,
    cel.MapOf: _Checker.map_of,
    cel.MessageOf: _Checker.message_of,
    cel.Fold: _Checker.fold,
    cel.Bind: _Checker.bind,
}
