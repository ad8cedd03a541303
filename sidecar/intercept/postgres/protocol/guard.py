"""What a decision asks of the answers: how many rows may pass, and that the server says no more.

PostgreSQL's words may carry data: a DETAIL shows the row, and the message of a failed cast the
value that was cast, of rows too that a filter leaves out, since the order in which conditions are
looked at is the planner's. While an obligation is in force an error keeps its code alone; else its
message and the names in it, since a DETAIL shows the whole row that was written, with columns that
nobody asked to read, and a deferred constraint speaks as late as at COMMIT.
"""

from collections.abc import Iterable
from typing import Final

import orjson

from sidecar.intercept.postgres.protocol import wire
from sidecar.terms.decision import Obligation

LIMIT: Final = "limit_rows"
_QUIET: Final = frozenset((LIMIT, "filter_rows", "mask", "deny_in_predicate", "min_group_size"))
# Errors of which the message says nothing but what was asked for: of transactions, resources,
# privileges, names in the protocol and of being told to stop. Class 42 is not among them: a value
# that is cast to `regclass` is looked up as a name.
_PLAIN_CLASSES: Final = ("08", "25", "26", "34", "40", "53", "57")
_PLAIN: Final = frozenset(("42501", "42P03", "42P05", "55P03"))
# Detail, hint, where it came from, and the query that a function or a trigger ran.
_TELLING: Final = frozenset(b"DHWpq")
_WITHHELD: Final = "the server's words are withheld while an obligation is in force"

# Of a schema, and of a function, that is not there.
_ABSENT: Final = frozenset(("3F000", "42883"))

Due = frozenset[tuple[str, str, bytes]]


def rows_max(obligations: Iterable[Obligation]) -> int | None:
    """Return how many rows may pass, None where nothing bounds them."""
    bounds = [one.values["max"] for one in obligations if one.type == LIMIT]
    return min(bounds) if bounds else None


def is_quiet(obligations: Iterable[Obligation]) -> bool:
    """Return whether the server's words must not pass."""
    return any(one.type in _QUIET for one in obligations)


def may_lack_hash(obligations: Iterable[Obligation], code: str | None) -> bool:
    """Return whether an error may be that of a database without the function for masks `hash`.

    Nobody would find out: who asked is told the code alone.
    """
    return code in _ABSENT and any(
        one.type == "mask" and one.values.get("with") == "hash" for one in obligations
    )


def due(obligations: Iterable[Obligation]) -> Due:
    """Return what is due in a form that can be compared."""
    return frozenset(
        (one.type, one.target, orjson.dumps(one.values, option=orjson.OPT_SORT_KEYS))
        for one in obligations
    )


def curt(kind: bytes, body: bytes) -> bytes | None:
    """Return an error or a notice without what may show a row, None where nothing in it does."""
    said = [field for field in body.split(b"\0") if field]
    kept = [field for field in said if field[0] not in _TELLING]
    if len(kept) == len(said):
        return None
    return wire.message(kind, *(field + b"\0" for field in kept), b"\0")


def worded(body: bytes, *, is_quiet: bool) -> bytes | None:
    """Return an error in the words that it keeps, None for all of them."""
    return hushed(body) if is_quiet else curt(b"E", body)


def hushed(body: bytes) -> bytes:
    """Return an ErrorResponse that says of `body`'s error what cannot carry data."""
    said = wire.fields(body)
    code = said.get("C", "XX000")
    is_plain = code in _PLAIN or code[:2] in _PLAIN_CLASSES
    text = said.get("M", "") if is_plain else _WITHHELD
    return wire.error(code, text, fatal=said.get("V") in ("FATAL", "PANIC"))
