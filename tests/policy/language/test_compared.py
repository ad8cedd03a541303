"""Questions about the language, put to our evaluator and to Google's cel-cpp: one answer."""

from typing import Any

import pytest

from sidecar.policy.language import environment
from sidecar.policy.language.checking.checker import check
from sidecar.policy.language.faults import Fault
from sidecar.policy.language.reading.lexer import SyntaxProblem
from sidecar.policy.language.reading.parser import parse
from sidecar.policy.language.running.program import Program
from sidecar.policy.language.types import DYN
from tests.policy.language.answers import shown
from tests.policy.language.oracle import ERROR, Oracle
from tests.tables import Row, rows

DATA: dict[str, Any] = {"d": {"a": {"b": 5}}, "x": [1, 2], "y": None}
KNOWN = environment(dict.fromkeys(DATA, DYN))


def ours(source: str, *, exactly: bool) -> Any:
    try:
        program = Program(check(parse(source), KNOWN).tree, DATA)
        return shown((program.run_exactly if exactly else program.run)(DATA, {}))
    except (Fault, SyntaxProblem):
        return ERROR


@pytest.mark.parametrize("row", rows("policy/language/compared.yaml"))
def test_the_answer_is_the_same(row: Row) -> None:
    oracle = Oracle(list(DATA))
    answers = [
        (source, *(ours(source, exactly=way) for way in (True, False)), oracle.answer(source, DATA))
        for source in row.given
    ]

    assert row.want == "same"
    assert [each for each in answers if not repr(each[1]) == repr(each[2]) == repr(each[3])] == []
