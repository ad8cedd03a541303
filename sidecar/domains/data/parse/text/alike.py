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
