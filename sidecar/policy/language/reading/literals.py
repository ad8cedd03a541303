r"""What a literal's token means: numbers within their range, strings and bytes with their escapes.

A line end inside a triple-quoted literal is a line feed however the file was saved, so that one
policy means one thing on every system. A surrogate is refused even as half of an escaped pair:
`\U0001F600` says the same and cannot be torn.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#string-and-bytes-values
"""

import re
from typing import Final

from sidecar.policy.language.reading.lexer import SyntaxProblem, Token
from sidecar.policy.language.tree import LiteralKind

INT_MAX: Final = 2**63 - 1
UINT_MAX: Final = 2**64 - 1

_PLAIN: Final = {
    **dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True)),
    **{mark: mark for mark in "\\?\"'`"},
}
# Every escape, every line end, and a backslash that begins no escape.
_ESCAPE: Final = re.compile(
    r"""\r\n?|\\(?:([abfnrtv\\?"'`])|[xX]([0-9a-fA-F]{2})|([0-3][0-7]{2})"""
    r"""|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|)""",
)


def number(token: Token, *, negative: bool = False) -> tuple[LiteralKind, int | float]:
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


def _double(token: Token, *, negative: bool) -> tuple[LiteralKind, float]:
    if token.text[-1] in "uU":
        raise SyntaxProblem("only a whole number has the suffix `u`", token.start, token.end)
    value = float(token.text)
    if value == float("inf"):
        raise SyntaxProblem("the number is out of range of double", token.start, token.end)
    return "double", -value if negative else value


def text(token: Token) -> tuple[LiteralKind, str | bytes]:
    """Return the kind (`string`, `bytes`) and value of a token of kind `text` or `raw`."""
    is_bytes = token.text[0] in "bB"
    written = token.text.lstrip("bBrR")
    width = 3 if written[:3] in {"'''", '"""'} else 1
    body = written[width:-width]
    if token.kind == "raw" or not _ESCAPE.search(body):
        plain = body.replace("\r\n", "\n").replace("\r", "\n") if "\r" in body else body
        return ("bytes", plain.encode()) if is_bytes else ("string", plain)
    start = token.end - width - len(body)
    pieces, done = [], 0
    for match in _ESCAPE.finditer(body):
        pieces += [body[done : match.start()].encode(), _meaning(match, start, is_bytes=is_bytes)]
        done = match.end()
    value = b"".join([*pieces, body[done:].encode()])
    return ("bytes", value) if is_bytes else ("string", value.decode())


def _meaning(match: re.Match[str], start: int, *, is_bytes: bool) -> bytes:
    """Return what one escape stands for, as UTF-8 or, in bytes, as the octet itself."""
    mark, hexa, octal, short, long = match.groups()
    if mark is not None:
        return _PLAIN[mark].encode()
    if hexa or octal:
        code = int(hexa, 16) if hexa else int(octal, 8)
        return bytes([code]) if is_bytes else chr(code).encode()
    if short or long:
        return _character(int(short or long, 16), match, start, is_bytes=is_bytes)
    if match.group()[0] == "\r":
        return b"\n"
    at = start + match.start()
    raise SyntaxProblem("unknown escape; write `\\\\` for a backslash, or r'…'", at, at + 2)


def _character(code: int, match: re.Match[str], start: int, *, is_bytes: bool) -> bytes:
    span = start + match.start(), start + match.end()
    if is_bytes:
        raise SyntaxProblem("bytes have no `\\u`; write the octets as `\\x…`", *span)
    if 0xD800 <= code <= 0xDFFF:
        raise SyntaxProblem("half of a surrogate pair; write the character as `\\U…`", *span)
    if code > 0x10FFFF:
        raise SyntaxProblem("no such character: the last is `\\U0010FFFF`", *span)
    return chr(code).encode()
