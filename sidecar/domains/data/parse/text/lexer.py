"""Cuts a statement into tokens exactly where PostgreSQL's scanner cuts it.

Boundaries decide everything: a string that ends one character early is another statement. So this
scanner is the only reader of the text; the grammar reads what `canonical` makes of the tokens.
It follows the lexical structure of PostgreSQL with `standard_conforming_strings` on (which may not
be changed through the sidecar). What depends on settings or that two readers cut differently is
refused: strings continued after an `E''` string, `UESCAPE`, digits with letters on their heels.

Source: PostgreSQL manual, §4.1 Lexical Structure.
"""

import re
from operator import itemgetter
from typing import Final, NamedTuple

from sidecar.domains.data.limits import (
    COMMENT_NESTING_MAX,
    NAME_BYTES_MAX,
    NAMES_KEPT_MAX,
    NESTING_MAX,
    TEXT_BYTES_MAX,
)  # fmt: skip
from sidecar.terms.call import remembers
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

_SCANNER: Final = re.compile(
    r"""
    (?P<space>[ \t\n\r\f\v]+ | --[^\n\r]*)
  | (?P<comment>/\*)
  | (?P<unicode>[uU]&"(?:[^"]|"")++")
  | (?P<escaped>[eE]'(?:[^'\\]|''|\\.)*+')
  | (?P<broken>[eE]')
  | (?P<string>(?:[bBxXnN]|[uU]&)?'(?:[^']|'')*+')
  | (?P<quoted>"(?:[^"]|"")++")
  | (?P<word>[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_$\u0080-\U0010ffff]*)
  | (?P<number>(?:[0-9]+(?:\.(?!\.)[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
  | (?P<param>\$[0-9]+)
  | (?P<dollar>\$(?:[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]*)?\$)
  | (?P<punct>::|:=|[,()\[\].;:])
  | (?P<op>[~!@#^&|`?+\-*/%<>=]{1,64})
    """,
    re.VERBOSE | re.DOTALL,
)
# A text that is all of these is cut by this pattern alone: each is what `_SCANNER` finds there, by
# what may not stand behind it. What begins none of them is an empty piece; nothing is looked at
# again from its second character on, so that the time is that of the text's length.
_PLAIN: Final = re.compile(
    r"""
    (?:(
        [A-Za-z_][A-Za-z0-9_$]*+(?!['&\u0080-\U0010ffff])
      | [0-9]++(?![A-Za-z0-9_$.\u0080-\U0010ffff])
      | \$[0-9]++(?![A-Za-z0-9_$\u0080-\U0010ffff])
      | '[^']*+'(?!')
      | "[^"]++"(?!")
      | [,()\[\];] | :: | \.(?![0-9])
      | (?:[<>]=|<>|!=|\|\||[+\-*/%<>=])(?![~!@#^&|`?+\-*/%<>=])
    ) | [A-Za-z0-9_$]++ | .)
    [ \t\n\r\f\v]*+
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(?:(\\)|\+([0-9a-fA-F]{6})|([0-9a-fA-F]{4})|(.?))", re.DOTALL)
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")
_SPACE: Final = " \t\n\r\f\v"
# An operator that holds one of these may end in a sign.
_ANY_ENDING: Final = frozenset("~!@#%^&|`?")
_WORD_CHAR: Final = re.compile(r"[A-Za-z0-9_$\u0080-\U0010ffff]")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")
_UPPER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_OPENERS: Final = {"(": ")", "[": "]"}
_BRACKETS: Final = frozenset("()[]")


class Token(NamedTuple):
    """One token.

    `kind` is word, quoted, string, number, param, punct or op. `text` is the name as PostgreSQL
    folds it for words and quoted names, empty for strings (nobody needs what they hold), else as
    written.
    """

    kind: str
    text: str


_TEXT: Final = itemgetter(1)
_STRING: Final = Token("string", "")
_SEMICOLON: Final = Token("punct", ";")
_COMMON: Final = """
and as asc by conflict delete desc distinct do excluded from group having in inner insert into is
join left like limit not nothing null offset on or order over returning select set update using
values where with
"""
# Pieces of `_PLAIN` that are the same token wherever they stand.
_FIXED: Final = {
    **{piece: Token("punct", piece) for piece in ",()[];."},
    "::": Token("punct", "::"),
    **{piece: Token("op", piece) for piece in (*"+-*/%<>=", "<=", ">=", "<>", "!=", "||")},
    **{spelt: Token("word", word) for word in _COMMON.split() for spelt in (word, word.upper())},
}
# Names by how they are written: a text has each several times, and others have the same.
_names: Final[dict[str, Token]] = {}
remembers(_names.clear)


def tokens(text: str) -> list[Token]:
    """Return the tokens of `text`, comments and space left out.

    Raises:
        ParseError: `parse.too_large`, `parse.syntax`, `parse.encoding`, `parse.unsupported`.
    """
    if len(text.encode("utf-8", "surrogatepass")) > TEXT_BYTES_MAX:
        raise ParseError(reason("parse.too_large"), f"a text of more than {TEXT_BYTES_MAX} bytes")
    if _CONTROL.search(text):
        raise ParseError(reason("parse.encoding"), "the text holds a control character")
    pieces: list[str] = _PLAIN.findall(text.lstrip(_SPACE))
    if "" in pieces:
        found = _scanned(text)
        _check_nesting([text for kind, text in found if kind == "punct" and text in _BRACKETS])
        return found
    _check_nesting([one for one in pieces if one in _BRACKETS])
    fixed, names = _FIXED.get, _names.get
    return [fixed(one) or names(one) or _plain(one) for one in pieces]


def _plain(piece: str) -> Token:
    """Return the token that a piece of `_PLAIN` is."""
    first = piece[0]
    if first == "'":
        return _STRING
    if first == "$" or first.isdigit():
        return Token("param" if first == "$" else "number", piece)
    if first == '"':
        token = Token("quoted", _name(piece[1:-1]))
    else:
        token = Token("word", _name(piece.lower()))
    if len(_names) >= NAMES_KEPT_MAX:
        _names.clear()
    _names[piece] = token
    return token


def _scanned(text: str) -> list[Token]:
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _SCANNER.match(text, at)
        if match is None:
            raise ParseError(reason("parse.syntax"), f"no token begins at character {at}")
        at = _take(text, match, found)
    return found


def tail(text: str, count: int) -> str:
    """Return a text that `tokens` has read from behind its first `count` tokens on."""
    found: list[Token] = []
    at = 0
    while len(found) < count:
        match = _SCANNER.match(text, at)
        assert match is not None
        at = _take(text, match, found)
    return text[at:].strip(" \t\n\r\f\v")


def spans(text: str) -> list[tuple[int, int]]:
    """Return where each token of a text that `tokens` has read begins and ends."""
    found: list[Token] = []
    placed: list[tuple[int, int]] = []
    at = 0
    while at < len(text):
        match = _SCANNER.match(text, at)
        assert match is not None
        count, start = len(found), at
        at = _take(text, match, found)
        if len(found) > count:
            placed.append((start, at))
    return placed


def _take(text: str, match: re.Match[str], found: list[Token]) -> int:
    """Append what `match` is to `found` and return where the next token begins."""
    kind = match.lastgroup
    assert kind is not None
    if kind == "space":
        return match.end()
    if kind == "comment":
        return _comment_end(text, match.end())
    if kind in ("word", "punct"):
        found.append(Token(kind, _name(match.group().translate(_UPPER))))
        return match.end()
    if kind == "op":
        operator = _operator(match.group())
        if operator:
            found.append(Token("op", operator))
        return match.start() + len(operator)
    return _take_literal(text, match, found)


def _take_literal(text: str, match: re.Match[str], found: list[Token]) -> int:
    kind, raw = match.lastgroup, match.group()
    if kind in ("quoted", "unicode"):
        name = raw[raw.index('"') + 1 : -1].replace('""', '"')
        found.append(Token("quoted", _name(name if kind == "quoted" else _decoded(name))))
        return match.end()
    if kind in ("number", "param"):
        if _WORD_CHAR.match(text, match.end()):
            raise ParseError(reason("parse.syntax"), f"letters after digits at {match.start()}")
        found.append(Token(kind, raw))
        return match.end()
    if kind in ("escaped", "string"):
        _refuse_continued(text, match)
        found.append(Token("string", ""))
        return match.end()
    if kind == "dollar":
        end = text.find(raw, match.end())
        if end < 0:
            raise ParseError(reason("parse.syntax"), "a dollar-quoted string does not end")
        found.append(Token("string", ""))
        return end + len(raw)
    if kind == "broken":
        raise ParseError(reason("parse.syntax"), "a string does not end")
    raise ParseError(reason("parse.syntax"), "a name does not end")


def _decoded(text: str) -> str:
    """Return a name of `U&"…"` with its escapes read; `UESCAPE` is refused where it is written out.

    Source: PostgreSQL manual, §4.1.2.3.
    """

    def character(match: re.Match[str]) -> str:
        backslash, long, short, other = match.groups()
        if other is not None:
            raise ParseError(reason("parse.syntax"), "an escape of a name that is none")
        return backslash or chr(min(int(long or short, 16), 0x110000 - 1))

    name = _ESCAPE.sub(character, text)
    if _CONTROL.search(name) or "\U0010ffff" in name:
        raise ParseError(reason("parse.encoding"), "a name holds a control character")
    return name


def _refuse_continued(text: str, match: re.Match[str]) -> None:
    """Refuse a string behind one with a prefix: what its backslashes mean depends on that.

    Behind a plain one it is plain too, and `canonical` writes both as one.
    """
    if match.group().startswith("'"):
        return
    at = match.end()
    while True:
        following = _SCANNER.match(text, at)
        if following is None or following.lastgroup not in ("space", "comment"):
            break
        at = following.end()
        if following.lastgroup == "comment":
            at = _comment_end(text, at)
    if text.startswith("'", at):
        raise ParseError(reason("parse.unsupported"), "a string continued by another is not read")


def _comment_end(text: str, at: int) -> int:
    depth = 1
    for edge in _COMMENT_EDGE.finditer(text, at):
        depth += 1 if edge.group() == "/*" else -1
        if depth > COMMENT_NESTING_MAX:
            said = f"comments nested deeper than {COMMENT_NESTING_MAX}"
            raise ParseError(reason("parse.too_large"), said)
        if depth == 0:
            return edge.end()
    raise ParseError(reason("parse.syntax"), "a comment does not end")


def _operator(run: str) -> str:
    """Return the first operator of a run of operator characters.

    A comment ends it, and a longer one ends in `+` or `-` only if it holds one of `~!@#%^&|`?`.
    """
    for opener in ("--", "/*"):
        cut = run.find(opener)
        if cut >= 0:
            run = run[:cut]
    if len(run) > NAME_BYTES_MAX:
        raise ParseError(reason("parse.syntax"), "an operator that is too long")
    if len(run) > 1 and _ANY_ENDING.isdisjoint(run):
        run = run[0] + run[1:].rstrip("+-")
    return run


def _name(name: str) -> str:
    if len(name) > 15 and len(name.encode()) > NAME_BYTES_MAX:
        raise ParseError(
            reason("parse.too_large"), f"a name of more than {NAME_BYTES_MAX} bytes, which is cut"
        )
    return name


def _check_nesting(brackets: list[str]) -> None:
    closers: list[str] = []
    for bracket in brackets:
        if bracket in _OPENERS:
            closers.append(_OPENERS[bracket])
            if len(closers) > NESTING_MAX:
                raise ParseError(
                    reason("parse.too_large"), f"brackets nested deeper than {NESTING_MAX}"
                )
        elif not closers or closers.pop() != bracket:
            raise ParseError(reason("parse.syntax"), "brackets do not match")
    if closers:
        raise ParseError(reason("parse.syntax"), "a bracket is not closed")


def marks_of(statement: list[Token]) -> set[str]:
    """Return the texts of all tokens."""
    return set(map(_TEXT, statement))


def statements(found: list[Token]) -> list[list[Token]]:
    """Return the statements between the semicolons; empty ones are none."""
    if _SEMICOLON not in found:
        return [found] if found else []
    split: list[list[Token]] = [[]]
    for piece in found:
        if piece == _SEMICOLON:
            split.append([])
        else:
            split[-1].append(piece)
    return [statement for statement in split if statement]
