"""Conditions, and parts of them, that always hold or never do; `&&` beside `||` in the open."""

from collections.abc import Iterator, Mapping
from typing import Final

from sidecar.policy.language.tree import Call, Constant, Tree
from sidecar.policy.language.walk import children
from sidecar.policy.rules import Rule
from sidecar.review.clauses import formula, may_hold
from sidecar.review.finding import Finding
from sidecar.review.linting.looked import Looked, finding_of, names_of
from sidecar.review.trees import WHEN, sources_of

_JOINED: Final = frozenset({"_&&_", "_||_"})
_ASKED: Final = _JOINED | {"!_", "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "@in", "_?_:_"}
_SHOWN_MAX: Final = 120


def constant_parts(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each condition, or outermost part, that comes out one way alone."""
    told: set[tuple[str, str]] = set()
    for rule in looked.rules:
        for name, finding in _of_rule(rule, looked):
            key = (rule.key if name == WHEN else rule.policy, finding.text.partition(": ")[2])
            if name == WHEN or key not in told:
                told.add(key)
                yield finding


def _of_rule(rule: Rule, looked: Looked) -> Iterator[tuple[str, Finding]]:
    closed = looked.closed(rule)
    for name, source in sources_of(rule).items():
        tree = looked.tree(source, names_of(rule))
        for part, comes_to in _parts(tree, looked, rule, closed):
            # `true` is how one says so.
            is_said = part is tree and isinstance(tree, Constant) and (comes_to or name != WHEN)
            if not is_said:
                yield name, _finding(rule, name, source, part, tree, comes_to=comes_to)


def _parts(
    tree: Tree, looked: Looked, rule: Rule, closed: Mapping[str, frozenset[str]]
) -> Iterator[tuple[Tree, bool]]:
    """Yield the outermost parts of a condition that come out one way alone, and which."""
    comes_to = _comes_to(tree, looked, rule, closed)
    if comes_to is not None:
        yield tree, comes_to
    elif isinstance(tree, Call) and tree.function in (*_JOINED, "!_"):
        for child in children(tree):
            yield from _parts(child, looked, rule, closed)


def _comes_to(
    tree: Tree, looked: Looked, rule: Rule, closed: Mapping[str, frozenset[str]]
) -> bool | None:
    """Return what a condition always is, None where it may be either."""
    if isinstance(tree, Constant):
        return tree.value if isinstance(tree.value, bool) else None
    if not (isinstance(tree, Call) and tree.function in _ASKED):
        return None
    written = looked.written(rule)
    if not may_hold(formula(tree, written), closed):
        return False
    # Why without what `match` says: to ask again for what it takes is no mistake.
    return None if may_hold(formula(tree, written, positive=False)) else True


def _finding(
    rule: Rule, name: str, source: str, part: Tree, whole: Tree, *, comes_to: bool
) -> Finding:
    code = "always" if comes_to else "never"
    if name == WHEN and part is whole:
        return finding_of(
            code, rule, " always holds: `when` asks nothing" if comes_to else " never holds"
        )
    text = " ".join(source[part.start : part.end].split())
    shown = text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"
    said = "always holds" if comes_to else "never holds"
    return finding_of(code, rule, f": `{shown}` {said}{'' if name == WHEN else f', in `{name}`'}")


def mixed_logic(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each `&&` beside `||` that no parentheses keep apart."""
    for rule in looked.rules:
        for source in sources_of(rule).values():
            tree = looked.tree(source, names_of(rule))
            if _is_mixed(tree, source):
                text = ": `&&` binds tighter than `||`; write the parentheses that you mean"
                yield finding_of("mixed-logic", rule, text)
                break


def _is_mixed(tree: Tree, source: str) -> bool:
    """Return whether an `||` has an `&&` directly below it in one line, without parentheses.

    Why one line: who writes each alternative on a line of its own shows what belongs together.
    """
    rest = [tree]
    while rest:
        node = rest.pop()
        rest += children(node)
        is_either = isinstance(node, Call) and node.function == "_||_"
        if is_either and any(_is_bare(child, node, source) for child in children(node)):
            return True
    return False


def _is_bare(child: Tree, parent: Tree, source: str) -> bool:
    if not (isinstance(child, Call) and child.function == "_&&_"):
        return False
    before, after = source[parent.start : child.start], source[child.end : parent.end]
    if "\n" in before or "\n" in after:
        return False
    return not (before.rstrip().endswith("(") or after.lstrip().startswith(")"))
