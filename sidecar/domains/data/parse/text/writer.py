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
# Before these a name is a call's, or an argument's.
_BEHIND_CALLS: Final = frozenset(("(", "=>", ":="))
_ENDING: Final = OPERAND_WORDS | {")"}


class Writer:
    """Walks the tokens once; `_out` is what has been written."""

    # Words of the grammar and signs that are written as they are, but for words that are labels.
    steady: ClassVar[frozenset[Token]]
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
            token = self._tokens[self._at]
            while self._inside and self._at >= self._inside[-1][0]:
                self._inside.pop()
            if not self._is_steady(token):
                self.readers[token.kind](self, token.text)
        return " ".join(self._out)

    def _is_steady(self, token: Token) -> bool:
        """Write a token that has one meaning wherever it stands; return False for any other."""
        kind, text = token
        if token in self.steady:
            is_label = self._tokens[self._at - 1].text in _LABELLING
            if is_label or self._inside or (self._closing and text == ")"):
                return False
            self._operand = text in _ENDING
        elif kind == "op":
            if not self._operand or text not in PLAIN_OPERATORS:
                return False
            self._operand = False
        elif kind != "word" or not self._is_name(text):
            return False
        else:
            text = f'"{text}"'
            self._operand = True
        self._out.append(text)
        self._at += 1
        return True

    def _is_name(self, word: str) -> bool:
        """Return whether a word is a name and nothing but one, which is not called."""
        following = self._tokens[self._at + 1].text
        return not (word in self.telling or following in _BEHIND_CALLS or self._inside)

    def _peek(self, ahead: int = 1) -> Token:
        return self._tokens[self._at + ahead]

    def _put(self, text: str, *, operand: bool, taken: int = 1) -> None:
        if text:
            self._out.append(text)
        self._operand = operand
        self._at += taken
