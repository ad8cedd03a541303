"""Writes what is shown in the place of a masked column.

A mask keeps the column's type, so that the rest of the statement reads as it did. Where the
catalogue does not say the type, `CASE WHEN false THEN column ELSE … END` makes PostgreSQL find one
type for both, or refuse the statement; nothing is shown of the column by the branch never taken.

`hash` is keyed, and its key is never here: whoever sees a statement with a key in it (a log,
EXPLAIN, `pg_stat_activity`) could unmask every value that can be guessed, salted or not. So the
database keeps the key, behind the function `sidecar.keyed_hash(text)`, which no statement may call
by itself: it would tell the hash of any guess.
"""

import re
from typing import Final

from sidecar.domains.data.enforce.rewriting.due import Mask
from sidecar.domains.data.enforce.rewriting.text import quoted, unsupported
from sidecar.domains.data.parse.text.functions import TYPES

HASH: Final = ("sidecar", "keyed_hash")

_TEXTS: Final = frozenset(("text", "varchar", "character varying", "bpchar", "char", "character"))
_TIMES: Final = frozenset((
    "date", "timestamp", "timestamptz", "timestamp without time zone", "timestamp with time zone",
))  # fmt: skip
_ZONED: Final = frozenset(("timestamptz", "timestamp with time zone"))
_WHOLES: Final = frozenset(
    ("int2", "int4", "int8", "smallint", "integer", "int", "bigint", "numeric", "decimal")
)
_MODIFIER: Final = re.compile(r"\s*\([^)]*\)")
_NUMBERS: Final = re.compile(r"\(\s*\d+\s*(?:,\s*-?\d+\s*)?\)")
_OPEN: Final = {"char": "bpchar", "character": "bpchar", "bit": "bit varying"}
_SPACE: Final = re.compile(r"\s+")
_PADDED: Final = re.compile(r"(?:char|character|bpchar)\s*\(\s*(\d{1,8})\s*\)")
# The longest text that a mask shows.
_LONGEST: Final = {"redact": 3, "last4": 8, "truncate": 3}


def base_type(said: str | None) -> str | None:
    """Return a type without its modifiers, None for one that is not built in or not said."""
    if said is None:
        return None
    plain = _SPACE.sub(" ", _MODIFIER.sub("", said)).strip().lower()
    known = TYPES | _TEXTS | _TIMES | {"double precision", "bit varying"}
    return plain if plain in known else None


def full_type(said: str | None) -> str | None:
    """Return a type with its modifiers, as a value of it is stored; None for one not known."""
    if base_type(said) is None or said is None:
        return None
    plain = _SPACE.sub(" ", said).strip().lower()
    is_known = len(_MODIFIER.findall(plain)) == len(_NUMBERS.findall(plain)) < 2
    return plain if is_known else None


def open_type(said: str | None) -> str | None:
    """Return the type that holds a value before its column cuts or refuses it."""
    # `character` alone is one character long, `bit` one bit.
    kind = base_type(said)
    return _OPEN.get(kind, kind) if kind is not None else None


def masked(mask: Mask, column: str, said: str | None, expression: str) -> str:
    """Return the expression that is shown.

    Args:
        mask: How.
        column: The column, qualified and quoted.
        said: Its type as the catalogue has it, None where it has none.
        expression: That of the mask, over the same relation; empty where it has none.

    Raises:
        EnforceError: A value of the column's type cannot be shown so.
    """
    kind = base_type(said)
    if mask.kind == "nullify":
        return f"CASE WHEN false THEN {column} END"
    if mask.kind == "expression":
        return _typed(column, kind, f"({expression})")
    if mask.kind == "truncate":
        return _typed(column, _padded(mask, said) or kind, _truncated(column, kind))
    if said is not None and kind not in _TEXTS:
        raise unsupported(f"the mask `{mask.kind}` of a column that is no text")
    return _typed(column, _padded(mask, said) or kind, _TEXT_MASKS[mask.kind].format(column))


def _padded(mask: Mask, said: str | None) -> str | None:
    """Return the type `char(n)` of a column where it pads what is shown, and cuts nothing of it."""
    found = _PADDED.fullmatch(full_type(said) or "")
    if found is None or int(found[1]) < _LONGEST.get(mask.kind, int(found[1]) + 1):
        return None
    return f"char({int(found[1])})"


def _typed(column: str, kind: str | None, shown: str) -> str:
    if kind is None:
        return f"CASE WHEN false THEN {column} ELSE {shown} END"
    return f"CAST({shown} AS {_OPEN.get(kind, kind)})"


# At most half of a value is shown, of whatever length it is, and its length is not.
_TEXT_MASKS: Final = {
    "redact": "'***'",
    "last4": "'****' || right(CAST({0} AS text), least(4, length(CAST({0} AS text)) / 2))",
    "hash": f"{quoted(*HASH)}(CAST({{0}} AS text))",
}


def _truncated(column: str, kind: str | None) -> str:
    if kind in _TEXTS:
        return f"left(CAST({column} AS text), least(3, length(CAST({column} AS text)) / 2))"
    if kind in _ZONED:
        # That of the session would tell what is near the turn of a year.
        return f"date_trunc('year', {column}, 'UTC')"
    if kind in _TIMES:
        # A date alone would become a time of the session's zone, which may lack that day.
        return f"date_trunc('year', CAST({column} AS timestamp))"
    if kind in _WHOLES:
        return f"div(CAST({column} AS numeric), 1000) * 1000"
    raise unsupported("the mask `truncate` of a column whose type the catalogue does not say")
