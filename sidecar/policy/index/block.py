"""Many conditions as one function: their roots are read once, and nothing is called between them.

```
def main(d, f, held, unsure):
 r_1 = d['subject']
 try: w_2 = <a variable>
 except gives_up: pass
 try:
  if <condition 0>: held(0)
 except gives_up: unsure(0)
```
Each condition is the code that it has by itself (`emit`), with a budget of its own. One that gives
up is named unsure and asked exactly, alone. A variable is computed once, before the first condition
that uses it; where it has no value its local stays unbound, and whoever reads it is unsure.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, cast

from sidecar.policy.language.facts import FACT_NAMES
from sidecar.policy.language.running.emit import MAIN, NO_FORM, Emitter, made, path_of
from sidecar.policy.language.running.scope import BUDGET, GIVES_UP, Piece
from sidecar.policy.language.tree import Call, Select, Tree
from sidecar.policy.language.walk import children, nodes
from sidecar.terms.decision import Facts

Note: TypeAlias = Callable[[int], object]
# Data, facts, and who is told the numbers of conditions that hold, and of those that gave up.
Block: TypeAlias = Callable[[Any, Facts, Note, Note], object]
_GIVES_UP: Final = (*GIVES_UP, UnboundLocalError)


class Clause(NamedTuple):
    """One condition: its number, its tree (None always holds), its variables by full name."""

    number: int
    tree: Tree | None
    variables: tuple[tuple[str, Tree], ...]


def block(clauses: Sequence[Clause], variables: Collection[str]) -> Block:
    """Return the function of these conditions.

    Args:
        clauses: Checked; the variables of each in an order in which they can be computed.
        variables: The full names that stand for data; other rooted names are types.
    """
    try:
        writer = _BlockWriter(variables)
        lines = writer.fields(clauses)
        lines += [line for clause in clauses for line in writer.clause(clause)]
        return cast("Block", made(writer.source(lines), writer.emitter.scope.known))
    except NO_FORM:
        # Brackets too deep for Python in one of them: the others keep their code.
        return _halves(clauses, variables)


def _shared_paths(trees: list[Tree]) -> list[tuple[str, ...]]:
    """Return the fields that are read at least twice, and are nowhere asked for with `has`."""
    counts: Counter[tuple[str, ...]] = Counter()
    tested = set()
    for tree in trees:
        for node in nodes(tree):
            if isinstance(node, Select) and node.test:
                tested.add((*(path_of(node.operand) or ()), node.field))
        counts.update(_whole_paths(tree))
    return [
        path
        for path, count in counts.items()
        if count > 1 and not any(path[: len(one)] == one for one in tested)
    ]


def _whole_paths(tree: Tree) -> list[tuple[str, ...]]:
    """Return the paths in a tree, each as far as it goes."""
    found = []
    rest = [tree]
    while rest:
        node = rest.pop()
        path = path_of(node)
        if path is None:
            rest += children(node)
        elif len(path) > 1:
            found.append(path)
    return found


def asks_facts(tree: Tree) -> bool:
    """Return whether an expression may ask for facts."""
    return any(
        isinstance(node, Call) and (node.function, len(node.args)) in FACT_NAMES
        for node in nodes(tree)
    )


def _halves(clauses: Sequence[Clause], variables: Collection[str]) -> Block:
    if len(clauses) == 1:
        number = clauses[0].number
        return lambda _data, _facts, _held, unsure: unsure(number)
    middle = len(clauses) // 2
    first, second = block(clauses[:middle], variables), block(clauses[middle:], variables)

    def both(data: object, facts: Facts, held: Note, unsure: Note) -> None:
        first(data, facts, held, unsure)
        second(data, facts, held, unsure)

    return both


class _BlockWriter:
    def __init__(self, variables: Collection[str]) -> None:
        self.emitter = Emitter(variables)
        self.emitter.scope.known["gives_up"] = _GIVES_UP
        # Policies name their variables as they like; a tree is one variable of one policy.
        self._locals: dict[int, Piece | None] = {}

    def source(self, lines: list[str]) -> str:
        scope = self.emitter.scope
        read = [f" {name} = d[{full!r}]" for full, name in scope.roots.items()]
        head = f"def {MAIN}(d, f, held, unsure):"
        return "\n".join([*scope.functions, head, *read, *lines, " return None", ""])

    def fields(self, clauses: Sequence[Clause]) -> list[str]:
        """Return the lines that read what several conditions read.

        Where a field is absent its local stays unbound, as a variable's does. What some condition
        asks for with `has` is read where that is known.
        """
        trees = [clause.tree for clause in clauses if clause.tree is not None]
        scope = self.emitter.scope
        lines = []
        for path in _shared_paths(trees):
            if path[0] not in scope.variables:
                continue
            name, root = scope.fresh("p"), scope.root(path[0])
            code = root + "".join(f"[{field!r}]" for field in path[1:])
            lines += [" try:", f"  {name} = {code}", " except gives_up: pass"]
            scope.fields[path] = name
        return lines

    def clause(self, clause: Clause) -> list[str]:
        """Return the lines of one condition, with those of its variables that are not there yet."""
        number = clause.number
        if clause.tree is None and not clause.variables:
            return [f" held({number})"]
        scope = self.emitter.scope
        scope.given = {}
        lines: list[str] = []
        touched: list[str] = []
        for full, tree in clause.variables:
            if id(tree) not in self._locals:
                lines += self._variable(tree)
            piece = self._locals[id(tree)]
            if piece is None:
                return [*lines, f" unsure({number})"]
            scope.given[full] = piece
            if asks_facts(tree):
                # What a variable lacks is asked for even where the condition never reads it.
                touched.append(f"  {piece.code}")
        return [*lines, *self._condition(clause, touched)]

    def _variable(self, tree: Tree) -> list[str]:
        name = self.emitter.scope.fresh("w")
        piece = self._begun(tree)
        self._locals[id(tree)] = None if piece is None else Piece(name, piece.kind)
        if piece is None:
            return []
        return [" try:", *self._budget(), f"  {name} = {piece.code}", " except gives_up: pass"]

    def _condition(self, clause: Clause, touched: list[str]) -> list[str]:
        number = clause.number
        if clause.tree is None:
            asked = f"  held({number})"
        else:
            code = self._begun_condition(clause.tree)
            if code is None:
                return [f" unsure({number})"]
            asked = f"  if {code}: held({number})"
        return [" try:", *touched, *self._budget(), asked, f" except gives_up: unsure({number})"]

    def _budget(self) -> list[str]:
        return [f"  b = [{BUDGET}]"] if self.emitter.folds > 1 else []

    def _begun(self, tree: Tree) -> Piece | None:
        try:
            return self.emitter.begin(tree)
        except NO_FORM:
            self.emitter.scope.abandon()
            return None

    def _begun_condition(self, tree: Tree) -> str | None:
        try:
            return self.emitter.begin_condition(tree)
        except NO_FORM:
            self.emitter.scope.abandon()
            return None
