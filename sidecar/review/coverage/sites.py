"""What of a bundle can be covered: its sites, and where each stands in its file.

A site is one thing that a test can show: that a rule holds; one side of a clause; that an entry of
a `match` lets something in, or keeps something out; that an obligation falls due. What a policy
writes once for all its rules (its `match`, its variables) is a site of the policy.
"""

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from sidecar.policy.bundle import Bundle
from sidecar.policy.documents import Match
from sidecar.policy.language.types import BOOL
from sidecar.policy.rules import Rule
from sidecar.review.coverage.clauses import clauses
from sidecar.review.trees import WHEN, sources_of, trees_of
from sidecar.syntax.scalars import place_in
from sidecar.syntax.yaml12 import Document, Step

Kind = Literal["rule", "branch", "match", "obligation"]
KINDS: Final[tuple[Kind, ...]] = ("rule", "branch", "match", "obligation")
FIELDS: Final = (
    "domains",
    "protocols",
    "phases",
    "upstreams",
    "classes",
    "actions",
    "resources",
    "except",
)
# Of a `match`: that something is not of it at all.
LEFT_OUT: Final = "left out"
_VARIABLE: Final = "variables."

# Whose it is (`policy` or `policy/rule`), what of it, and which side.
Key = tuple[str, ...]


class Site(msgspec.Struct, frozen=True):
    """One thing that a test can show.

    Attributes:
        key: As the collector counts it.
        rule: The rule whose it is, as `policy/rule`; of the whole policy it is `policy/`.
        text: The clause, the entry, the type of the obligation; empty for the rule itself.
        side: Which side of it.
    """

    kind: Kind
    key: Key
    rule: str
    text: str
    side: str
    file: str
    line: int
    column: int

    @property
    def sentence(self) -> str:
        """Return the site as a person reads it."""
        what = f"`{self.text}` " if self.text else ""
        return f"{self.rule}: {what}never {self.side}"


def entries(match: Match) -> Iterator[tuple[str, int, str]]:
    """Yield each entry of a `match`: its field, its place in it, and the entry."""
    for field in FIELDS:
        for number, entry in enumerate(getattr(match, field.replace("except", "except_")) or ()):
            yield field, number, entry


def owner_of(rule: Rule, name: str) -> str:
    """Return whose an expression is: a variable is its policy's, for all of its rules."""
    return f"{rule.policy}/" if name.startswith(_VARIABLE) else rule.key


def decides(rule: Rule, name: str) -> bool:
    """Return whether an expression of a rule is a condition."""
    if name == WHEN:
        return True
    return dict(rule.variables)[name.removeprefix(_VARIABLE)].type is BOOL


def sites_of(bundle: Bundle) -> list[Site]:
    """Return every site of a bundle in the order of its files, each once."""
    rules = {rule.key: rule for rule in bundle.rules}
    found: dict[Key, Site] = {}
    for document in bundle.policy_documents:
        reader = _Reader(document, bundle.files[document.name].decode(), found)
        policy = document.value["metadata"]["name"]
        for number, written in enumerate(document.value["spec"]["rules"]):
            reader.rule(rules[f"{policy}/{written['id']}"], number)
    return sorted(found.values(), key=lambda site: (site.file, site.line, site.column, site.key))


class _Reader:
    """Finds the sites of one policy document."""

    def __init__(self, document: Document, text: str, found: dict[Key, Site]) -> None:
        self._document = document
        self._text = text
        self._found = found

    def rule(self, rule: Rule, number: int) -> None:
        """Add what one rule has, and what its policy has where that is not there yet."""
        path: tuple[Step, ...] = ("spec", "rules", number)
        self._add("rule", (rule.key, "rule"), rule.key, "", "held", *self._place(path))
        self._match(rule.policy_filter.written, f"{rule.policy}/", ("spec", "match"))
        self._match(rule.filter.written, rule.key, (*path, "match"))
        sources, trees = sources_of(rule), trees_of(rule)
        for name, tree in trees.items():
            at = (*path, WHEN) if name == WHEN else ("spec", *name.split(".", 1))
            owner = owner_of(rule, name)
            for clause in clauses(tree, decides=decides(rule, name)):
                place = self._within(at, sources[name], clause.start)
                text = sources[name][clause.start : clause.end]
                for side in ("true", "false"):
                    key: Key = (owner, name, f"{clause.start}", f"{clause.end}", side)
                    self._add("branch", key, owner, " ".join(text.split()), side, *place)
        for index, duty in enumerate(rule.duties):
            place = self._place((*path, "obligations", index))
            due = (rule.key, "obligation", f"{index}")
            self._add("obligation", due, rule.key, duty.type.name, "due", *place)

    def _match(self, match: Match | None, owner: str, at: tuple[Step, ...]) -> None:
        if match is None:
            return
        for field, number, entry in entries(match):
            side = "kept anything out" if field == "except" else "let anything in"
            place = self._place((*at, field, number))
            self._add(
                "match", (owner, field, f"{number}"), owner, f"{field}: {entry}", side, *place
            )
        # Most protocols have one phase: what phases alone leave out, no test could show.
        told = (field.replace("except", "except_") for field in FIELDS if field != "phases")
        if any(getattr(match, field) for field in told):
            key = (owner, "match", LEFT_OUT)
            self._add("match", key, owner, "match", "left anything out", *self._place(at))

    def _add(self, kind: Kind, key: Key, rule: str, text: str, side: str, *at: int) -> None:
        line, column = at
        site = Site(kind, key, rule, text, side, self._document.name, line, column)
        self._found.setdefault(key, site)

    def _place(self, path: tuple[Step, ...]) -> tuple[int, int]:
        _, line, column = self._document.where(*path).rsplit(":", 2)
        return int(line), int(column)

    def _within(self, path: tuple[Step, ...], source: str, offset: int) -> tuple[int, int]:
        return place_in(self._text, *self._place(path), source, offset)
