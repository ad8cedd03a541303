"""Every mutant of a bundle: one policy document with one mistake in it.

Documents are changed as they were read, not as they were written: positions stay those of the file,
and layout plays no part. A mutant that does not load is none, so nothing here need ask for types.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from sidecar.policy.bundle import Bundle
from sidecar.policy.rules import Rule
from sidecar.review.coverage.sites import FIELDS, decides
from sidecar.review.mutation.edits import edits
from sidecar.review.trees import WHEN, sources_of, trees_of
from sidecar.syntax.scalars import place_in
from sidecar.syntax.yaml12 import Document, Step
from sidecar.terms.call import Json

Path = tuple[Step, ...]
# What becomes of a rule's effect; obligations that cannot stand on the new one go with it.
_FLIPPED: Final = {
    "allow": "deny",
    "deny": "allow",
    "modify": "deny",
    "step_up": "allow",
    "defer": "allow",
}
_TOLD_MAX: Final = 200


class Mutant(msgspec.Struct, frozen=True):
    """One mistake.

    Attributes:
        rule: Whose it is: `policy/rule`, or `policy/` for what all its rules share.
        what: The mistake.
        where: `file:line:column` of what was changed.
        before: The field that was changed, as it is.
        after: The same as the mutant has it.
        widens: Whether rules may now speak of more than before.
        document: The policy with the mistake in it.
    """

    rule: str
    what: str
    where: str
    before: str
    after: str
    widens: bool
    document: Document

    @property
    def policy(self) -> str:
        """Return the name of the policy."""
        return self.rule.partition("/")[0]


def mutants_of(bundle: Bundle) -> Iterator[Mutant]:
    """Yield every mutant of a bundle, in the order of its files."""
    rules = {rule.key: rule for rule in bundle.rules}
    for document in bundle.policy_documents:
        maker = _Maker(document, bundle.files[document.name].decode())
        yield from maker.of_policy([rules[key] for key in maker.keys])


class _Maker:
    """Makes the mutants of one policy document."""

    def __init__(self, document: Document, text: str) -> None:
        self._document = document
        self._text = text
        self._name = document.value["metadata"]["name"]
        self._rules: list[dict[str, Json]] = document.value["spec"]["rules"]

    @property
    def keys(self) -> list[str]:
        """Return `policy/rule` of every rule."""
        return [f"{self._name}/{rule['id']}" for rule in self._rules]

    def of_policy(self, rules: list[Rule]) -> Iterator[Mutant]:
        """Yield what can be wrong with what all rules share, then with each of them."""
        owner = f"{self._name}/"
        yield from self._of_match(owner, ("spec", "match"))
        told: set[str] = set()
        for rule in rules:
            for name, _ in rule.variables:
                if name not in told:
                    told.add(name)
                    at = ("spec", "variables", name)
                    yield from self._of_expression(owner, rule, f"variables.{name}", at)
        for number, rule in enumerate(rules):
            yield from self._of_rule(rule, ("spec", "rules", number))

    def _of_rule(self, rule: Rule, at: Path) -> Iterator[Mutant]:
        written = _at(self._document.value, at)
        yield self._never(rule, written, at)
        yield self._flipped(rule, written, at)
        yield from self._of_match(rule.key, (*at, "match"))
        if rule.when is not None:
            yield from self._of_expression(rule.key, rule, WHEN, (*at, WHEN))
        duties = written.get("obligations", [])
        for number, duty in enumerate(duties):
            left = [*duties[:number], *duties[number + 1 :]]
            path = (*at, "obligations")
            where = self._document.where(*path, number)
            told = f"obligations: {_brief(duty)}", "obligations: none of it"
            yield self._made(rule.key, "obligation dropped", where, told, (path, left))

    def _never(self, rule: Rule, written: dict[str, Json], at: Path) -> Mutant:
        where = self._document.where(*at)
        told = f"rule {rule.id}", f"no rule {rule.id}"
        return self._made(rule.key, "rule dropped", where, told, (at, {**written, WHEN: "false"}))

    def _flipped(self, rule: Rule, written: dict[str, Json], at: Path) -> Mutant:
        effect = _FLIPPED[rule.effect]
        kept = {key: value for key, value in written.items() if key != "obligations"}
        where = self._document.where(*at, "effect")
        told = f"effect: {rule.effect}", f"effect: {effect}"
        return self._made(rule.key, "effect flipped", where, told, (at, {**kept, "effect": effect}))

    def _of_match(self, owner: str, at: Path) -> Iterator[Mutant]:
        match = _at(self._document.value, at) or {}
        for field in FIELDS:
            entries = match.get(field) or []
            # A rule without `phases` speaks in one of them: that is no widening.
            if entries and field not in {"phases", "except"}:
                told = f"{field}: {_brief(entries)}", f"no {field}"
                where = self._document.where(*at, field)
                yield self._made(
                    owner, "match widened", where, told, ((*at, field), None), widens=True
                )
            for number, entry in enumerate(entries):
                yield from self._entry(owner, (*at, field), entries, number, entry)

    def _entry(
        self, owner: str, at: Path, entries: list[Json], number: int, entry: Json
    ) -> Iterator[Mutant]:
        left = [*entries[:number], *entries[number + 1 :]]
        is_except = at[-1] == "except"
        if not (left or is_except):
            return
        told = f"{at[-1]}: {entry}", f"{at[-1]}: without it"
        what = "exception dropped" if is_except else "match narrowed"
        where = self._document.where(*at, number)
        yield self._made(owner, what, where, told, (at, left or None), widens=is_except)

    def _of_expression(self, owner: str, rule: Rule, name: str, at: Path) -> Iterator[Mutant]:
        source = sources_of(rule)[name]
        for edit in edits(source, trees_of(rule)[name], decides=decides(rule, name)):
            told = f"{at[-1]}: {_brief(source)}", f"{at[-1]}: {_brief(edit.text)}"
            yield self._made(
                owner, edit.what, self._within(at, source, edit.at), told, (at, edit.text)
            )

    def _made(
        self,
        owner: str,
        what: str,
        where: str,
        told: tuple[str, str],
        change: tuple[Path, Json],
        *,
        widens: bool = False,
    ) -> Mutant:
        value = _changed(self._document.value, *change)
        document = msgspec.structs.replace(self._document, value=value)
        return Mutant(owner, what, where, *told, widens, document)

    def _within(self, at: Path, source: str, offset: int) -> str:
        name, line, column = self._document.where(*at).rsplit(":", 2)
        found = place_in(self._text, int(line), int(column), source, offset)
        return f"{name}:{found[0]}:{found[1]}"


def _at(value: Json, path: Path) -> Json:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else value[step]
        if value is None:
            return None
    return value


def _changed(value: Json, path: Path, new: Json) -> Json:
    """Return a value with another one at `path`, or with nothing there for None."""
    step, rest = path[0], path[1:]
    if not rest and new is None:
        return {key: each for key, each in value.items() if key != step}
    changed: Json = list(value) if isinstance(value, list) else dict(value)
    changed[step] = _changed(value[step], rest, new) if rest else new
    return changed


def _brief(value: Json) -> str:
    text = value if isinstance(value, str) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= _TOLD_MAX else f"{text[:_TOLD_MAX]}…"
