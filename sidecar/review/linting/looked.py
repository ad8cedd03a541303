"""A bundle as lint looks at it: every tree, every `match`, every document, each made once."""

from collections.abc import Iterator, Mapping
from functools import cached_property

import msgspec

from sidecar.policy.bundle import Bundle
from sidecar.policy.documents import Match
from sidecar.policy.explained import tree_of
from sidecar.policy.language.tree import Tree
from sidecar.policy.rules import Rule
from sidecar.review.clauses import AllOf, AnyOf, Formula, Written, formula
from sidecar.review.finding import Finding, Level
from sidecar.review.linting.table import CHECKS
from sidecar.review.testing.cells import suites_of
from sidecar.review.testing.suite import Suite
from sidecar.review.trees import WHEN, sources_of
from sidecar.syntax.yaml12 import Document, load_documents
from sidecar.terms.call import Json
from sidecar.terms.words import CLASSES, PHASES


class Reach(msgspec.Struct, frozen=True):
    """Which targets `match` lets a rule meet.

    Args:
        resources: Lists of patterns, one of each of which must fit; so are actions and upstreams.
        excepted: Patterns of which none may fit.
    """

    phases: frozenset[str]
    protocols: frozenset[str]
    classes: frozenset[str]
    resources: tuple[tuple[str, ...], ...]
    actions: tuple[tuple[str, ...], ...]
    upstreams: tuple[tuple[str, ...], ...]
    excepted: tuple[str, ...]


class Looked:
    """A bundle, and what has been found out about it."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.rules = bundle.rules
        self._trees: dict[tuple[str, tuple[str, ...]], Tree] = {}
        self._reach: dict[str, Reach] = {}
        self._asks: dict[tuple[object, ...], Formula] = {}

    def tree(self, source: str, names: tuple[str, ...]) -> Tree:
        """Return the checked tree of an expression; equal ones are one."""
        key = (source, names)
        found = self._trees.get(key)
        if found is None:
            found = self._trees[key] = tree_of(source, names)
        return found

    def trees(self, rule: Rule) -> dict[str, Tree]:
        """Return the trees of a rule's variables by full name, then of its `when`."""
        names = names_of(rule)
        return {name: self.tree(source, names) for name, source in sources_of(rule).items()}

    def all_trees(self, rule: Rule) -> dict[str, Tree]:
        """Return what `trees` does, then its `messageExpression` and the holes of its duties."""
        names, found = names_of(rule), self.trees(rule)
        if rule.message_expression is not None:
            found["messageExpression"] = self.tree(rule.message_expression.source, names)
        for number, duty in enumerate(rule.duties):
            for field, holes in duty.holes.items():
                for place, hole in enumerate(holes):
                    found[f"obligations.{number}.{field}.{place}"] = self.tree(hole.source, names)
        return found

    def written(self, rule: Rule) -> Written:
        """Return what a rule's condition may name beside the roots."""
        trees = self.trees(rule)
        trees.pop(WHEN, None)
        return Written(trees, self.bundle.params)

    def asks(self, rule: Rule, *, positive: bool = True) -> Formula:
        """Return what must be so for a rule's condition to be true, or false."""
        if rule.when is None:
            return formula_of_nothing(positive=positive)
        key = (*sources_of(rule).items(), positive)
        found = self._asks.get(key)
        if found is None:
            tree = self.tree(rule.when.source, names_of(rule))
            found = formula(tree, self.written(rule), positive=positive)
            self._asks[key] = found
        return found

    def reach(self, rule: Rule) -> Reach:
        """Return which targets a rule may meet."""
        found = self._reach.get(rule.key)
        if found is None:
            found = self._reach[rule.key] = reach_of(rule, self.bundle)
        return found

    def closed(self, rule: Rule) -> Mapping[str, frozenset[str]]:
        """Return the fields that can only have some values where `match` lets a rule meet them."""
        reach = self.reach(rule)
        found = {
            **self.declared,
            "action.class": reach.classes,
            "request.phase": reach.phases,
            "request.protocol": reach.protocols,
            "request.domain": frozenset(self.bundle.domains[each].name for each in reach.protocols),
        }
        types = [_types(patterns) for patterns in reach.resources]
        for named in filter(None, types):
            found["resource.type"] = found.get("resource.type", named) & named
        return found

    @cached_property
    def declared(self) -> Mapping[str, frozenset[str]]:
        """Return the attributes of which an Attributes file lists every value."""
        found = {
            path: values
            for document in self.documents("Attributes")
            for section, schema in document.value["spec"].items()
            for path, values in _enums(section, schema)
        }
        # Who acts is the subject where nobody acts for it.
        for path, values in list(found.items()):
            if path.startswith("subject."):
                acting = path.replace("subject", "actor", 1)
                found[acting] = found.get(acting, values) | values
        return found

    @cached_property
    def policies(self) -> tuple[Document, ...]:
        """Return the Policy documents."""
        return self.bundle.policy_documents

    @cached_property
    def suites(self) -> list[Suite]:
        """Return the suites that stand beside the policies."""
        return suites_of(self.bundle)

    @cached_property
    def catalogues(self) -> tuple[Json, ...]:
        """Return the `spec` of each Catalog document."""
        return tuple(document.value["spec"] for document in self.documents("Catalog"))

    def documents(self, kind: str) -> Iterator[Document]:
        """Yield the documents of a kind, in the order of the files."""
        for document in self._others:
            if document.value["kind"] == kind:
                yield document

    @cached_property
    def _others(self) -> tuple[Document, ...]:
        """Return the documents that are neither policies nor tests."""
        policies = {document.name for document in self.policies}
        read = (
            document
            for path, data in sorted(self.bundle.files.items())
            if path.endswith((".yaml", ".yml")) and path not in policies
            for document in load_documents(path, data)
        )
        mixed = (
            document
            for path in sorted(policies)
            for document in load_documents(path, self.bundle.files[path])
        )
        return tuple(
            document
            for document in (*read, *mixed)
            if isinstance(document.value, dict) and "kind" in document.value
        )


def names_of(rule: Rule) -> tuple[str, ...]:
    """Return the full names of a rule's variables."""
    return tuple(f"variables.{name}" for name, _ in rule.variables)


def formula_of_nothing(*, positive: bool) -> Formula:
    """Return what must be so where there is no condition: nothing for it to be true."""
    return AllOf() if positive else AnyOf()


def finding_of(code: str, rule: Rule, text: str, level: Level | None = None) -> Finding:
    """Return a finding about a rule; its level is the check's own unless it is said."""
    return Finding(code, level or CHECKS[code].level, rule.where, f"`{rule.key}`{text}", rule.key)


def protocols_of(rule: Rule, bundle: Bundle) -> frozenset[str]:
    """Return the protocols whose calls a rule can meet."""
    return frozenset(
        protocol
        for protocol, domain in bundle.domains.items()
        if all(one.speaks(domain.name, protocol) for one in (rule.policy_filter, rule.filter))
    )


def reach_of(rule: Rule, bundle: Bundle) -> Reach:
    """Return which targets the `match` of a rule and of its policy let it meet."""
    filters = (rule.policy_filter, rule.filter)
    written = [each.written for each in filters if each.written is not None]
    classes = frozenset(CLASSES)
    for each in filters:
        classes &= each.classes if each.classes is not None else classes
    return Reach(
        phases=rule.phases & frozenset(PHASES),
        protocols=protocols_of(rule, bundle),
        classes=classes,
        resources=_lists(written, "resources"),
        actions=_lists(written, "actions"),
        upstreams=_lists(written, "upstreams"),
        excepted=tuple(pattern for match in written for pattern in match.except_ or ()),
    )


def _lists(written: list[Match], field: str) -> tuple[tuple[str, ...], ...]:
    lists = (getattr(match, field) for match in written)
    return tuple(tuple(patterns) for patterns in lists if patterns is not None)


def _types(patterns: tuple[str, ...]) -> frozenset[str] | None:
    """Return the types that patterns name, None where one may be of any."""
    types = [pattern.partition(":")[0] for pattern in patterns]
    return None if any("*" in kind for kind in types) else frozenset(types)


def _enums(path: str, schema: Json) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each path below a JSON Schema with the texts that are all it can be."""
    if not isinstance(schema, dict):
        return
    listed = schema.get("enum")
    if isinstance(listed, list) and all(isinstance(each, str) for each in listed):
        yield path, frozenset(listed)
    properties = schema.get("properties")
    below = properties if isinstance(properties, dict) else {}
    for name, inner in below.items():
        yield from _enums(
            f"{path}.properties.{name}" if _is_root(path) else f"{path}.{name}", inner
        )


def _is_root(path: str) -> bool:
    return path in {"subject", "actor", "resource", "action"}
