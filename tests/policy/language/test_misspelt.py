"""Expressions with slips of the pen: read as cel-cpp reads them, or refused."""

import re
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from sidecar.policy.language.checking.checker import check
from sidecar.policy.language.reading.lexer import SyntaxProblem
from sidecar.policy.language.reading.parser import parse
from sidecar.policy.language.running.program import Program
from tests.policy.language.differences import explained
from tests.policy.language.expressions import INPUTS, Maker, Shape
from tests.policy.language.oracle import ERROR, Oracle
from tests.policy.language.test_differential import KNOWN, ours, same

SEED = 20_271
# What slips in: marks, quotes, halves of tokens, words, characters that are no white space.
SLIPS = (
    *"()[]{}.,?:!-+*/%<>=&|'\"\\`rbuUxe019a_ \n\t#@;~^$é",
    *("in", "true", "null", "0x", "1u", "1.", ".5", "1e", "//", "'''", '"""', 'r"', "b'", "&&"),
    *("||", "==", ".?", "[?", "{?", "a", "d", ".a", "has(", "cel.", r"\u", r"\x4", r"\101", "-1"),
    *("- 1", "if", "[1]", "{}", "\r", "\x0b", "\x00", "\u2028", "\u00a0", "/* */", "!!", "'a'"),
)
# Where cel-cpp reads what we refuse, by what we say of it, and why.
STRICTER: list[tuple[str, Callable[[str, str], bool]]] = [
    (
        "Macros: a macro's name with other arguments would be a function that nobody has",
        lambda _source, said: " expects " in said,
    ),
    (
        "Numeric values: a literal beyond a double is refused, not infinite",
        lambda _source, said: "out of range of double" in said,
    ),
    (
        "RFC 3339: month, day, hour, minute and second have two digits, a year has four",
        lambda source, said: (
            "timestamp(" in source and said in {"bad_conversion", "invalid_argument"}
        ),
    ),
    (
        "Overflow: what arithmetic on durations comes to is nanoseconds in 64 bits",
        lambda source, said: "duration(" in source and said == "overflow",
    ),
    (
        "Grammar: two signs are two calls, and what they cannot take is an error",
        lambda source, said: re.search(r"-\s*-|!\s*!", source) is not None and "syntax" not in said,
    ),
    (
        "Conversions: a number has no white space",
        lambda source, said: (
            re.search(r"(int|double)\(", source) is not None and said == "bad_conversion"
        ),
    ),
]
# Where we read what cel-cpp refuses.
WIDER: list[tuple[str, re.Pattern[str]]] = [
    (
        "Grammar: in a raw string a backslash is a character, the last one too",
        re.compile(r"""[rR][bB]?(['"])(?:(?!\1).)*\\\1"""),
    ),
    (
        "Macros, of cel-go: `existsOne` is `exists_one`, with one variable or with two",
        re.compile(r"\.exists(One|_one)\("),
    ),
    (
        "Messages: one that there is not is an error where it is asked for",
        re.compile(r"[a-z_]\s*\{"),
    ),
]


def slipped(random: Random, text: str) -> str:
    at, other = random.randrange(len(text) + 1), random.randrange(len(text) + 1)
    what = random.random()
    if what < 0.35:
        return text[:at] + text[at + random.randint(1, 3) :]
    if what < 0.85:
        slip: str = random.choice(SLIPS)
        return text[:at] + slip + text[at:]
    return text[:at] + text[min(at, other) : max(at, other)] + text[at:]


def said_of(source: str, data: dict[str, Any]) -> Any:
    """Return what exact and fast evaluation agree on, or what is wrong with the text."""
    try:
        program = Program(check(parse(source), KNOWN).tree, {"d"})
    except SyntaxProblem as problem:
        return f"syntax: {problem.text}"
    exact, fast = (ours(program, data, exactly=way) for way in (True, False))
    assert same(exact, fast), source
    return exact


def is_explained(source: str, said: Any, theirs: Any) -> bool:
    is_stricter = isinstance(said, str) and any(why(source, said) for _, why in STRICTER)
    is_wider = theirs == ERROR and any(form.search(source) for _, form in WIDER)
    return is_stricter or is_wider or explained(source, said, theirs) is not None


@pytest.mark.fuzz
def test_a_slip_is_read_alike_or_refused(scaled):
    random = Random(SEED)
    maker, oracle = Maker(random, Shape(depth_max=3)), Oracle(["d"])
    data = {"d": INPUTS[0]}
    unexplained, read = [], 0
    for _ in range(scaled(3_000, 100_000)):
        source = slipped(random, maker.any())
        said, theirs = said_of(source, data), oracle.answer(source, data)
        read += not isinstance(said, str)
        told = ERROR if isinstance(said, str) else said
        if not same(told, theirs) and not is_explained(source, said, theirs):
            unexplained.append((source, said, theirs))
    assert unexplained == []
    assert read, "every slip was refused"
