"""Writes a statement in another way: case, comments, quoting, aliases, white space, nesting.

The pieces are cut by a pattern of their own, not by the scanner under test.
"""

import random
import re

_PIECES = re.compile(
    r"""'(?:[^']|'')*' | [uU]&"(?:[^"]|"")*" | "(?:[^"]|"")*" | [A-Za-z_][A-Za-z0-9_]* | \s+ | .""",
    re.VERBOSE | re.DOTALL,
)
_SPACES = (
    " ", "\n", "\t", "\f", "  \r\n ", " /* x */ ", "/**/ ", " -- ' \" ; x\n",
    " /* a /* ' */ -- */ ", "\n/* \" $$ */\n", " --\n",
)  # fmt: skip
# Around a query, `{}`.
_NESTS = (
    "select * from ({}) q", "select q from ({}) q", "select count(*) from ({}) as q",
    "with q as ({}) select * from q", "with q as materialized ({}) table q",
    "select exists ({})", "({})", "select row_to_json(q.*) from ({}) q", "({}) limit 3",
    "select * from people z where exists ({})", "select 1 from orders, lateral ({}) q",
    "with recursive q as ({}) select q.* from q, q r", "({}) union all ({})",
    "insert into orders (note) select 'x' from ({}) q", "select array(select 1 from ({}) q)",
    "with d as (delete from orders returning id) select * from d, ({}) q",
    "select (select count(q) from ({}) q), name from people",
    "update people set name = 'x' where exists ({})",
    "merge into people using ({}) q on true when matched then do nothing",
    "select * from ({}) q natural join (select 1 as one) r",
    "values ((select count(*) from ({}) q))",
    "select case when exists ({}) then 1 end",
)  # fmt: skip
_NAMES = "people orders hr id name ssn email total note salary boss parent child kind person made"
_WORDS = frozenset(_NAMES.split(" "))


def mutated(text: str, chance: random.Random) -> str:
    """Return `text` with one to four changes."""
    for _ in range(chance.randint(1, 4)):
        text = chance.choice((_nested, _cased, _spaced, _quoted, _aliased, _escaped))(text, chance)
    return text


def respelt(text: str, chance: random.Random) -> str:
    """Return `text` written in another way that cannot change what it reads."""
    text = _spaced(_cased(text, chance), chance)
    if not text.lstrip("( \n\t").lower().startswith(("select", "values")) or chance.random() < 0.5:
        return text
    return chance.choice(_NESTS[:9]).replace("{}", text)


def _cut(text: str) -> list[str]:
    return _PIECES.findall(text)


def _is_word(piece: str) -> bool:
    return piece[:1].isalpha() and piece[1:2] != "&"


def _cased(text: str, chance: random.Random) -> str:
    changes = (str.upper, str.lower, str.title, str.swapcase)
    return "".join(
        chance.choice(changes)(piece) if _is_word(piece) and chance.random() < 0.5 else piece
        for piece in _cut(text)
    )


def _spaced(text: str, chance: random.Random) -> str:
    return "".join(
        chance.choice(_SPACES) if piece.isspace() and chance.random() < 0.4 else piece
        for piece in _cut(text)
    )


def _quoted(text: str, chance: random.Random) -> str:
    return "".join(
        f'"{piece.lower()}"' if piece.lower() in _WORDS and chance.random() < 0.4 else piece
        for piece in _cut(text)
    )


def _escaped(text: str, chance: random.Random) -> str:
    """Write some names with unicode escapes."""
    return "".join(
        f'U&"\\{ord(piece[0].lower()):04x}{piece[1:].lower()}"'
        if piece.lower() in _WORDS and chance.random() < 0.15
        else piece
        for piece in _cut(text)
    )


def _aliased(text: str, chance: random.Random) -> str:
    """Call a relation or a column by another's name."""
    pieces = _cut(text)
    at = [i for i, piece in enumerate(pieces) if piece.lower() in _WORDS]
    if at:
        i = chance.choice(at)
        pieces[i] = f"{pieces[i]} {chance.choice(('as ', ''))}{chance.choice(sorted(_WORDS))}"
    return "".join(pieces)


def _nested(text: str, chance: random.Random) -> str:
    shape = chance.choice(_NESTS)
    return shape.replace("{}", text) if len(text) < 2_000 else text
