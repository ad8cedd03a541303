"""`${CEL}` holes in a text: where each begins and ends. Whoever reads one text reads it by this."""

from collections.abc import Iterator
from typing import Final

OPENING: Final = "${"
_QUOTES: Final = ("'", '"')


def holes(text: str) -> Iterator[tuple[int, int]]:
    """Yield the span of each hole, from its `${` to behind the brace that closes it.

    Braces and quotes of the expression inside are counted. A hole that is not closed ends behind
    the end of the text.
    """
    at = 0
    while (start := text.find(OPENING, at)) >= 0:
        at = _end(text, start + len(OPENING))
        yield start, at


def filled(text: str, values: Iterator[str]) -> str:
    """Return `text` with the next of `values` in the place of each hole."""
    written: list[str] = []
    at = 0
    for start, end in holes(text):
        written += (text[at:start], next(values))
        at = end
    return "".join((*written, text[at:]))


def _end(text: str, at: int) -> int:
    depth, quote = 1, ""
    while at < len(text):
        char = text[at]
        if quote:
            at += char == "\\"
            quote = "" if char == quote else quote
        elif char in _QUOTES:
            quote = char
        else:
            depth += (char == "{") - (char == "}")
            if depth == 0:
                return at + 1
        at += 1
    return len(text) + 1
