"""Changes to the tokens of a statement: what to leave out and what to put in."""

from collections.abc import Iterator
from functools import cached_property
from typing import Final

from sidecar.domains.data.catalogue.owned import Castable
from sidecar.domains.data.parse.text.casts import closers
from sidecar.domains.data.parse.text.lexer import Token

# Begins the names of our own making: no scanned name holds a control character.
EXTRA: Final = "\x1e"

OPEN: Final = Token("punct", "(")
CLOSE: Final = Token("punct", ")")
COMMA: Final = Token("punct", ",")
AS: Final = Token("word", "as")
DOT: Final = Token("punct", ".")
_NAMES: Final = ("word", "quoted")


class Edit:
    """What to leave out of a statement and what to put in; applied at once."""

    def __init__(self, statement: list[Token], types: Castable | None = None) -> None:
        self.tokens = statement
        # Those of somebody's own that may be cast to.
        self.types = types
        self._dropped: set[int] = set()
        self._added: dict[int, list[Token]] = {}

    @cached_property
    def closing(self) -> dict[int, int]:
        """Return where each bracket closes."""
        return closers(self.tokens)

    @cached_property
    def opening(self) -> dict[int, int]:
        """Return where each bracket opens, by where it closes."""
        return {end: start for start, end in self.closing.items()}

    def drop(self, start: int, end: int) -> None:
        """Leave out the tokens from `start` to before `end`."""
        self._dropped.update(range(start, end))

    def add(self, at: int, *pieces: Token) -> None:
        """Put `pieces` before the token at `at`."""
        self._added.setdefault(at, []).extend(pieces)

    def text(self, at: int) -> str:
        """Return the word at `at`; empty for anything else, and for a name behind a dot."""
        if not 0 <= at < len(self.tokens) or self.tokens[at].kind != "word":
            return ""
        return "" if at and self.tokens[at - 1] == DOT else self.tokens[at].text

    def is_at(self, at: int, piece: Token) -> bool:
        """Return whether `piece` stands at `at`."""
        return 0 <= at < len(self.tokens) and self.tokens[at] == piece

    def is_name(self, at: int) -> bool:
        """Return whether a word or a quoted name stands at `at`."""
        return 0 <= at < len(self.tokens) and self.tokens[at].kind in _NAMES

    def level(self, start: int, end: int) -> Iterator[int]:
        """Yield the positions from `start` on that stand in no bracket of their own."""
        at = start
        while at < min(end, len(self.tokens)):
            yield at
            at = self.closing.get(at, at) + 1

    def result(self) -> list[Token]:
        """Return the tokens as they are to be."""
        if not self._dropped and not self._added:
            return self.tokens
        out: list[Token] = []
        for at, token in enumerate(self.tokens):
            out += self._added.get(at, ())
            if at not in self._dropped:
                out.append(token)
        return out + self._added.get(len(self.tokens), [])


def marked(name: str) -> Token:
    """Return a name of our own making, which no statement can write."""
    return Token("quoted", EXTRA + name)


def name_end(edit: Edit, at: int) -> int:
    """Return where a name ends that begins at `at`, with schemas before it; `at` for none."""
    while edit.is_name(at) and edit.is_at(at + 1, DOT):
        at += 2
    return at + 1 if edit.is_name(at) else at
