"""Texts that differ in literals alone: what is known of one of them holds for all.

An application that writes values into its text asks another one each time. All of them mean the
same where a literal is nothing but what a value is compared with, added to, or put into a row: no
name, type, position or limit hangs on it, neither for our reader nor for PostgreSQL's grammar.

Why by a pattern and not by the tokens: reading them costs what this is to spare. So it answers only
for texts in which nothing can be mistaken: no comment, escape, dollar, cast or named argument, only
names, whole numbers that fit an `integer`, and plain strings behind `=`, `<` or `>`. All of a text
is accounted for: a quote that pairs with none of these, be it within another, is left over.

INVARIANT: two texts of one form differ in their analysis in the digest of the text alone.
"""

import re
from typing import Final

# What reads and writes rows; a SET means its value, and COPY names a file.
_VERBS: Final = frozenset((b"select", b"insert", b"update", b"delete"))
# Where numbers may be positions or a limit. FLOAT is another type by its number.
_COUNTING: Final = frozenset(
    b"distinct fetch float group limit offset order over window tablesample".split()
)
_WORDS: Final = re.compile(rb"[a-z_]+")
# No control characters: a text that holds one is refused.
_STRING: Final = re.compile(rb"([=<>] ?)'[^'\\\x00-\x08\x0e-\x1f\x7f]*'(?=[\s;,)]|\Z)")
_ENDS: Final = rb"[0-9]{1,9}(?![\w.'])"
_COMPARED: Final = re.compile(rb"([=<>] ?)" + _ENDS)
_ANYWHERE: Final = re.compile(rb"([=<>+*(,-] ?)" + _ENDS)
# A name that nothing but its quotes sets apart from a word.
_QUOTED: Final = re.compile(rb'"[A-Za-z_][A-Za-z0-9_]*"(?!")')
# What is left may have these letters alone, which none of the marks below is among.
_LETTERS: Final = (
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ \t\r\n\f.,;()=<>+*!-"
)
_MARKS: Final = b"?"
_MARK: Final = re.compile(rb"\?([ns])")
_DIGITS_MAX: Final = 9
# What a string may hold, here and in the pattern: no mark, which is in no text that has a form.
_IN_STRINGS: Final = bytes([*range(0x09, 0x0E), *range(0x20, 0x7F)]).translate(None, b"'\\?")


def form_of(text: bytes) -> bytes | None:
    """Return what is the same for each text that means what `text` does; None where none is."""
    form = _STRING.sub(rb"\1?s", text) if b"'" in text else text
    if b"?" in text or b"--" in text or b"=>" in text or not text.isascii():
        return None
    words = _WORDS.findall(form.lower())
    if not words or words[0] not in _VERBS:
        return None
    numbers = _ANYWHERE if _COUNTING.isdisjoint(words) else _COMPARED
    form = numbers.sub(rb"\1?n", form)
    if form is text:
        return None
    rest = _QUOTED.sub(b"", form) if b'"' in form else form
    if rest.translate(None, _LETTERS + _MARKS):
        return None
    return form if _MARKS in form else None


class Shape:
    """What stands around the literals of texts of one form.

    Whether a text is of the same form as the last one is asked of most texts, and told by these at
    a fraction of what it takes to find out the form.

    INVARIANT: what it holds has this form. Quotes stand nowhere else in such a text, and a number
    ends where it ended, so the patterns find each literal where they found the one before.
    """

    __slots__ = ("_first", "_last", "_middle", "_of_last", "_strings")

    def __init__(self, form: bytes) -> None:
        pieces = _MARK.split(form)
        kinds = [kind == b"s" for kind in pieces[1::2]]
        # The quotes of a string are of what stands around it.
        around = [
            b"'" * (at > 0 and kinds[at - 1]) + piece + b"'" * (at < len(kinds) and kinds[at])
            for at, piece in enumerate(pieces[::2])
        ]
        self._first, *middle, self._last = around
        # What stands behind each literal but the last, and whether that is a string.
        self._middle = tuple(zip(middle, kinds, strict=False))
        self._of_last = kinds[-1]
        self._strings = any(kinds)

    def holds(self, text: bytes) -> bool:
        """Return whether `text` has this form; False says that it may have it all the same."""
        if not (text.startswith(self._first) and text.endswith(self._last)):
            return False
        if self._strings and (b"--" in text or b"=>" in text):
            return False
        at = len(self._first)
        for piece, is_string in self._middle:
            end = text.find(piece, at)
            if end < 0 or not _is_literal(text[at:end], is_string=is_string):
                return False
            at = end + len(piece)
        # Empty where the pieces around it overlap: then it is no number, and no string.
        end = len(text) - len(self._last)
        return at <= end and _is_literal(text[at:end], is_string=self._of_last)


def _is_literal(found: bytes, *, is_string: bool) -> bool:
    if is_string:
        return not found.translate(None, _IN_STRINGS)
    return found.isdigit() and len(found) <= _DIGITS_MAX
