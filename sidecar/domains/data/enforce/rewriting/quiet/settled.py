"""Says whether the times in a rule's own SQL are the same ones whatever the session's settings are.

A client may set its time zone and its order of day and month, and PostgreSQL reads the literals of
a statement by them: `made < '2024-01-01'` of a `timestamptz` moves by a day with the zone. A policy
of PostgreSQL's own was read when it was made. So a literal that looks like a time has to be ISO
8601, and beside a type with a zone it has to say its own.
"""

import re
from collections.abc import Collection
from typing import Final

from sidecar.domains.data.enforce.rewriting.masks import base_type
from sidecar.domains.data.enforce.rewriting.references import each
from sidecar.terms.call import Json

_ZONED: Final = frozenset((
    "timestamptz", "timestamp with time zone", "timetz", "time with time zone",
))  # fmt: skip
_TIMES: Final = _ZONED | {
    "date",
    "timestamp",
    "timestamp without time zone",
    "time",
    "time without time zone",
}
_MONTH: Final = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_NEAR: Final = r"(?:today|tomorrow|yesterday|now|allballs)"
_BESIDE: Final = r"\b(?:utc|gmt|zulu|z|[ap]m|at|mon|tue|wed|thu|fri|sat|sun)\b"
_LOOKS_LIKE: Final = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}:\d\d"
    rf"|\d{{1,4}}[-/. ]*{_MONTH}\b|{_MONTH}[-/. ]+\d"
    rf"|\A(?:[\W\d]|{_BESIDE})*\b{_NEAR}\b",
    re.IGNORECASE,
)
# Numbers of persons and things look so too: only beside what is known to be a time.
_MAY_LOOK_LIKE: Final = re.compile(r"\b(?:\d{6}|\d{8})\b|\b\d{4}\.\d{3}\b|\bJ\d", re.IGNORECASE)
_ISO: Final = r"\d{4}-\d\d-\d\d"
_CLOCK: Final = r"\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?"
_ZONE: Final = r" ?(?:Z|[+-]\d\d(?::?\d\d)?)"
_PLAIN: Final = re.compile(rf"{_ISO}(?:[T ]{_CLOCK}(?:{_ZONE})?)?|{_CLOCK}")
_WITH_ZONE: Final = re.compile(rf"(?:{_ISO}[T ])?{_CLOCK}{_ZONE}")


def is_settled(tree: Json, types: Collection[str | None]) -> bool:
    """Return whether no literal of a rule is a time that settings read otherwise.

    Args:
        tree: The rule's SQL.
        types: Those of the columns in it, None for one that the catalogue does not say.
    """
    kinds = {base_type(said) for said in types if said is not None}
    named = (name["names"][-1]["String"]["sval"] for name in each(tree, "typeName"))
    # What holds for a type holds for its arrays.
    kinds |= {name.removeprefix("_") for name in named}
    looks = [_LOOKS_LIKE, _MAY_LOOK_LIKE] if kinds & _TIMES else [_LOOKS_LIKE]
    if None in types:
        kinds.add("timestamptz")
    if not kinds & _TIMES:
        return True
    allowed = _WITH_ZONE if kinds & _ZONED else _PLAIN
    texts = [one.get("sval", {}).get("sval", "") for one in each(tree, "A_Const")]
    return all(
        allowed.fullmatch(one) or not any(look.search(one) for look in looks) for one in texts
    )
