"""Every error of an expression as a person sees it: a place, a text, the line with its carets.

`tests/golden/errors.txt` is made of the tables of errors: what the reader, the checker, the types
of a bundle and an evaluation say. A text of the code that no row shows fails test_error_texts.
"""

from collections.abc import Callable, Iterator
from typing import Any

from sidecar.domains import by_protocol
from sidecar.policy.bundle import compile_bundle
from sidecar.policy.language import (
    Environment,
    EvaluationError,
    ExpressionError,
    Limits,
    MissingFacts,
    compile_expression,
    environment,
)
from sidecar.policy.language.checking.checker import check
from sidecar.policy.language.reading.lexer import place
from sidecar.policy.language.reading.parser import parse
from sidecar.policy.language.running.explain import Explainer, Part
from sidecar.policy.language.spans import pointed
from sidecar.policy.language.types import DYN
from sidecar.terms.errors import PolicyError
from tests.policy.language.test_checking import ENVIRONMENT
from tests.policy.test_typed import files
from tests.tables import Row, rows

_SMALL = Limits(characters=60, depth=5)


def told(row: Row, error: str) -> str:
    """Return one entry of the golden file."""
    return f"# {row.it}\n{error}\n"


def refused(source: str, known: Environment, limits: Limits | None = None) -> str:
    """Return what is said of an expression that does not compile."""
    try:
        compile_expression(source, known, limits=limits or Limits())
    except ExpressionError as error:
        found = (error, *error.others)
        return "\n".join(f"{e.line}:{e.column}: {e.text}\n{e.shown}" for e in found)
    raise AssertionError(f"it compiles: {source}")


def reading(row: Row) -> str:
    return refused(row.given, environment(dict.fromkeys("abcdefgx", DYN)))


def bounded(row: Row) -> str:
    source = row.given.replace("⟨D800⟩", "\ud800")
    return refused(source, environment({"a": DYN}), _SMALL)


def checking(row: Row) -> str:
    return refused(row.given, ENVIRONMENT)


def loading(row: Row) -> str:
    """Return every problem of a bundle, or nothing for a row that loads."""
    try:
        compile_bundle(files(row.given), by_protocol())
    except PolicyError as error:
        return "\n".join(error.problems)
    return ""


def running(row: Row) -> str:
    """Return what an evaluation says, with the part that erred."""
    source, start, end, text = failed(row)
    line, column = place(source, start)
    return f"{line}:{column}: {text}\n{pointed(source, start, end)}"


def failed(row: Row) -> tuple[str, int, int, str]:
    """Return the source of a condition, the span of the part that erred, and what was said."""
    source, data = row.given, row.table["data"]
    known = environment({**dict.fromkeys(data, DYN), "variables.low": DYN})
    text = _failure(compile_expression(source, known).holds, data)
    explained = Explainer(check(parse(source, Limits()), known).tree, known.variables)
    found = explained.explain(data, {})
    part = _asks(found.part) if found.missed else _culprit(found.part)
    return source, part.tree.start, part.tree.end, text


def _failure(holds: Callable[..., bool], data: Any) -> str:
    try:
        holds(data, {})
    except (EvaluationError, MissingFacts) as error:
        return str(error)
    raise AssertionError(f"it has a value: {data}")


def _culprit(part: Part) -> Part:
    """Return the innermost part that erred for itself."""
    below = [*part.parts]
    if part.rounds is not None:
        below += [one for each in part.rounds.kept for one in each.parts]
    erred = next((one for one in below if one.state == "error"), None)
    return part if erred is None else _culprit(erred)


def _asks(part: Part) -> Part:
    """Return the part that asked for a fact."""
    return next(one for one in _all(part) if getattr(one.tree, "function", "") == "entity")


def _all(part: Part) -> Iterator[Part]:
    yield part
    for one in part.parts:
        yield from _all(one)


SECTIONS: dict[str, tuple[str, Callable[[Row], str]]] = {
    "Reading": ("policy/language/syntax_errors.yaml", reading),
    "Bounds": ("policy/language/bounds.yaml", bounded),
    "Checking": ("policy/language/type_errors.yaml", checking),
    "Loading": ("policy/typed.yaml", loading),
    "Attributes": ("policy/attributes.yaml", loading),
    "Running": ("policy/language/running_errors.yaml", running),
}


def golden() -> bytes:
    """Return the file: every row of every table that is refused."""
    parts = []
    for name, (table, say) in SECTIONS.items():
        found = ((param.values[0], say(param.values[0])) for param in rows(table))
        entries = [told(row, error) for row, error in found if error]
        parts.append(f"## {name}\n\n" + "\n".join(entries))
    return "\n".join(parts).encode()
