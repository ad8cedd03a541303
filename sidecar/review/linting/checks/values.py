"""Constants of conditions: words that there are not, the same in other letters, unread texts.

`action.class == 'wirte'` in a deny rule is a door left open, and nothing else would say so.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from sidecar.policy.cel import Compiler, EvaluationError, ExpressionError
from sidecar.policy.language.tree import Call, Constant, ListOf, Tree
from sidecar.policy.language.walk import nodes
from sidecar.policy.rules import Rule
from sidecar.review.clauses import clauses_of
from sidecar.review.finding import Finding
from sidecar.review.linting.looked import Looked, finding_of
from sidecar.review.trees import spelt
from sidecar.terms.words import CLASSES, DOMAINS, PHASES, PROTOCOLS

_READ: Final = frozenset(
    {"timestamp", "duration", "int", "double", "uint", "ip", "cidr", "quantity"}
)
# Numbers in a name may well differ by nothing else.
_WORD: Final = re.compile(r"[^\W\d_]")

_CLOSED: Final[Mapping[str, tuple[str, ...]]] = {
    "action.class": CLASSES,
    "request.domain": DOMAINS,
    "request.phase": PHASES,
    "request.protocol": PROTOCOLS,
    # What failed to be read is refused before any rule is asked.
    "parse.status": ("complete", "partial"),
}


def never_equal(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each text that a closed list of words does not have."""
    for rule in looked.rules:
        for path, text in sorted(_compared(looked, rule)):
            words = _CLOSED.get(path) or sorted(looked.declared[path])
            if text not in words:
                said = f": `{path}` is never `{text}`; one of {', '.join(words)}"
                yield finding_of("never-equal", rule, said)


def _compared(looked: Looked, rule: Rule) -> set[tuple[str, str]]:
    """Return each closed path of a rule with the texts that it is compared with."""
    aliases: dict[str, str] = {}
    compared: set[tuple[str, str]] = set()
    for name, tree in looked.trees(rule).items():
        pairs = (pair for node in nodes(tree) for pair in _pairs(node))
        for side, against in pairs:
            path = spelt(_bare(side), aliases)
            is_closed = path in _CLOSED or path in looked.declared
            if path is not None and is_closed and isinstance(against, Constant):
                compared.add((path, str(against.value)))
        stands_for = spelt(tree, aliases)
        if stands_for is not None:
            aliases[name] = stands_for
    return compared


def _bare(tree: Tree) -> Tree:
    """Return what `.orValue()` stands behind: a default may be none of the words."""
    if isinstance(tree, Call) and tree.function == "orValue" and tree.target is not None:
        return tree.target
    return tree


def _pairs(node: Tree) -> list[tuple[Tree, Tree]]:
    if isinstance(node, Call) and node.function in {"_==_", "_!=_"}:
        one, other = node.args
        return [(one, other), (other, one)]
    if isinstance(node, Call) and node.function == "@in":
        sought, among = node.args
        return [(sought, item) for item in among.items] if isinstance(among, ListOf) else []
    return []


def case_differs(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each word that stands elsewhere in other letters, the rarer one."""
    rules = _asking(looked)
    folded: dict[tuple[str, str], list[str]] = defaultdict(list)
    for field, value in rules:
        if _WORD.search(value):
            folded[field, value.casefold()].append(value)
    for (field, _), values in folded.items():
        # Why the lower-case one stays among equals: most ids are written so.
        usual = max(values, key=lambda each: (len(rules[field, each]), each.islower()))
        for value in (each for each in values if each != usual):
            text = f": `{field}` is compared with `{value}` here, with `{usual}` elsewhere"
            yield from (finding_of("case-differs", rule, text) for rule in rules[field, value])


def _asking(looked: Looked) -> dict[tuple[str, str], list[Rule]]:
    """Return the rules by each field and text that they compare it with."""
    rules: dict[tuple[str, str], list[Rule]] = defaultdict(list)
    for rule in looked.rules:
        asked = {
            (clause.field, clause.value)
            for clause in clauses_of(looked.asks(rule))
            if clause.kind in {"equal", "member"} and isinstance(clause.value, str)
        }
        for field, value in sorted(asked):
            rules[field, value].append(rule)
    return rules


def constant_errors(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each constant that cannot be read as what it is used for."""
    compiler = Compiler()
    told: dict[str, str | None] = {}
    for rule in looked.rules:
        read = (_shown(node) for tree in looked.trees(rule).values() for node in nodes(tree))
        for shown in filter(None, read):
            if shown not in told:
                told[shown] = _error(compiler, shown)
            if told[shown] is not None:
                yield finding_of("constant-error", rule, f": `{shown}` always errs: {told[shown]}")


def _shown(node: Tree) -> str | None:
    """Return `duration('5')` for a constant that is read as something."""
    if not (isinstance(node, Call) and node.function in _READ and len(node.args) == 1):
        return None
    (arg,) = node.args
    is_text = node.target is None and isinstance(arg, Constant) and isinstance(arg.value, str)
    return f"{node.function}({arg.value!r})" if is_text and isinstance(arg, Constant) else None


def _error(compiler: Compiler, expression: str) -> str | None:
    try:
        compiler.compile(expression).native({}, {})
    except (EvaluationError, ExpressionError) as error:
        return str(error)
    return None
