"""Walks the tokens of a statement once, and writes those that have one meaning wherever they stand.

Most have: names, commas, comparisons, SELECT and FROM. What is read at a look is not asked what it
begins; all others are left to the reader of their kind (`canonical`).
"""

from collections.abc import Callable
from functools import cached_property
from typing import ClassVar, Final

from sidecar.domains.data.parse.text.casts import closers, enclosing
from sidecar.domains.data.parse.text.lexer import Token

OPERAND_WORDS: Final = frozenset(("null", "true", "false", "end"))
PLAIN_OPERATORS: Final = frozenset(("+", "-", "*", "/", "%", "=", "<", ">", "<=", ">=", "<>"))
NO_TOKEN: Final = Token("none", "")
# More than is looked ahead or back.
_BEYOND: Final = 6
# Behind these a word is a label.
_LABELLING: Final = frozenset((".", "as"))
# Behind these a bracket may list columns.
_LISTING: Final = frozenset((".", "as", "with", "recursive", "into"))
_BODIES: Final = frozenset(("(", "materialized", "not"))
# Behind these a string is a value.
_BEFORE_STRINGS: Final = frozenset((
    *(Token("op", text) for text in ("=", "<", ">", "<=", ">=", "<>", "+", "-", "||")),
    Token("punct", ","), Token("punct", "("),
))  # fmt: skip
# Before these a name is a call's, or an argument's.
_BEHIND_CALLS: Final = frozenset(("(", "=>", ":="))


class Writer:
    """Walks the tokens once; `_out` is what has been written."""

    # Words of the grammar and signs that are written as they are, but for words that are labels,
    # and whether they end an operand.
    steady: ClassVar[dict[str, bool]]
    # Those of them that are something else beside one of these.
    wary: ClassVar[dict[str, frozenset[str]]]
    # Calls that hold values and no words, and how each is written.
    called: ClassVar[dict[str, str]]
    # Every word that is more than a name somewhere.
    telling: ClassVar[frozenset[str]]
    # One a kind of token.
    readers: ClassVar[dict[str, Callable[..., None]]]

    def __init__(self, statement: list[Token]) -> None:
        self._statement = statement
        self._tokens = statement + [NO_TOKEN] * _BEYOND
        self._out: list[str] = []
        self._at = 0
        # What to write for words at one depth inside a wordy call: closing position → replacements.
        self._inside: list[tuple[int, dict[str, str], str]] = []
        # Closing positions of brackets that were opened as something else.
        self._closing: dict[int, str] = {}
        # Those of them behind which an expression begins.
        self._beginning: set[int] = set()
        # Where a string may stand, whatever word is before it.
        self._free = -1
        # Whether the last token written ends an operand, so that what follows is infix.
        self._operand = False

    @cached_property
    def _closer(self) -> dict[int, int]:
        return closers(self._statement)

    @cached_property
    def _enclosing(self) -> list[int]:
        return enclosing(self._statement, self._closer)

    def text(self) -> str:
        """Return the statement as it is written."""
        end = len(self._statement)
        while self._at < end:
            while self._inside and self._at >= self._inside[-1][0]:
                self._inside.pop()
            if not self._inside:
                self._put_steady(end)
            if self._at < end:
                kind, text = self._tokens[self._at]
                self.readers[kind](self, text)
        return " ".join(self._out)

    def _put_steady(self, end: int) -> None:
        """Write the tokens from here on that have one meaning wherever they stand."""
        tokens, out, steady, wary = self._tokens, self._out, self.steady, self.wary
        at, operand = self._at, self._operand
        before = tokens[at - 1][1]
        while at < end:
            kind, text = tokens[at]
            ends = steady.get(text)
            if ends is None or kind == "quoted":
                written = self._plainly(at, operand=operand)
                if not written:
                    break
                out.append(written)
                ends = kind != "op"
            elif before in _LABELLING or (text in wary and self._is_other(at)):
                break
            else:
                out.append(text)
            operand, before = ends, text
            at += 1
        self._at, self._operand = at, operand

    def _is_other(self, at: int) -> bool:
        """Return whether what is mostly written as it is has another meaning here."""
        text = self._tokens[at][1]
        if text == ")":
            return bool(self._closing)
        return not self.wary[text].isdisjoint((self._tokens[at - 1][1], self._tokens[at + 1][1]))

    def _plainly(self, at: int, *, operand: bool) -> str:
        """Return how a name, a value or an operator is written; empty where that takes a look."""
        kind, text = self._tokens[at]
        if kind == "op":
            return text if operand and text in PLAIN_OPERATORS else ""
        if kind != "word":
            is_behind = kind == "string" and self._tokens[at - 1] in _BEFORE_STRINGS
            return "'1'" if is_behind else text if kind == "number" else ""
        if text in self.telling:
            return ""
        behind = self._tokens[at + 1][1]
        if behind not in _BEHIND_CALLS:
            return f'"{text}"'
        is_call = behind == "(" and not operand and self._is_call(at)
        return self.called[text] if is_call else ""

    def _is_call(self, at: int) -> bool:
        """Return whether a name before a bracket is a call, and one that holds values alone."""
        kind, before = self._tokens[at - 1]
        if self._tokens[at][1] not in self.called or before in _LISTING or kind == "quoted":
            return False
        if before != ",":
            return True
        # It may be a CTE with its columns.
        behind = self._closer[at + 1] + 1
        return self._tokens[behind][1] != "as" or self._tokens[behind + 1][1] not in _BODIES

    def _peek(self, ahead: int = 1) -> Token:
        return self._tokens[self._at + ahead]

    def _put(self, text: str, *, operand: bool, taken: int = 1) -> None:
        if text:
            self._out.append(text)
        self._operand = operand
        self._at += taken
