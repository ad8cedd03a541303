"""Each class of error has a golden message with its place, and none is said that none shows."""

import ast
import re
from pathlib import Path

import pytest

import sidecar.policy
from tests.policy.language import error_texts
from tests.policy.test_typed import problems
from tests.tables import rows

POLICY = Path(sidecar.policy.__file__).parent
# Where errors of expressions are worded.
WORDED = (
    "language/reading/lexer.py",
    "language/reading/literals.py",
    "language/reading/macros.py",
    "language/reading/parser.py",
    "language/checking/checker.py",
    "language/checking/wording.py",
    "language/expression.py",
    "language/faults.py",
    "language/running/exact.py",
    "language/running/state.py",
    "language/functions/standard/containers.py",
    "vocabulary/attributes.py",
    "vocabulary/expressions.py",
    "vocabulary/roots.py",
)
# Texts that are heard through another: the note that a missing fact leaves beside the evaluation,
# and that of a variable, which is always named.
UNHEARD = {"a fact is not in hand", "a variable could not be evaluated"}
_HOLE = object()
GOLDEN = error_texts.golden().decode()


def pieces(node):
    """The constant parts of a text, with a hole wherever it is filled in; None for no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else _HOLE for part in node.values]
        return list(parts)
    return None


def docstrings(tree):
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                found.add(id(first.value))
    return found


def templates(path):
    """Every text of a file that a person could read: words and spaces, no docstring, no pattern."""
    tree = ast.parse((POLICY / path).read_text())
    passed = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            passed.update(id(part) for part in node.values)
        if isinstance(node, ast.Assert) and node.msg is not None:
            passed.update(id(part) for part in ast.walk(node.msg))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("re.compile", "assert"):
            passed.update(id(part) for part in ast.walk(node))
    for node in ast.walk(tree):
        found = pieces(node)
        if found is None or id(node) in passed:
            continue
        said = "".join(part for part in found if part is not _HOLE)
        if re.search(r"[a-z]{2,} [a-z]{2,}", said) and said not in UNHEARD:
            yield found


def pattern(found):
    return "".join(".*" if part is _HOLE else re.escape(part) for part in found)


@pytest.mark.parametrize("path", WORDED)
def test_no_text_is_said_that_no_golden_row_shows(path):
    silent = [pattern(found) for found in templates(path) if not re.search(pattern(found), GOLDEN)]

    assert silent == []


@pytest.mark.parametrize("row", rows("policy/language/running_errors.yaml"))
def test_an_evaluation_that_fails_says_why_and_where(row):
    source, start, end, text = error_texts.failed(row)

    assert row.want == f"«{source[start:end]}» {text}"


@pytest.mark.parametrize("row", rows("policy/language/bounds.yaml"))
def test_a_bound_is_told(row):
    assert row.want in error_texts.bounded(row)


@pytest.mark.parametrize("row", rows("policy/attributes.yaml"))
def test_what_attributes_may_say(row):
    assert problems({"when": "true", **row.given}) == row.want


def test_every_entry_has_a_place():
    entries = [each for each in re.split(r"^# .*\n", GOLDEN, flags=re.MULTILINE)[1:] if each]

    assert len(entries) > 150
    assert [each for each in entries if not re.match(r"(?:[\w.]+:)?\d+:\d+: \S", each)] == []
