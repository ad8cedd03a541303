"""One policy document → compiled rules: expressions, obligations with their holes, digests.

Everything that a rule needs at decision time is made here once; every problem has a position.
"""

import hashlib
import itertools
import re
from collections.abc import Mapping
from typing import Final

import msgspec
from jsonschema import Draft202012Validator

from sidecar.policy.cel import Expression, Wanted
from sidecar.policy.documents import Metadata, PolicySpec, RuleDoc, check_name, read
from sidecar.policy.language.types import DYN
from sidecar.policy.match import Filter, compile_match, phases_of, problems
from sidecar.policy.vocabulary.expressions import Expressions
from sidecar.policy.vocabulary.roots import Calls, Roots
from sidecar.syntax import json
from sidecar.syntax.holes import filled
from sidecar.syntax.yaml12 import Document, Step
from sidecar.terms.call import Json
from sidecar.terms.domain import DENY_OBLIGATIONS, Catalogue, Domain, ObligationType
from sidecar.terms.errors import PolicyError
from sidecar.terms.words import Effect

# What may stand on a deny: nothing there is masked or filtered, somebody is told or cut off.
ON_DENY: Final = frozenset(kind.name for kind in DENY_OBLIGATIONS)


def _paths(
    expressions: tuple[Expression | None, ...], duties: tuple["Duty", ...]
) -> frozenset[str]:
    """Return every path that these may read."""
    holes = (hole for duty in duties for filled in duty.holes.values() for hole in filled)
    return frozenset().union(*(e.paths for e in (*expressions, *holes) if e is not None))


def _roots(paths: frozenset[str]) -> frozenset[str]:
    return frozenset(path.partition(".")[0] for path in paths)


def _listed(kind: ObligationType, fields: dict[str, Json]) -> dict[str, Json]:
    """Return an obligation's fields, where lists are united with one text as the list of it."""
    one = fields.get(kind.field)
    if kind.combine != "union" or not isinstance(one, str):
        return fields
    return {**fields, kind.field: [one]}


class Duty(msgspec.Struct, frozen=True):
    """An obligation as compiled: literal fields, and holes to be filled by the PDP.

    `holes` are `{field: expressions}`; the field's text then reads `${0}`, `${1}`, …
    """

    type: ObligationType
    on: str | None
    fields: dict[str, Json]
    holes: dict[str, tuple[Expression, ...]]


class Rule(msgspec.Struct, frozen=True):
    """One compiled rule. `key` is `policy/rule`, unique in the bundle.

    `paths` is every path that it may read, its variables, messages and holes included; `roots` are
    their first words, all that it is shown of a call.
    """

    id: str
    policy: str
    layer: str
    effect: Effect
    when: Expression | None
    variables: tuple[tuple[str, Expression], ...]
    policy_filter: Filter
    filter: Filter
    phases: frozenset[str]
    call_scope: bool
    duties: tuple[Duty, ...]
    message: str | None
    message_expression: Expression | None
    digest: str
    order: int
    where: str
    paths: frozenset[str]
    roots: frozenset[str]

    @property
    def key(self) -> str:
        """Return `policy/rule`."""
        return f"{self.policy}/{self.id}"

    @property
    def varies(self) -> bool:
        """Return whether what it says can differ between the targets of one call."""
        return not self.roots.isdisjoint(("action", "resource"))


class PolicyReader:
    """Compiles the policies of one bundle; collects problems instead of stopping at the first."""

    def __init__(
        self,
        domains: Mapping[str, Domain],
        catalogues: Mapping[str, Catalogue],
        layers: tuple[str, ...],
        roots: Roots,
        files: Mapping[str, bytes],
    ) -> None:
        self.domains = {domain.name: domain for domain in domains.values()}
        self.roots = roots
        self.files = files
        self.catalogues = catalogues
        self.layers = layers
        self.problems: list[str] = []
        self.rules: list[Rule] = []
        self._policies: set[str] = set()
        self._validators: dict[tuple[str, str], Draft202012Validator] = {}
        self._sets: dict[frozenset[str], frozenset[str]] = {}

    def one(self, words: frozenset[str]) -> frozenset[str]:
        """Return the set that stands for all equal ones: most rules read what others read."""
        return self._sets.setdefault(words, words)

    def validator(self, domain: Domain, kind: ObligationType) -> Draft202012Validator:
        """Return the validator of an obligation's fields, made once for all rules."""
        key = domain.name, kind.name
        found = self._validators.get(key)
        if found is None:
            found = self._validators[key] = Draft202012Validator(kind.schema)
        return found

    def add(self, document: Document, metadata: Metadata) -> None:
        """Compile one Policy document."""
        try:
            spec = read(document, ("spec",), PolicySpec)
        except PolicyError as error:
            self.problems.extend(error.problems)
            return
        self.problems.extend(check_name(document, ("metadata", "name"), metadata.name, "policy"))
        if metadata.name in self._policies:
            where = document.where("metadata", "name")
            self.problems.append(f"{where}: policy `{metadata.name}` stands twice in the bundle")
        if metadata.name == "builtin":
            self.problems.append(f"{document.where('metadata', 'name')}: `builtin` is our own name")
        self._policies.add(metadata.name)
        _PolicyCompiler(self, document, metadata, spec).run()


class _PolicyCompiler:
    """Compiles the rules of one policy document."""

    def __init__(
        self, reader: PolicyReader, document: Document, metadata: Metadata, spec: PolicySpec
    ) -> None:
        self.reader = reader
        self.document = document
        self.metadata = metadata
        self.spec = spec
        self.expressions = Expressions(
            document, reader.files[document.name], reader.roots, reader.problems.append
        )
        self.variables: dict[str, Expression] = {}
        self.filter = compile_match(None)
        # What a digest covers beside the rule itself, in its canonical form.
        others = {key: value for key, value in document.value["spec"].items() if key != "rules"}
        self._head = b'{"policy":%b,"rule":' % json.canonical(metadata.name)
        self._tail = b',"spec":%b}' % json.canonical(others)

    def run(self) -> None:
        found = problems(self.document, ("spec", "match"), self.spec.match)
        self.reader.problems.extend(found)
        if not found:
            self.filter = compile_match(self.spec.match)
        if not self.spec.rules:
            self._problem(("spec", "rules"), "a policy holds at least one rule")
        self._layer()
        self._compile_variables()
        seen: set[str] = set()
        for index in range(len(self.spec.rules)):
            self._rule(index, seen)

    def _layer(self) -> None:
        layer = self.spec.layer
        if layer is not None and layer not in self.reader.layers:
            known = ", ".join(self.reader.layers)
            self._problem(("spec", "layer"), f"unknown layer `{layer}`; bundle.yaml lists {known}")

    def _compile_variables(self) -> None:
        calls = self._calls(self._phases_of_all())
        for name, source in self.spec.variables.items():
            path = ("spec", "variables", name)
            if not re.fullmatch(r"[A-Za-z_]\w{0,63}", name):
                self._problem(path, f"variable `{name}` is not an identifier")
                continue
            expression = self.expressions.compile(source, path, calls)
            # One that does not compile is told once, not again by each of its readers.
            self.expressions.variables[name] = DYN if expression is None else expression.type
            if expression is not None:
                self.variables[name] = expression

    def _phases_of_all(self) -> frozenset[str]:
        """Return every phase in which a rule of the policy may speak."""
        if self.filter.phases is not None:
            return self.filter.phases
        matches = [each.get("match") for each in self.spec.rules if isinstance(each, dict)]
        named = [each.get("phases") for each in matches if isinstance(each, dict)]
        words = [word for each in named if isinstance(each, list) for word in each]
        return frozenset(("call", *(word for word in words if isinstance(word, str))))

    def _calls(self, phases: frozenset[str], *more: Filter) -> Calls:
        return self.reader.roots.calls((self.filter, *more), phases)

    def _rule(self, index: int, seen: set[str]) -> None:
        path: tuple[Step, ...] = ("spec", "rules", index)
        try:
            written = read(self.document, path, RuleDoc)
        except PolicyError as error:
            self.reader.problems.extend(error.problems)
            return
        found = check_name(self.document, (*path, "id"), written.id, "rule id")
        found += problems(self.document, (*path, "match"), written.match)
        if written.id in seen:
            found.append(f"{self.document.where(*path, 'id')}: rule `{written.id}` stands twice")
        seen.add(written.id)
        rule_filter = Filter() if found else compile_match(written.match)
        phases = phases_of(self.filter, rule_filter)
        calls = self._calls(phases, rule_filter)
        when = self._optional(written.when, (*path, "when"), calls, Wanted.CONDITION)
        at = (*path, "messageExpression")
        said = self._optional(written.messageExpression, at, calls, Wanted.MESSAGE)
        duties = self._duties(written, path, calls)
        self.reader.problems.extend(found)
        if found:
            return
        if not phases:
            self._problem((*path, "match", "phases"), "no phase is left: policy and rule disagree")
        elif not calls:
            why = self.reader.roots.unmet((self.filter, rule_filter), phases)
            self._problem((*path, "match"), f"no call can fit `match`: {why}")
        read_itself = _paths((when, said), duties)
        variables = self._used_variables(read_itself)
        paths = self.reader.one(read_itself.union(*(each.paths for _, each in variables)))
        self.reader.rules.append(
            Rule(
                id=written.id,
                policy=self.metadata.name,
                layer=self.spec.layer or self.reader.layers[0],
                effect=written.effect,
                when=when,
                variables=variables,
                policy_filter=self.filter,
                filter=rule_filter,
                phases=phases,
                call_scope=written.scope == "call",
                duties=duties,
                message=written.message,
                message_expression=said,
                digest=self._digest(self.spec.rules[index]),
                order=len(self.reader.rules),
                where=self.document.where(*path),
                paths=paths,
                roots=self.reader.one(_roots(paths)),
            )
        )

    def _used_variables(self, paths: frozenset[str]) -> tuple[tuple[str, Expression], ...]:
        """Return the variables among these paths, and those that they read in turn, in order."""
        if not self.variables:
            return ()
        read_so_far = set(paths)
        used: set[str] = set()
        for name in reversed(self.variables):
            full = f"variables.{name}"
            if any(path == full or path.startswith(f"{full}.") for path in read_so_far):
                used.add(name)
                read_so_far |= self.variables[name].paths
        return tuple(item for item in self.variables.items() if item[0] in used)

    def _digest(self, rule: dict[str, Json]) -> str:
        """Return the rule's digest: over what was parsed; comments and layout do not change it."""
        parsed = self._head + json.canonical(rule) + self._tail
        return "sha256:" + hashlib.sha256(parsed).hexdigest()

    def _duties(self, written: RuleDoc, path: tuple[Step, ...], calls: Calls) -> tuple[Duty, ...]:
        duties = []
        for index, obligation in enumerate(written.obligations):
            duty = self._duty(written, obligation, (*path, "obligations", index), calls)
            if duty is not None:
                duties.append(duty)
        return tuple(duties)

    def _duty(
        self,
        written: RuleDoc,
        obligation: dict[str, Json],
        path: tuple[Step, ...],
        calls: Calls,
    ) -> Duty | None:
        name = obligation.get("type")
        if written.effect not in ("allow", "modify") and not (
            written.effect == "deny" and name in ON_DENY
        ):
            self._problem(
                path, "obligations stand on allow and modify rules (notify and end_session on deny)"
            )
            return None
        known = self._known(name, written)
        if not known:
            offers = ", ".join(sorted(self._offered(written))) or "none"
            self._problem((*path, "type"), f"unknown obligation `{name}`; known here: {offers}")
            return None
        on = obligation.get("on")
        if on is not None and not (isinstance(on, str) and ":" in on):
            self._problem((*path, "on"), "`on` names a resource as `type:id`")
            return None
        fields = {key: value for key, value in obligation.items() if key not in ("type", "on")}
        if self._misshapen(known[0], fields, path):
            return None
        for domain, _ in known:
            for text in domain.check(obligation, self.reader.catalogues[domain.name]):
                self._problem(path, text)
        return self._holed(Duty(known[0][1], on, _listed(known[0][1], fields), {}), path, calls)

    def _misshapen(
        self, known: tuple[Domain, ObligationType], fields: dict[str, Json], path: tuple[Step, ...]
    ) -> bool:
        """Say what of an obligation's fields is not of its type's schema."""
        kind = known[1]
        wrong = list(self.reader.validator(*known).iter_errors(fields))
        for error in wrong:
            self._problem((*path, *error.absolute_path), f"`{kind.name}`: {error.message}")
        return bool(wrong)

    def _holed(self, duty: Duty, path: tuple[Step, ...], calls: Calls) -> Duty | None:
        """Return an obligation with its holes compiled, and numbered in its text."""
        fields = dict(duty.fields)
        holes: dict[str, tuple[Expression, ...]] = {}
        for field in duty.type.holes:
            text = fields.get(field)
            if not isinstance(text, str):
                continue
            compiled = self.expressions.holes(text, (*path, field), calls)
            if any(expression is None for expression in compiled):
                return None
            # `a = ${x} or b = ${y}` is then `a = ${0} or b = ${1}`.
            fields[field] = filled(text, (f"${{{number}}}" for number in itertools.count()))
            holes[field] = tuple(expression for expression in compiled if expression is not None)
        return Duty(duty.type, duty.on, fields, holes)

    def _known(self, name: Json, written: RuleDoc) -> list[tuple[Domain, ObligationType]]:
        return [
            (domain, kind)
            for domain in self._reachable(written)
            for kind in domain.vocabulary.obligations
            if kind.name == name
        ]

    def _offered(self, written: RuleDoc) -> set[str]:
        return {
            k.name for domain in self._reachable(written) for k in domain.vocabulary.obligations
        }

    def _reachable(self, written: RuleDoc) -> list[Domain]:
        """Return the domains whose targets this rule can see."""
        matches = [m for m in (self.spec.match, written.match) if m is not None]
        return [
            domain
            for domain in self.reader.domains.values()
            if all(m.domains is None or domain.name in m.domains for m in matches)
            and all(
                m.protocols is None or set(domain.protocols) & set(m.protocols) for m in matches
            )
        ]

    def _optional(
        self, source: str | None, path: tuple[Step, ...], calls: Calls, wanted: Wanted
    ) -> Expression | None:
        return None if source is None else self.expressions.compile(source, path, calls, wanted)

    def _problem(self, path: tuple[Step, ...], text: str) -> None:
        self.reader.problems.append(f"{self.document.where(*path)}: {text}")
