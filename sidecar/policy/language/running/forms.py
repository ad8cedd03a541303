"""Short forms of calls: what Python can do by itself where types are as they mostly are.

Each form looks at the types first, or is right for every type. A literal on one side says most: a
value equals `'x'` in Python exactly when it does in CEL. Where a form does not fit it returns None,
and the function itself is called.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from sidecar.policy.language.faults import Fault
from sidecar.policy.language.functions.extensions.patterns import SEARCH_STEP, compiled
from sidecar.policy.language.running.cost import LIGHT, SEARCH_LIGHT
from sidecar.policy.language.running.scope import Form, Piece, Unsure, Writer
from sidecar.policy.language.tree import Constant, ListOf, Select, Tree
from sidecar.policy.language.values.limits import PATTERN_STEPS_MAX

# Beyond, an integer and the double nearest to it are no longer one to Python, and are to CEL.
_EXACT_MAX: Final = 2**53


def _literal(tree: Tree) -> Constant | None:
    return tree if isinstance(tree, Constant) else None


def _is_string(tree: Tree) -> bool:
    return isinstance(tree, Constant) and tree.kind == "string"


def _is_long(writer: Writer, tree: Tree) -> bool:
    """Return whether a literal is a text that costs something to be compared with."""
    if not writer.scope.is_inside or not isinstance(tree, Constant):
        return False
    return isinstance(tree.value, str) and len(tree.value) >= LIGHT


def _is_number(tree: Constant) -> bool:
    value = tree.value
    return tree.kind in {"int", "double"} and abs(value) < _EXACT_MAX  # type: ignore[arg-type]  # a number


def _equal(writer: Writer, args: tuple[Tree, ...], *, negated: bool = False) -> Piece | None:
    literal = _literal(args[1]) or _literal(args[0])
    if (_literal(args[0]) and _literal(args[1])) or any(_is_long(writer, one) for one in args):
        return None
    if literal is None:
        return _equal_unknown(writer, args, negated=negated)
    other = args[0] if literal is args[1] else args[1]
    if literal.kind in {"null", "bool"}:
        code = f"({writer.visit(other).code} is {'not ' * negated}{literal.value!r})"
    elif literal.kind == "string":
        code = f"({writer.visit(other).code} {'!=' if negated else '=='} {literal.value!r})"
    elif _is_number(literal):
        first, again = writer.scope.once(writer.visit(other))
        # To Python true is one and false is zero.
        odd = f" and {again} is not {bool(literal.value)}" if literal.value in {0, 1} else ""
        code = f"({'not ' * negated}({first} == ({literal.value!r}){odd}))"
    else:
        return None
    return Piece(code, "bool")


def _equal_unknown(writer: Writer, args: tuple[Tree, ...], *, negated: bool) -> Piece:
    """Return a comparison that is Python's where the left side is a string."""
    one, one_again = writer.scope.once(writer.visit(args[0]))
    # Both are evaluated before either is looked at, in their order.
    other = writer.visit(args[1])
    name = writer.scope.fresh("t")
    sides = f"{one_again} == {name}"
    asked = f"{sides} if type({one}) is type({name} := {other.code}) is str"
    if writer.scope.is_inside:
        asked += f" and len({name}) < {LIGHT}"
    compare = "equal_flat" if writer.scope.is_inside else "equal"
    return Piece(f"({'not ' * negated}({asked} else {compare}({one_again}, {name})))", "bool")


_CONTAINS: Final = "{1} in {0}"
_MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _ordered(writer: Writer, args: tuple[Tree, ...], *, sign: str) -> Piece | None:
    if isinstance(args[0], Constant):
        args, sign = args[::-1], _MIRRORED[sign]
    literal = _literal(args[1])
    if literal is None or _is_long(writer, literal):
        return None
    if literal.kind == "string":
        wanted = "type({0}) is str"
    elif _is_number(literal):
        wanted = "type({0}) is int or type({1}) is float"
    else:
        return None
    operand = writer.visit(args[0])
    if operand.kind == "int" and literal.kind == "int":
        return Piece(f"({operand.code} {sign} ({literal.value!r}))", "bool")
    first, again = writer.scope.once(operand)
    asked = wanted.format(first, again)
    return Piece(f"({again} {sign} ({literal.value!r}) if {asked} else give_up())", "bool")


def _in(writer: Writer, args: tuple[Tree, ...]) -> Piece:
    needle, container = args
    if isinstance(container, ListOf) and all(map(_is_string, container.items)):
        texts = [item.value for item in container.items if isinstance(item, Constant)]
        if 0 < len(texts) < (SEARCH_LIGHT if writer.scope.is_inside else LIGHT):
            # A list or map is in no set, and has no place in one: asking raises.
            listed = ", ".join(map(repr, texts))
            return Piece(f"({writer.visit(needle).code} in {{{listed}}})", "bool")
    if _is_string(needle):
        text = writer.visit(needle).code
        first, again = writer.scope.once(writer.visit(container))
        asked = f"type({first}) is dict or type({again}) is list{_short(writer, again)}"
        return Piece(f"({text} in {again} if {asked} else give_up())", "bool")
    one, other = writer.scope.fresh("t"), writer.scope.fresh("t")
    sought, held = writer.visit(needle).code, writer.visit(container).code
    is_held = f"type({other} := {held}) is dict or type({other}) is list{_short(writer, other)}"
    # `&` evaluates both sides, so that both have their names whichever way it goes.
    asked = f"(type({one} := {sought}) is str) & ({is_held})"
    search = "contains_flat" if writer.scope.is_inside else "contains"
    return Piece(f"({one} in {other} if {asked} else {search}({one}, {other}))", "bool")


def _short(writer: Writer, name: str) -> str:
    """Return the question whether searching a list is free, where it may not be."""
    return f" and len({name}) < {SEARCH_LIGHT}" if writer.scope.is_inside else ""


def _text(writer: Writer, args: tuple[Tree, ...], *, form: str) -> Piece | None:
    """Return a question about a text, where what is asked for is a literal."""
    if not _is_string(args[1]) or _is_long(writer, args[1]):
        return None
    if writer.scope.is_inside and form == _CONTAINS:
        return None
    first, again = writer.scope.once(writer.visit(args[0]))
    asked = form.format(again, writer.visit(args[1]).code)
    return Piece(f"({asked} if type({first}) is str else give_up())", "bool")


def _size(writer: Writer, args: tuple[Tree, ...]) -> Piece:
    first, again = writer.scope.once(writer.visit(args[0]))
    return Piece(f"(len({again}) if type({first}) in sized else give_up())", "int")


def field_of(operand: Piece, field: str) -> Piece:
    """Return what a map has at a string, of which no other type of the language has anything."""
    if operand.kind not in {"dyn", "map"}:
        raise Unsure
    return Piece(f"{operand.code}[{field!r}]")


def _index(writer: Writer, args: tuple[Tree, ...]) -> Piece | None:
    key = args[1]
    if not isinstance(key, Constant):
        return None
    if isinstance(key.value, str):
        operand = writer.visit(args[0])
        if operand.kind == "maybe":
            return Piece(f"index({operand.code}, {key.value!r})", "maybe")
        return field_of(operand, key.value)
    if key.kind != "int" or not isinstance(key.value, int) or key.value < 0:
        return None
    first, again = writer.scope.once(writer.visit(args[0]))
    found = f"{again}[{key.value}] if type({first}) is list"
    return Piece(f"({found} else index({again}, {key.value}))")


def _choice(writer: Writer, args: tuple[Tree, ...]) -> Piece:
    asked = writer.condition(args[0])
    then, otherwise = writer.visit(args[1]), writer.visit(args[2])
    kind = then.kind if then.kind == otherwise.kind else "dyn"
    return Piece(f"({then.code} if {asked} else {otherwise.code})", kind)


def _not(writer: Writer, args: tuple[Tree, ...]) -> Piece:
    return Piece(f"(not {writer.condition(args[0])})", "bool")


def _or_value(writer: Writer, args: tuple[Tree, ...]) -> Piece:
    """Return `a.?b.orValue(c)` without an optional, where `a` is a map."""
    optional, instead = args
    if isinstance(optional, Select) and optional.optional:
        operand = writer.visit(optional.operand)
        if operand.kind != "maybe":
            first, again = writer.scope.once(operand)
            field = repr(optional.field)
            found = f"{again}[{field}] if {field} in {again} else {writer.visit(instead).code}"
            return Piece(f"(({found}) if type({first}) is dict else give_up())")
    first, again = writer.scope.once(writer.visit(optional))
    found = f"{again}.value if {again}.has else {writer.visit(instead).code}"
    return Piece(f"(({found}) if type({first}) is maybe else give_up())")


def _matches(writer: Writer, args: tuple[Tree, ...]) -> Piece | None:
    """Return a match of a literal pattern, compiled once."""
    pattern = args[1]
    if not isinstance(pattern, Constant) or not isinstance(pattern.value, str):
        return None
    try:
        program = compiled(pattern.value)
    except Fault:
        return None
    # In a macro only what is free.
    work_max = SEARCH_STEP - 1 if writer.scope.is_inside else PATTERN_STEPS_MAX
    bytes_max = work_max // program.programsize
    matched = writer.scope.constant(_matcher(program.search, bytes_max))
    text = writer.visit(args[0]).code
    return Piece(f"{matched}({text})", "bool")


def _matcher(search: Callable[[bytes, int], object], bytes_max: int) -> Callable[[object], bool]:
    def matched(text: object) -> bool:
        if type(text) is not str:
            raise Unsure
        data = text.encode()
        if len(data) > bytes_max:
            raise Unsure
        return search(data, 0) is not None

    return matched


FORMS: Final[dict[tuple[str, bool, int], Form]] = {
    ("_==_", False, 2): _equal,
    ("_!=_", False, 2): partial(_equal, negated=True),
    ("_<_", False, 2): partial(_ordered, sign="<"),
    ("_<=_", False, 2): partial(_ordered, sign="<="),
    ("_>_", False, 2): partial(_ordered, sign=">"),
    ("_>=_", False, 2): partial(_ordered, sign=">="),
    ("@in", False, 2): _in,
    ("startsWith", True, 1): partial(_text, form="{0}.startswith({1})"),
    ("endsWith", True, 1): partial(_text, form="{0}.endswith({1})"),
    ("contains", True, 1): partial(_text, form=_CONTAINS),
    ("size", False, 1): _size,
    ("size", True, 0): _size,
    ("_[_]", False, 2): _index,
    ("_?_:_", False, 3): _choice,
    ("!_", False, 1): _not,
    ("orValue", True, 1): _or_value,
    ("matches", True, 1): _matches,
    ("matches", False, 2): _matches,
}
