"""A bench for expressions: names that stand for values, and what people ask of an expression.

What the type checker refuses is evaluated all the same, as the dynamic language that CEL is; if
that fails, what the checker said is more to the point. Every failure has its place: the part that
the checker or the parser names, or the innermost part that erred.
"""

from collections.abc import Callable, Mapping

from sidecar.policy.language import Limits
from sidecar.policy.language.checking.checker import Checked, check
from sidecar.policy.language.checking.estimate import estimate
from sidecar.policy.language.expression import environment
from sidecar.policy.language.faults import Fault
from sidecar.policy.language.reading.lexer import SyntaxProblem, place
from sidecar.policy.language.reading.parser import parse
from sidecar.policy.language.running.explain import Explained, Explainer, Part
from sidecar.policy.language.running.program import Program
from sidecar.policy.language.running.state import STEPS_MAX, MissingFacts
from sidecar.policy.language.spans import pointed
from sidecar.policy.language.telling import Explanation
from sidecar.policy.language.types import DYN, AnyType
from sidecar.policy.language.values import to_json, untyped
from sidecar.policy.trial import from_json
from sidecar.policy.vocabulary.values import type_of_value
from sidecar.terms.call import Json
from sidecar.terms.decision import Fact, FactKey, Facts
from sidecar.terms.errors import EnvelopeError, TrialError

_LIMITS = Limits(characters=1_000_000)
Fetch = Callable[[frozenset[FactKey]], Facts]


def no_facts(_keys: frozenset[FactKey]) -> Facts:
    """Return none: a bench without a configuration has nobody to ask."""
    return {}


class Bench:
    """Names, and what they stand for.

    Attributes:
        names: In the types of the language, by full name (`subject`, `variables.x`).
        types: What is known of names beyond their values; a rule's roots, for example.
    """

    def __init__(self, types: Mapping[str, AnyType] | None = None, fetch: Fetch = no_facts) -> None:
        self.names: dict[str, object] = {}
        self.types: dict[str, AnyType] = dict(types or {})
        self._facts: dict[FactKey, Fact] = {}
        self._fetch = fetch

    def give(self, name: str, value: Json) -> None:
        """Let a name stand for a value of JSON.

        Raises:
            EnvelopeError: An integer in it is beyond the language's.
        """
        try:
            self.names[name] = untyped(from_json(value))
        except Fault as fault:
            raise EnvelopeError(f"`{name}`: {fault}") from None

    def value(self, source: str) -> object:
        """Return the value of an expression. Raises TrialError."""
        checked = self._checked(source)
        program = Program(checked.tree, self.names)
        for _ in range(2):
            try:
                return program.run(self.names, self._facts)
            except MissingFacts as missing:
                self._facts.update(self._fetch(missing.keys))
                absent = missing.keys - self._facts.keys()
                if absent:
                    break
            except Fault:
                raise self._failed(source, checked) from None
        raise TrialError("it asks for a fact, and without a configuration there is none")

    def explanation(self, source: str) -> Explanation:
        """Return what every part of an expression comes to. Raises TrialError where none does."""
        checked = self._checked(source)
        return Explanation(source, self._explained(checked).part)

    def type_of(self, source: str) -> str:
        """Return the type of an expression as the checker sees it. Raises TrialError."""
        typed = {
            name: self.types.get(name) or type_of_value(to_json(value), name)
            for name, value in self.names.items()
        }
        checked = self._checked(source, {**self.types, **typed})
        for problem in checked.problems:
            raise _wrong(source, problem.start, problem.end, problem.text)
        return str(checked.type)

    def cost_of(self, source: str) -> str:
        """Return what an expression may cost, and from which length on it costs too much."""
        found = estimate(self._checked(source).tree, self._length)
        beyond = found.exceeds_from
        limit = f", beyond the budget of {STEPS_MAX} from n = {beyond} on" if beyond else ""
        if found.is_certain:
            limit = f", always beyond the budget of {STEPS_MAX}"
        return f"{found.steps} steps for lists of n{limit}"

    def is_open(self, source: str) -> bool:
        """Return whether an expression goes on: it ends where something more is expected."""
        try:
            parse(source, _LIMITS)
        except SyntaxProblem as problem:
            at_end = problem.end >= len(source.rstrip()) and "found the end" in problem.text
            return at_end or "is not closed by '''" in problem.text or '"""' in problem.text
        return False

    def _length(self, path: str) -> int | None:
        root, *rest = path.split(".")
        held = self.names.get(root)
        for key in rest:
            held = held.get(key) if type(held) is dict else None
        return len(held) if isinstance(held, list | dict) else None

    def _checked(self, source: str, types: Mapping[str, AnyType] | None = None) -> Checked:
        try:
            tree = parse(source, _LIMITS)
        except SyntaxProblem as problem:
            raise _wrong(source, problem.start, problem.end, problem.text) from None
        return check(tree, environment(types or dict.fromkeys(self.names, DYN)))

    def _explained(self, checked: Checked) -> Explained:
        explainer = Explainer(checked.tree, self.names)
        found = explainer.explain(self.names, self._facts)
        if found.missed:
            self._facts.update(self._fetch(found.missed))
            found = explainer.explain(self.names, self._facts)
        return found

    def _failed(self, source: str, checked: Checked) -> TrialError:
        for problem in checked.problems:
            return _wrong(source, problem.start, problem.end, problem.text)
        part = _innermost(self._explained(checked).part)
        return _wrong(source, part.tree.start, part.tree.end, part.error or "")


def _innermost(part: Part) -> Part:
    """Return the innermost part that erred: an outer one has its error from it."""
    below = list(part.parts)
    if part.rounds is not None:
        below += (each for one in part.rounds.kept for each in one.parts)
    for each in below:
        if each.error is not None and each.error == part.error:
            return _innermost(each)
    return part


def _wrong(source: str, start: int, end: int, text: str) -> TrialError:
    line, column = place(source, start)
    error = TrialError(f"{line}:{column}: {text}")
    error.add_note(pointed(source, start, end))
    return error
