"""A run of tests as JUnit XML, in the order of elements that both common schemas take.

A testsuite is a suite, a testcase a cell. Times are zero and the clock is the suite's own, so that
the same run gives the same bytes. What the second evaluator disagrees on is a suite of its own.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from sidecar.review.second import Disagreement
from sidecar.review.testing.cells import Cell
from sidecar.review.testing.run import Outcome

# What XML 1.0 §2.2 does not have: a value in a message may hold anything.
_UNWRITABLE: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CLOCK: Final = "2026-01-01T00:00:00"
SECOND: Final = "second evaluator"


def junit(outcome: Outcome) -> str:
    """Return the XML of a run."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    number = 0
    for number, cells in enumerate(_suites(outcome.cells), 1):
        lines += _suite(cells, number - 1)
    if outcome.opinion.disagreements:
        lines += _second(outcome.opinion.disagreements, number)
    return "\n".join([*lines, "</testsuites>", ""])


def _suites(cells: Sequence[Cell]) -> list[list[Cell]]:
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.suite, []).append(cell)
    return list(found.values())


def _suite(cells: list[Cell], number: int) -> Iterator[str]:
    failures = sum(1 for cell in cells if cell.failed)
    skipped = sum(1 for cell in cells if cell.skipped is not None)
    counted = (len(cells), failures, skipped)
    yield _head(cells[0].suite, cells[0].source, number, counted)
    for cell in cells:
        yield from _case(cell)
    yield from _TAIL


# Both are empty, and one of the two schemas asks for them.
_TAIL: Final = ("    <system-out/>", "    <system-err/>", "  </testsuite>")


def _head(name: str, file: str, number: int, counted: tuple[int, int, int]) -> str:
    tests, failures, skipped = counted
    return (
        f"  <testsuite name={_attr(name)} package={_attr(file)} id={_attr(str(number))} "
        f'timestamp="{_CLOCK}" hostname="localhost" tests="{tests}" failures="{failures}" '
        f'errors="0" skipped="{skipped}" time="0">\n    <properties/>'
    )


def _case(cell: Cell) -> Iterator[str]:
    name = _attr(f"{cell.principal} · {cell.request}")
    head = f'    <testcase name={name} classname={_attr(f"{cell.suite}.{cell.test}")} time="0"'
    if cell.skipped is not None:
        yield f"{head}><skipped message={_attr(cell.skipped)}/></testcase>"
    elif cell.passed:
        yield f"{head}/>"
    else:
        told = [f"{where}:" for where in (cell.where, *cell.at[:1])]
        body = "\n".join([*told, *cell.differences, *cell.explained])
        message = _attr(cell.differences[0])
        yield f'{head}><failure type="expectation" message={message}>{_text(body)}</failure>'
        yield "    </testcase>"


def _second(found: list[Disagreement], number: int) -> Iterator[str]:
    yield _head(SECOND, "cel-python", number, (len(found), len(found), 0))
    for one in found:
        told = f"ours {one.ours}, cel-python {one.theirs}"
        yield (
            f'    <testcase name={_attr(one.part)} classname={_attr(one.rule)} time="0">'
            f'<failure type="disagreement" message={_attr(told)}>{_text(one.where)}</failure>'
        )
        yield "    </testcase>"
    yield from _TAIL


def _attr(text: str) -> str:
    return quoteattr(_UNWRITABLE.sub("�", text))


def _text(text: str) -> str:
    return escape(_UNWRITABLE.sub("�", text))
