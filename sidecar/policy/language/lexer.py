"""Text → tokens, with every literal's value: the lexis of CEL.

One regular expression names each token; its repetitions are possessive, so no text takes more than
one pass. What it does not know ends in `bad`, and only then is it asked what was meant.

A carriage return alone inside a comment is refused: the specification ends the comment there and
some implementations read on, so that a reviewer and the engine could see different conditions.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax
"""

import re
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
    """`kind` is `name`, `field`, `number`, `raw`, `text`, `end`, or the operator or keyword itself."""

    kind: str
    text: str
    start: int
    end: int


KEYWORDS: Final = {word: word for word in ("true", "false", "null", "in")}
# Words that the specification keeps for the languages that CEL stands in: no names of values.
RESERVED: Final = frozenset(
    "as break const continue else for function if import let loop package namespace return var"
    " void while".split()
)
INT_MAX: Final = 2**63 - 1
UINT_MAX: Final = 2**64 - 1

_TOKEN: Final = re.compile(
    r"""[\t\n\f\r\ ]*+(?:
      (?P<name>(?![bBrR]{1,2}['"])[A-Za-z_][A-Za-z0-9_]*+)
    | (?P<number>0x[0-9a-fA-F]++[uU]?
        | [0-9]++(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+[uU]?
        | \.[0-9]++(?:[eE][+-]?[0-9]++)?+)
    | (?P<comment>//[^\n]*+)
    | (?P<mark>&&|\|\||[=!<>]=|[-+*/%<>!?:.,()\[\]{}])
    | (?P<raw>[bB]?[rR](?:'''(?:[^']++|'(?!''))*+''' | \"""(?:[^"]++|"(?!""))*+\"""
        | '[^'\n\r]*+' | "[^"\n\r]*+"))
    | (?P<text>[bB]?(?:'''(?:[^'\\]++|\\.|'(?!''))*+''' | \"""(?:[^"\\]++|\\.|"(?!""))*+\"""
        | '(?:[^'\\\n\r]++|\\[^\n\r])*+' | "(?:[^"\\\n\r]++|\\[^\n\r])*+"))
    | (?P<field>`[A-Za-z0-9_.\-/\ ]++`)
    | (?P<end>\Z)
    | (?P<bad>.))""",
    re.VERBOSE | re.DOTALL,
)
_OPENS: Final = {"(": ")", "[": "]", "{": "}"}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def tokens(source: str, limits: Limits) -> list[Token]:
    """Return the tokens of `source`; the last one is `end`.

    Raises:
        SyntaxProblem: Too long, nested too deeply, or not of the language.
    """
    _bound(source, limits)
    found: list[Token] = []
    depth = 0
    for match in _TOKEN.finditer(source):
        kind = match.lastgroup
        assert kind is not None
        start, end = match.span(kind)
        text = source[start:end]
        if kind == "mark":
            kind = text
            if text in "([{":
                depth += 1
                if depth > limits.depth:
                    raise SyntaxProblem(f"nested deeper than {limits.depth}", start, end)
            elif text in ")]}":
                depth -= 1
        elif kind == "name":
            kind = KEYWORDS.get(text, kind)
        elif kind == "comment":
            _one_line(text, start)
            continue
        elif kind == "bad":
            raise _unknown(source, start)
        found.append(Token(kind, text, start, end))
        if kind == "end":
            break
    return found


def _bound(source: str, limits: Limits) -> None:
    if len(source) > limits.characters:
        raise SyntaxProblem(f"longer than {limits.characters} characters", 0, len(source))
    half = None if source.isascii() else _SURROGATE.search(source)
    if half:
        raise SyntaxProblem("half of a surrogate pair is no character", *half.span())


def _one_line(comment: str, start: int) -> None:
    if "\r" in comment.removesuffix("\r"):
        at = start + comment.index("\r")
        raise SyntaxProblem("a comment ends at a line feed; this carriage return hides", at, at + 1)


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


def number(token: Token, *, negative: bool = False) -> tuple[str, int | float]:
    """Return the kind (`int`, `uint`, `double`) and value of a number.

    Args:
        token: Of kind `number`.
        negative: A minus sign stands before it, and belongs to it: the smallest int has no
            positive twin.
    """
    text = token.text
    is_uint = text[-1] in "uU"
    digits = text[:-1] if is_uint else text
    if digits.isdigit():
        # Why the length first: Python refuses to read thousands of digits, in its own words.
        digits = digits.lstrip("0") or "0"
        value = int(digits) if len(digits) <= 20 else UINT_MAX + 1
    elif digits.startswith("0x"):
        value = int(digits, 16)
    else:
        return _double(token, negative=negative)
    most = UINT_MAX if is_uint else INT_MAX + negative
    if value > most:
        kind = "uint" if is_uint else "int"
        raise SyntaxProblem(f"the number is out of range of {kind}", token.start, token.end)
    return ("uint", value) if is_uint else ("int", -value if negative else value)


def _double(token: Token, *, negative: bool) -> tuple[str, float]:
    if token.text[-1] in "uU":
        raise SyntaxProblem("only a whole number has the suffix `u`", token.start, token.end)
    value = float(token.text)
    if value == float("inf"):
        raise SyntaxProblem("the number is out of range of double", token.start, token.end)
    return "double", -value if negative else value
