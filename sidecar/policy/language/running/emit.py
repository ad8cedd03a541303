"""Optimistic Python code for an expression: right where it has a value, silent where it is unsure.

CEL is pure, so nothing is lost by a second evaluation. The code uses Python's `and`, `or` and
loops, which know no absorbed faults, and reads fields by subscript; where anything is not as it
hopes it raises, and the exact evaluator is asked. INVARIANT: a value that the code returns is the
value that `exact` has, for every input of JSON values.

Functions are made of code objects directly: nothing is executed while they are compiled, and they
reach only the globals of `scope`, among which are no builtins.
"""

from collections.abc import Callable, Collection
from types import CodeType, FunctionType
from typing import Any, Final, TypeAlias, cast

from sidecar.policy.language import tree as cel
from sidecar.policy.language.facts import FACT_NAMES
from sidecar.policy.language.functions import FUNCTIONS
from sidecar.policy.language.running import cost, forms, loops
from sidecar.policy.language.running.ahead.constants import constants
from sidecar.policy.language.running.scope import BUDGET, Piece, Scope, Unsure
from sidecar.policy.language.values import TYPES, Maybe, Uint
from sidecar.policy.language.walk import nodes
from sidecar.terms.decision import Facts

Fast: TypeAlias = Callable[[Any, Facts], object]
MAIN: Final = "main"
# Python bounds how deep brackets nest, well above what people write.
NO_FORM: Final = (Unsure, SyntaxError, RecursionError, MemoryError)
_CHAINS: Final = {"_&&_": " and ", "_||_": " or "}
# Types that tell which short form is right; of the others only that they are not these.
_KINDS: Final = {
    "bool": "bool",
    "int": "int",
    "string": "string",
    "list": "list",
    "optional": "maybe",
}

_VALUES: Final = {bool: "bool", int: "int", str: "string", list: "list", Maybe: "maybe"}


def emitted(tree: cel.Tree, variables: Collection[str]) -> Fast | None:
    """Return a function of data and facts, or None where there is no fast form.

    The function raises one of `scope.GIVES_UP` where the exact evaluator must be asked.

    Args:
        tree: As the checker returns it.
        variables: The full names that stand for data; every other rooted name is a type.
    """
    writer = Emitter(variables)
    try:
        body = writer.begin(tree)
        return cast("Fast", made(writer.source(body), writer.scope.known))
    except NO_FORM:
        return None


def made(source: str, known: dict[str, object]) -> Callable[..., object]:
    """Return the function `main` of a module of functions, without running any of it."""
    module = compile(source, "<expression>", "exec", dont_inherit=True, optimize=0)
    for code in module.co_consts:
        if isinstance(code, CodeType):
            known[code.co_name] = FunctionType(code, known)
    return cast("Callable[..., object]", known[MAIN])


class Emitter:
    """Writes expressions, one after another; see `scope.Writer`."""

    def __init__(self, variables: Collection[str]) -> None:
        self.scope = Scope(variables)
        self.folds = 0
        self.constants: dict[int, object] = {}

    def begin(self, tree: cel.Tree) -> Piece:
        """Return the code of an expression, which has a budget of its own."""
        self._begun(tree)
        return self.visit(tree)

    def begin_condition(self, tree: cel.Tree) -> str:
        """Return the code of a condition, of which nothing is known but that it must be a bool."""
        self._begun(tree)
        return self.condition(tree)

    def _begun(self, tree: cel.Tree) -> None:
        self.folds = sum(isinstance(node, cel.Fold) for node in nodes(tree))
        self.constants = constants(tree)

    def source(self, body: Piece) -> str:
        """Return the module: the loops, and the function that begins with reading the roots."""
        read = [f" {name} = d[{full!r}]" for full, name in self.scope.roots.items()]
        lines = [f"def {MAIN}(d, f):", *read, f" b = [{BUDGET}]", f" return {body.code}"]
        if self.folds < 2:
            lines.remove(f" b = [{BUDGET}]")
        return "\n".join([*self.scope.functions, *lines, ""])

    def visit(self, tree: cel.Tree) -> Piece:
        """Return the code of a node."""
        return _VISITS[type(tree)](self, tree)

    def condition(self, tree: cel.Tree) -> str:
        """Return code whose value is `True` or `False`, of a node that must be a bool."""
        piece = self.visit(tree)
        if piece.kind == "bool":
            return piece.code
        first, again = self.scope.once(piece)
        return f"({first} is True or {again} is not False and give_up())"

    # Names, fields, literals.

    def constant(self, tree: cel.Constant) -> Piece:
        """Return a literal."""
        if tree.kind == "uint":
            assert isinstance(tree.value, int)
            return Piece(self.scope.constant(Uint(tree.value)), "uint")
        text = repr(tree.value)
        return Piece(f"({text})" if text.startswith("-") else text, tree.kind)

    def name(self, tree: cel.Name) -> Piece:
        """Return a local, a variable or a type."""
        if not tree.rooted:
            return Piece(self.scope.local(tree.name))
        if tree.name in self.scope.given:
            given = self.scope.given[tree.name]
            return Piece(self.scope.read(given.code), given.kind)
        if tree.name in self.scope.variables:
            return Piece(self.scope.root(tree.name))
        kind = TYPES.get(tree.name)
        if kind is None:
            raise Unsure
        return Piece(self.scope.constant(kind))

    def select(self, tree: cel.Select) -> Piece:
        """Return the reading of a field."""
        if self.scope.fields and (known := self.scope.fields.get(path_of(tree) or ())):
            return Piece(self.scope.read(known))
        operand = self.visit(tree.operand)
        field = repr(tree.field)
        if tree.optional:
            return Piece(f"optional_select({operand.code}, {field})", "maybe")
        if tree.test:
            first, again = self.scope.once(operand)
            asked = f"{field} in {again} if type({first}) is dict"
            return Piece(f"({asked} else has_field({again}, {field}))", "bool")
        if operand.kind == "maybe":
            return Piece(f"select({operand.code}, {field})", "maybe")
        return forms.field_of(operand, tree.field)

    # Calls.

    def call(self, tree: cel.Call) -> Piece:
        """Return a call, whatever its function is."""
        if id(tree) in self.constants:
            value = self.constants[id(tree)]
            return Piece(self.scope.constant(value), _VALUES.get(type(value), "dyn"))
        name = tree.function
        if name in _CHAINS:
            clauses = [self.condition(each) for each in _chain(tree, name)]
            return Piece(f"({_CHAINS[name].join(clauses)})", "bool")
        args = tree.args if tree.target is None else (tree.target, *tree.args)
        form = forms.FORMS.get((name, tree.target is not None, len(tree.args)))
        piece = form(self, args) if form else None
        return piece or self._strict(tree, args)

    def _strict(self, tree: cel.Call, args: tuple[cel.Tree, ...]) -> Piece:
        codes = [self.visit(arg).code for arg in args]
        if tree.target is None and (tree.function, len(codes)) in FACT_NAMES:
            asked = ", ".join([self.scope.read("f"), repr(tree.function), *codes])
            return Piece(f"fact({asked})")
        declared = FUNCTIONS.get((tree.function, tree.target is not None, len(tree.args)))
        if declared is None:
            raise Unsure
        if declared.is_metered and (self.scope.is_inside or not _is_literal(args[1])):
            # How much it will have to pay is not known before.
            raise Unsure
        called = f"{self.scope.constant(declared.call)}({', '.join(codes)})"
        if self.scope.is_inside and not cost.is_free(declared):
            if tree.function in cost.DEEP or tree.function == cost.PAIRS:
                raise Unsure
            called = f"light({', '.join([self.scope.constant(declared.call), *codes])})"
        results = {_KINDS.get(each.result.name, "dyn") for each in declared.signatures}
        return Piece(called, results.pop() if len(results) == 1 else "dyn")

    # Aggregates and macros.

    def list_of(self, tree: cel.ListOf) -> Piece:
        """Return the making of a list."""
        codes = [self.visit(item).code for item in tree.items]
        for at in tree.optional:
            codes[at] = f"*held({codes[at]})"
        return Piece(f"[{', '.join(codes)}]", "list")

    def map_of(self, tree: cel.MapOf) -> Piece:
        """Return the making of a map."""
        if tree.optional:
            raise Unsure
        entries = [(self.visit(key).code, self.visit(value).code) for key, value in tree.entries]
        keys = [key.value if isinstance(key, cel.Constant) else None for key, _ in tree.entries]
        if all(isinstance(key, str) for key in keys) and len(set(keys)) == len(keys):
            return Piece(f"{{{', '.join(f'{key}: {value}' for key, value in entries)}}}", "map")
        return Piece(f"map_of({', '.join(f'({key}, {value})' for key, value in entries)})", "map")

    def message_of(self, _tree: cel.MessageOf) -> Piece:
        """Return nothing: the exact evaluator knows the few there are."""
        raise Unsure

    def fold(self, tree: cel.Fold) -> Piece:
        """Return a macro."""
        return loops.loop(self, tree)

    def bind(self, tree: cel.Bind) -> Piece:
        """Return a body that knows one more name."""
        return loops.bind(self, tree)


def _is_literal(tree: cel.Tree) -> bool:
    return isinstance(tree, cel.Constant) and type(tree.value) is str


def path_of(tree: cel.Tree) -> tuple[str, ...] | None:
    """Return the variable and the fields of `variable.field.field`, None for anything else."""
    fields: list[str] = []
    while isinstance(tree, cel.Select) and not tree.optional and not tree.test:
        fields.append(tree.field)
        tree = tree.operand
    if not isinstance(tree, cel.Name) or not tree.rooted:
        return None
    return (tree.name, *reversed(fields))


def _chain(tree: cel.Tree, function: str) -> list[cel.Tree]:
    """Return the clauses of a chain of `&&` or `||`, however it is bracketed."""
    found: list[cel.Tree] = []
    rest = [tree]
    while rest:
        node = rest.pop()
        if isinstance(node, cel.Call) and node.function == function:
            rest += reversed(node.args)
        else:
            found.append(node)
    return found


# The tree is a closed union; each method takes the one kind of node that it stands beside.
_VISITS: Final[dict[type, Callable[[Emitter, Any], Piece]]] = {
    cel.Constant: Emitter.constant,
    cel.Name: Emitter.name,
    cel.Select: Emitter.select,
    cel.Call: Emitter.call,
    cel.ListOf: Emitter.list_of,
    cel.MapOf: Emitter.map_of,
    cel.MessageOf: Emitter.message_of,
    cel.Fold: Emitter.fold,
    cel.Bind: Emitter.bind,
}
