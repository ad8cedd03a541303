"""Says whether what a rule's own SQL makes of a value is the same whatever the session's settings.

A client may set its time zone and how dates, intervals, fractions and bytes are written (`session`
has the list of what SET may change). So a value of one of these types may be compared and shown as
it is, and it may not become text, or a time of the other kind, by the way: the year of a
`timestamptz` is another one in another zone, and `left(born::text, 4)` is the day of birth in the
German style. AT TIME ZONE with a zone, and `to_char` behind it, say what is meant; a date has to
become a `timestamp` by a cast first, or PostgreSQL makes it one with the session's zone, which may
lack that day.

Where the catalogue does not say a column's type, it may be any in what is made for times alone.

Not held: `now() - interval '1 day'` and `current_date`, which are the session's under row-level
security as well.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from sidecar.domains.data.enforce.rewriting.masks import base_type
from sidecar.domains.data.enforce.rewriting.references import Node, each
from sidecar.terms.call import Json

# A type as the tree and the catalogue may spell it → what counts of it.
_KINDS: Final = {
    "timestamptz": "zoned", "timestamp with time zone": "zoned", "timetz": "zoned",
    "time with time zone": "zoned", "date": "day", "timestamp": "plain",
    "timestamp without time zone": "plain", "time": "clock", "time without time zone": "clock",
    "interval": "interval", "float4": "fraction", "float8": "fraction", "real": "fraction",
    "float": "fraction", "double precision": "fraction", "bytea": "bytes",
}  # fmt: skip
_UNKNOWN: Final = "unknown"
_STYLED: Final = frozenset(("zoned", "plain", "day", "interval", "fraction", "bytes"))
_ZONELESS: Final = frozenset(("plain", "day", "clock"))
# What of a row, or of a column that a query inside has made, may be any of them.
_ANY: Final = frozenset((_UNKNOWN, "interval", "fraction", "bytes"))
# They read a time with a zone in the session's, or one without as in it.
_OF_A_ZONE: Final = frozenset((
    "age", "date", "date_part", "date_trunc", "extract", "generate_series", "time", "timestamp",
    "timestamptz", "timetz", "timezone", "to_char",
))  # fmt: skip
# As many arguments say the zone.
_TOLD: Final = {("timezone", 2), ("date_trunc", 3)}
# They have no form for a date: it becomes a time with the session's zone first.
_OF_NO_DAY: Final = _OF_A_ZONE - {"date", "date_part", "extract", "timestamp"}
_MAKE_TEXT: Final = (
    "array_to", "bpchar", "char", "concat", "format", "json", "name", "quote", "row_to", "text",
    "to_json", "varchar",
)  # fmt: skip
_NOW: Final = frozenset((
    "now", "clock_timestamp", "statement_timestamp", "to_timestamp", "transaction_timestamp",
    "make_timestamptz",
))  # fmt: skip
_NUMBERS: Final = frozenset(("age", "date_part", "extract"))
# `-1 day 2 hours` is less or more by the style of intervals.
_SIGNED: Final = re.compile(r"\s*-.*[\s:]\d", re.DOTALL)


def is_fixed(tree: Json, types: Mapping[str, set[str | None]]) -> bool:
    """Return whether no value of a rule is made into another one by a setting.

    Args:
        tree: The rule's SQL.
        types: Of each column in it what the catalogue says, None where it says nothing.
    """
    kinds = {name: {_kind(said) for said in some} for name, some in types.items()}
    made = (
        *(_is_fixed_cast(one, kinds) for one in each(tree, "TypeCast")),
        *(_is_fixed_call(one, kinds) for one in each(tree, "FuncCall")),
        *(_is_fixed_operation(one, kinds) for one in each(tree, "A_Expr")),
    )
    return all(made) and not (_has_intervals(tree, kinds) and _has_signs(tree))


def _kind(said: str | None) -> str:
    base = base_type(said)
    return _UNKNOWN if base is None else _KINDS.get(base, "")


def _last(names: list[Node]) -> str:
    return str(names[-1]["String"]["sval"])


def _target(cast: Node) -> str:
    return _KINDS.get(_last(cast["typeName"]["names"]), "")


def _is_fixed_cast(cast: Node, columns: Mapping[str, set[str]]) -> bool:
    inside, target = _made_of(cast["arg"], columns), _target(cast)
    if target in _ZONELESS:
        return not inside & {"zoned", _UNKNOWN}
    if target == "zoned":
        return not inside & {*_ZONELESS, _UNKNOWN}
    is_number = _last(cast["typeName"]["names"]) in ("int2", "int4", "int8", "numeric", "bool")
    return is_number or target in _STYLED or not inside & _STYLED


def _is_fixed_call(call: Node, columns: Mapping[str, set[str]]) -> bool:
    name, arguments = _last(call["funcname"]), call.get("args", [])
    inside = _made_of(arguments, columns)
    if name in _OF_NO_DAY and "day" in inside:
        return False
    if name in _OF_A_ZONE and (name, len(arguments)) not in _TOLD:
        return _is_epoch(name, arguments) or not inside & {"zoned", _UNKNOWN}
    return not name.startswith(_MAKE_TEXT) or not inside & _STYLED


def _is_epoch(name: str, arguments: list[Node]) -> bool:
    """Return whether a number of seconds is asked for, which is the same in each zone."""
    said = arguments[0].get("A_Const", {}).get("sval", {}).get("sval") if arguments else None
    return name in ("date_part", "extract") and said == "epoch"


def _is_fixed_operation(operation: Node, columns: Mapping[str, set[str]]) -> bool:
    inside = _made_of([operation.get("lexpr"), operation.get("rexpr")], columns)
    if _last(operation["name"]) == "||":
        return not inside & _STYLED
    return not (inside & {"zoned"} and inside & _ZONELESS)


def _has_intervals(tree: Json, columns: Mapping[str, set[str]]) -> bool:
    named = {_target(one) for one in each(tree, "TypeCast")}
    return any("interval" in some for some in (named, *columns.values()))


def _has_signs(tree: Json) -> bool:
    texts = (one.get("sval", {}).get("sval", "") for one in each(tree, "A_Const"))
    return any(_SIGNED.match(one) for one in texts)


def _made_of(node: Json, columns: Mapping[str, set[str]]) -> set[str]:
    """Return the kinds of the values in an expression, as far as nothing was made of them yet."""
    return {kind for part in _parts(node) for kind in _result(part, columns)}


def _parts(node: Json) -> Iterator[Node]:
    """Yield the columns, casts and calls of an expression, and nothing that stands in one."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, dict):
            if one.keys() & {"ColumnRef", "TypeCast", "FuncCall", "SQLValueFunction"}:
                yield one
            else:
                waiting.extend(one.values())


def _result(part: Node, columns: Mapping[str, set[str]]) -> Collection[str]:
    if "TypeCast" in part:
        return {_target(part["TypeCast"])}
    if "ColumnRef" in part:
        names = [one["String"]["sval"] for one in part["ColumnRef"]["fields"] if "String" in one]
        return columns.get(names[-1], _ANY) if names else _ANY
    if "SQLValueFunction" in part:
        is_zoned = "CURRENT_TIME" in str(part["SQLValueFunction"].get("op"))
        return {"zoned"} if is_zoned else set()
    call = part["FuncCall"]
    name, arguments = _last(call["funcname"]), call.get("args", [])
    if name in _NOW:
        return {"zoned"}
    if name == "timezone" and len(arguments) == 2:
        # From a time with a zone to one without, or back.
        inside = _made_of(arguments[1:], columns)
        return {"plain"} if inside == {"zoned"} else {"zoned"} if inside == {"plain"} else inside
    return set() if name in _NUMBERS else _made_of(arguments, columns)
