"""A checked tree → what it asks. Variables stand for their expressions, parameters for values."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

from sidecar.policy.language.tree import Call, Constant, Fold, ListOf, Name, Select, Tree
from sidecar.review.clauses.formula import ABSENT, AllOf, AnyOf, Clause, Formula, Instant, Kind
from sidecar.review.trees import linked
from sidecar.terms.call import Json

_TEXTS: Final[Mapping[str, Kind]] = {
    "startsWith": "starts",
    "endsWith": "ends",
    "contains": "contains",
    "matches": "matches",
}
# Functions of one field that a clause may look through.
_THROUGH: Final = frozenset(
    {
        "timestamp",
        "duration",
        "int",
        "double",
        "string",
        "size",
        "lowerAscii",
        "upperAscii",
        "trim",
        "getHours",
        "getDayOfWeek",
        "getMinutes",
    }
)
_ORDERS: Final[Mapping[str, tuple[Kind, bool]]] = {
    "_<_": ("less", True),
    "_<=_": ("most", True),
    "_>_": ("most", False),
    "_>=_": ("less", False),
}
_FLIPPED: Final = {"_<_": "_>_", "_<=_": "_>=_", "_>_": "_<_", "_>=_": "_<="}
_DEPTH_MAX: Final = 40
# Whether what is built must hold, or must not.
Sign: TypeAlias = bool
HELD: Final[Sign] = True
DENIED: Final[Sign] = False


class Written(NamedTuple):
    """What an expression may name beside the roots.

    Args:
        variables: The trees of a policy's variables by full name.
        params: The bundle's parameters.
    """

    variables: Mapping[str, Tree]
    params: Json


class _Field(NamedTuple):
    """A field that is read, and what stands for it where it is absent."""

    path: str
    default: object = ABSENT


class _Known(NamedTuple):
    """A constant; a list of constants is a tuple."""

    value: object


def formula(tree: Tree, written: Written, *, positive: bool = True) -> Formula:
    """Return what must be so for `tree` to be true (or, not `positive`, to be false)."""
    return _Builder(written, {}).of(tree, positive, 0)


class _Builder:
    """Builds what an expression asks; `bound` are the constants that macros go over."""

    def __init__(self, written: Written, bound: Mapping[str, object]) -> None:
        self._written = written
        self._bound = bound

    def of(self, tree: Tree, positive: Sign, depth: int) -> Formula:
        """Return what must be so for `tree` to be `positive`."""
        if depth > _DEPTH_MAX:
            return _opaque(tree, positive)
        if isinstance(tree, Call):
            build = _CALLS.get(tree.function)
            if build is not None:
                return build(self, tree, positive, depth + 1)
        if isinstance(tree, Fold):
            return self._fold(tree, positive, depth + 1)
        if isinstance(tree, Name) and tree.name in self._written.variables:
            return self.of(self._written.variables[tree.name], positive, depth + 1)
        return self._truth(tree, positive)

    def _truth(self, tree: Tree, positive: Sign) -> Formula:
        if isinstance(tree, Select) and tree.test:
            field = self._field(Select(tree.start, tree.end, tree.operand, tree.field))
            return _opaque(tree, positive) if field is None else _has(tree, field, positive)
        if isinstance(tree, Call) and tree.function == "hasValue" and tree.target is not None:
            field = self._field(tree.target)
            return _opaque(tree, positive) if field is None else _has(tree, field, positive)
        known = self.constant(tree)
        if known is not None and isinstance(known.value, bool):
            return AllOf() if known.value is positive else AnyOf()
        found = self._field(tree)
        if found is None:
            return self._text(tree, positive)
        return _clause(tree, "true", found, None, positive)

    def both(self, tree: Call, positive: Sign, depth: int) -> Formula:
        """Return what `&&` asks."""
        parts = tuple(self.of(arg, positive, depth) for arg in tree.args)
        return AllOf(parts) if positive else AnyOf(parts)

    def either(self, tree: Call, positive: Sign, depth: int) -> Formula:
        """Return what `||` asks."""
        parts = tuple(self.of(arg, positive, depth) for arg in tree.args)
        return AnyOf(parts) if positive else AllOf(parts)

    def negated(self, tree: Call, positive: Sign, depth: int) -> Formula:
        """Return what `!` asks."""
        return self.of(tree.args[0], not positive, depth)

    def chosen(self, tree: Call, positive: Sign, depth: int) -> Formula:
        """Return what `?:` asks."""
        asked, then, other = tree.args
        yes = AllOf((self.of(asked, HELD, depth), self.of(then, positive, depth)))
        no = AllOf((self.of(asked, DENIED, depth), self.of(other, positive, depth)))
        return AnyOf((yes, no))

    def equal(self, tree: Call, positive: Sign, _depth: int) -> Formula:
        """Return what `==` asks."""
        one, other = tree.args
        return self._equal(tree, one, other, positive)

    def unequal(self, tree: Call, positive: Sign, _depth: int) -> Formula:
        """Return what `!=` asks."""
        one, other = tree.args
        return self._equal(tree, one, other, not positive)

    def _equal(self, tree: Call, one: Tree, other: Tree, positive: Sign) -> Formula:
        known, known_other = self.constant(one), self.constant(other)
        if known is not None and known_other is not None:
            return AllOf() if (known == known_other) is positive else AnyOf()
        for side, constant in ((one, known_other), (other, known)):
            if constant is not None:
                if isinstance(constant.value, bool):
                    return self.of(side, constant.value is positive, 1)
                found = self._field(side)
                if found is None:
                    return _opaque(tree, positive)
                return _clause(tree, "equal", found, constant.value, positive)
        first, second = self._field(one), self._field(other)
        if first is None or second is None:
            return _opaque(tree, positive)
        return _clause(tree, "same", first, second.path, positive)

    def ordered(self, tree: Call, positive: Sign, _depth: int) -> Formula:
        """Return what an order asks."""
        one, other = tree.args
        function, constant = tree.function, self.constant(other)
        if constant is None:
            one, function, constant = other, _FLIPPED[function], self.constant(one)
        found = self._field(one)
        if found is None or constant is None:
            return _opaque(tree, positive)
        kind, is_so = _ORDERS[function]
        return _clause(tree, kind, found, constant.value, is_so is positive)

    def inside(self, tree: Call, positive: Sign, _depth: int) -> Formula:
        """Return what `in` asks."""
        sought, among = tree.args
        known, listed = self.constant(sought), self.constant(among)
        if listed is not None and isinstance(listed.value, tuple):
            return self._listed(tree, sought, listed.value, positive)
        found = self._field(among)
        if found is None:
            return _opaque(tree, positive)
        if known is not None:
            return _clause(tree, "member", found, known.value, positive)
        field = self._field(sought)
        if field is None:
            return _opaque(tree, positive)
        return _clause(tree, "among", field, found.path, positive)

    def _listed(
        self,
        tree: Call,
        sought: Tree,
        listed: tuple[object, ...],
        positive: Sign,
    ) -> Formula:
        known = self.constant(sought)
        if known is not None:
            return AllOf() if (known.value in listed) is positive else AnyOf()
        field = self._field(sought)
        if field is None:
            return _opaque(tree, positive)
        parts = tuple(_clause(tree, "equal", field, value, positive) for value in listed)
        return AnyOf(parts) if positive else AllOf(parts)

    def _text(self, tree: Tree, positive: Sign) -> Formula:
        """Return what `startsWith`, `matches` and `glob` ask."""
        if not isinstance(tree, Call):
            return _opaque(tree, positive)
        sides = tree.args if tree.target is None else (tree.target, *tree.args)
        if len(sides) != 2 or (tree.function != "glob" and tree.function not in _TEXTS):
            return _opaque(tree, positive)
        subject, pattern = sides
        if tree.function == "glob" and tree.target is None:
            subject, pattern = pattern, subject
        field, constant = self._field(subject), self.constant(pattern)
        if field is None or constant is None or not isinstance(constant.value, str):
            return _opaque(tree, positive)
        return _clause(tree, _TEXTS.get(tree.function, "glob"), field, constant.value, positive)

    def _fold(self, tree: Fold, positive: Sign, depth: int) -> Formula:
        if tree.kind not in {"exists", "all"} or len(tree.names) != 1:
            return _opaque(tree, positive)
        listed = self.constant(tree.range)
        if listed is not None and isinstance(listed.value, tuple):
            parts = tuple(
                _Builder(self._written, {**self._bound, tree.names[0]: value}).of(
                    tree.body, positive, depth
                )
                for value in listed.value[:_DEPTH_MAX]
            )
            return AnyOf(parts) if (tree.kind == "exists") is positive else AllOf(parts)
        members = self._members(tree) if tree.kind == "exists" else None
        if members is None:
            return _opaque(tree, positive)
        parts = tuple(_clause(tree, "member", members[0], one, positive) for one in members[1])
        return AnyOf(parts) if positive else AllOf(parts)

    def _members(self, tree: Fold) -> tuple[_Field, tuple[object, ...]] | None:
        """Return what `labels.exists(l, l in ['a', 'b'])` looks for, and where."""
        field, body = self._field(tree.range), tree.body
        if field is None or not isinstance(body, Call) or len(body.args) != 2:
            return None
        one, other = body.args
        if body.function not in {"_==_", "@in"} or not _is_bound(one, tree.names[0]):
            return None
        found = self.constant(other)
        if found is None:
            return None
        if body.function == "_==_":
            return field, (found.value,)
        return (field, found.value) if isinstance(found.value, tuple) else None

    def constant(self, tree: Tree) -> _Known | None:
        """Return the constant that `tree` is."""
        match tree:
            case Constant(value=value):
                return _Known(value)
            case ListOf(items=items, optional=optional) if not optional:
                found = [self.constant(item) for item in items]
                values = tuple(each.value for each in found if each is not None)
                return _Known(values) if len(values) == len(found) else None
            case Name(name=name, rooted=False) if name in self._bound:
                return _Known(self._bound[name])
            case Name(name=name) if name in self._written.variables:
                return self.constant(self._written.variables[name])
            case Call(function="timestamp" | "duration", args=(text,)):
                known = self.constant(text)
                is_text = known is not None and isinstance(known.value, str)
                return _Known(Instant(str(known.value))) if known is not None and is_text else None
            case Call(function="-_", args=(Constant(value=int() | float() as number),)):
                return _Known(-number)
            case _:
                return self._param(tree)

    def _param(self, tree: Tree) -> _Known | None:
        """Return the value of a parameter."""
        steps: list[str] = []
        while (link := linked(tree)) is not None:
            tree = link[0]
            steps.append(link[1])
        if not (isinstance(tree, Name) and tree.name == "params" and steps):
            return None
        held = self._written.params
        for step in reversed(steps):
            if not isinstance(held, dict) or step not in held:
                return None
            held = held[step]
        return None if isinstance(held, dict) else _Known(_plain(held))

    def _field(self, tree: Tree) -> _Field | None:
        """Return the field that `tree` reads."""
        if isinstance(tree, Name):
            return self._named(tree)
        if isinstance(tree, Select) and tree.test:
            return None
        link = linked(tree)
        if link is not None:
            above = self._field(link[0])
            return None if above is None else _Field(f"{above.path}.{link[1]}")
        if not isinstance(tree, Call):
            return None
        if tree.function == "orValue" and tree.target is not None:
            return self._defaulted(tree.target, tree.args[0])
        if tree.function == "entity":
            return self._entity(tree)
        return self._through(tree)

    def _named(self, tree: Name) -> _Field | None:
        if tree.name in self._written.variables:
            return self._field(self._written.variables[tree.name])
        return _Field(tree.name) if tree.rooted else None

    def _defaulted(self, target: Tree, default: Tree) -> _Field | None:
        found, known = self._field(target), self.constant(default)
        return _Field(found.path, known.value) if found is not None and known is not None else None

    def _entity(self, tree: Call) -> _Field | None:
        told = []
        for arg in tree.args:
            known, field = self.constant(arg), self._field(arg)
            if known is None and field is None:
                return None
            told.append(repr(known.value) if known is not None else str(field and field.path))
        return _Field(f"entity({', '.join(told)})")

    def _through(self, tree: Call) -> _Field | None:
        sides = tree.args if tree.target is None else (tree.target, *tree.args)
        found = self._field(sides[0]) if tree.function in _THROUGH and sides else None
        if found is None:
            return None
        if len(sides) > 1:
            return self._of_zone(tree, found, sides[1])
        default = found.default if tree.function != "size" else ABSENT
        if tree.function == "size" and isinstance(found.default, tuple | str):
            default = len(found.default)
        return _Field(f"{tree.function}({found.path})", default)

    def _of_zone(self, tree: Call, found: _Field, zone: Tree) -> _Field | None:
        """Return an hour, minute or day by the clock of somewhere."""
        known = self.constant(zone)
        if not (tree.function.startswith("get") and known is not None and len(tree.args) == 1):
            return None
        return _Field(f"{tree.function}({found.path}, {known.value!r})")


_Build = Callable[[_Builder, Call, Sign, int], Formula]
_CALLS: Final[Mapping[str, _Build]] = {
    "_&&_": _Builder.both,
    "_||_": _Builder.either,
    "!_": _Builder.negated,
    "_?_:_": _Builder.chosen,
    "_==_": _Builder.equal,
    "_!=_": _Builder.unequal,
    "@in": _Builder.inside,
    **dict.fromkeys(_ORDERS, _Builder.ordered),
}


def _is_bound(tree: Tree, name: str) -> bool:
    return isinstance(tree, Name) and tree.name == name and not tree.rooted


def _plain(value: Json) -> object:
    """Return a parameter as a constant: lists as tuples, so that clauses can be compared."""
    return tuple(map(_plain, value)) if isinstance(value, list) else value


def _clause(
    tree: Tree,
    kind: Kind,
    field: _Field,
    value: object,
    positive: Sign,
) -> Clause:
    return Clause(kind, field.path, value, positive, field.default, tree.start, tree.end)


def _has(tree: Tree, field: _Field, positive: Sign) -> Clause:
    return Clause("has", field.path, None, positive, ABSENT, tree.start, tree.end)


def _opaque(tree: Tree, positive: Sign) -> Clause:
    # Its place makes it one of its own: nothing is concluded from two of them.
    return Clause(
        "opaque", f"{tree.start}:{tree.end}", None, positive, ABSENT, tree.start, tree.end
    )
