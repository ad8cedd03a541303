"""Text → tokens: the lexis of CEL.

One regular expression names each token; its repetitions are possessive, so no text takes more than
one pass. What it does not know ends in `bad`, and only then is it asked what was meant.

A carriage return alone inside a comment is refused: the specification ends the comment there and
some implementations read on, so that a reviewer and the engine could see different conditions.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax
"""

import re
from sys import intern
from typing import Final, NamedTuple

from sidecar.policy.language.limits import Limits


class SyntaxProblem(Exception):
    """A text is not an expression: why, and the code points `start` to `end` that show it."""

    def __init__(self, text: str, start: int, end: int) -> None:
        super().__init__(text)
        self.text = text
        self.start = start
        self.end = end


def place(source: str, offset: int) -> tuple[int, int]:
    """Return the 1-based line and column of an offset."""
    return source.count("\n", 0, offset) + 1, offset - source.rfind("\n", 0, offset)


class Token(NamedTuple):
    """`kind` is name, field, number, raw, text or end, or the operator or keyword itself."""

    kind: str
    text: str
    start: int
    end: int


KEYWORDS: Final = {word: word for word in ("true", "false", "null", "in")}
# Words that the specification keeps for the languages that CEL stands in: no names of values.
RESERVED: Final = frozenset(
    {
        *("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let"),
        *("loop", "package", "namespace", "return", "var", "void", "while"),
    }
)

_TOKEN: Final = re.compile(
    r"""[\t\n\f\r\ ]*+(?:
      (?P<name>(?![bBrR]{1,2}['"])[A-Za-z_][A-Za-z0-9_]*+)
    | (?P<number>0x[0-9a-fA-F]++[uU]?
        | [0-9]++(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+[uU]?
        | \.[0-9]++(?:[eE][+-]?[0-9]++)?+)
    | (?P<comment>//[^\n]*+)
    | (?P<mark>&&|\|\||[=!<>]=|[-+*/%<>!?:.,()\[\]{}])
    | (?P<raw>[bB]?[rR](?:'''(?:[^']++|'(?!''))*+''' | \"""(?:[^"]++|"(?!""))*+\"""
        | (?!''')'[^'\n\r]*+' | (?!\""")"[^"\n\r]*+"))
    | (?P<text>[bB]?(?:'''(?:[^'\\]++|\\.|'(?!''))*+''' | \"""(?:[^"\\]++|\\.|"(?!""))*+\"""
        | (?!''')'(?:[^'\\\n\r]++|\\[^\n\r])*+' | (?!\""")"(?:[^"\\\n\r]++|\\[^\n\r])*+"))
    | (?P<field>`[A-Za-z0-9_.\-/\ ]++`)
    | (?P<end>\Z)
    | (?P<bad>.))""",
    re.VERBOSE | re.DOTALL,
)
_OPENING: Final = frozenset("([{")
_CLOSING: Final = frozenset(")]}")
_ASIDE: Final = frozenset({"comment", "bad"})
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def tokens(source: str, limits: Limits) -> list[Token]:
    """Return the tokens of `source`; the last one is `end`.

    Raises:
        SyntaxProblem: Too long, nested too deeply, or not of the language.
    """
    _bound(source, limits)
    found: list[Token] = []
    for match in _TOKEN.finditer(source):
        kind = match.lastgroup
        assert kind is not None
        start, end = match.span(kind)
        text = source[start:end]
        if kind == "mark":
            kind = text
        elif kind == "name":
            # Few names are written often: one text stands for them all.
            text = intern(text)
            kind = KEYWORDS.get(text, kind)
        elif kind in _ASIDE:
            _aside(source, start, text)
            continue
        found.append(Token(kind, text, start, end))
        if kind == "end":
            break
    # INVARIANT: the parser recurses for brackets alone, so this bounds it.
    if len(found) > limits.depth:
        _nested(found, limits.depth)
    return found


def _nested(found: list[Token], depth_max: int) -> None:
    depth = 0
    for token in found:
        if token.kind in _OPENING:
            depth += 1
            if depth > depth_max:
                raise too_deep(depth_max, token.start, token.end)
        elif token.kind in _CLOSING:
            depth -= 1


def too_deep(depth_max: int, start: int, end: int) -> SyntaxProblem:
    """Return what is said of an expression that is deeper than `depth_max`."""
    return SyntaxProblem(f"nested deeper than {depth_max}", start, end)


def _bound(source: str, limits: Limits) -> None:
    if len(source) > limits.characters:
        raise SyntaxProblem(f"longer than {limits.characters} characters", 0, len(source))
    half = None if source.isascii() else _SURROGATE.search(source)
    if half:
        raise SyntaxProblem("half of a surrogate pair is no character", *half.span())


def _aside(source: str, start: int, text: str) -> None:
    """Pass a comment; refuse what begins no token, and a comment that may end earlier."""
    if not text.startswith("//"):
        raise _unknown(source, start)
    if "\r" in text.removesuffix("\r"):
        at = start + text.index("\r")
        raise SyntaxProblem("a carriage return inside a comment hides what follows", at, at + 1)


_MEANT: Final = {"=": "==", "&": "&&", "|": "||"}
_STRING_START: Final = re.compile(r"""([A-Za-z]{0,2})('''|\"""|['"])""")


def _unknown(source: str, start: int) -> SyntaxProblem:
    """Say what was meant by the text at `start`, which begins no token."""
    found = source[start]
    opened = _STRING_START.match(source, start)
    if opened:
        return _bad_string(source, opened)
    if found == "`":
        close = source.find("`", start + 1)
        text = "a quoted field is letters, digits, `_`, `.`, `-`, `/` and spaces between backticks"
        return SyntaxProblem(text, start, close + 1 if close > 0 else len(source))
    hint = f"; did you mean `{_MEANT[found]}`?" if found in _MEANT else ""
    shown = f"`{found}`" if found.isprintable() else f"character U+{ord(found):04X}"
    return SyntaxProblem(f"unexpected {shown}{hint}", start, start + 1)


def _bad_string(source: str, opened: re.Match[str]) -> SyntaxProblem:
    prefix, quotes = opened.groups()
    start, inside = opened.span()
    if prefix.lower() not in {"", "r", "b", "br"}:
        return SyntaxProblem(f"`{prefix}` is no prefix of a string: b, r and br are", start, inside)
    line = re.compile(r"[\n\r]").search(source, inside)
    if len(quotes) == 3 or not line:
        return SyntaxProblem(f"the string is not closed by {quotes}", start, len(source))
    text = f"the string is not closed by {quotes} before the line ends"
    return SyntaxProblem(text, start, line.start())
