"""Says whether what a rule's own SQL makes of a value is the same whatever the session's settings.

A client may set its time zone and how dates, intervals, fractions and bytes are written (`session`
has the list of what SET may change). So a value of one of these types may be compared and shown as
it is, and it may not become text, or a time of the other kind, by the way: the year of a
`timestamptz` is another one in another zone, and `left(born::text, 4)` is the day of birth in the
German style. AT TIME ZONE with a zone, and `to_char` behind it, say what is meant; a date has to
become a `timestamp` by a cast first, or PostgreSQL makes it one with the session's zone, which may
lack that day.

What the clock says is held to the same: `now()` is a moment, `current_date` and its kin are what
the session's zone makes of one. So are days and months that are added to a moment (a day has 23
hours where the clocks are put forward); hours are not.

Where the catalogue does not say a column's type, it may be any in what is made for times alone.

Source: PostgreSQL manual, §9.9 Date/Time Functions and Operators.
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
    "age", "date", "date_add", "date_part", "date_subtract", "date_trunc", "extract",
    "generate_series", "overlaps", "time", "timestamp", "timestamptz", "timetz", "timezone",
    "to_char",
))  # fmt: skip
# As many arguments say the zone.
_TOLD: Final = {("timezone", 2), ("date_add", 3), ("date_subtract", 3), ("date_trunc", 3)}
# Whatever they are given they read or tell it in the session's, with as many arguments.
_OF_THE_SESSION: Final = {
    ("to_timestamp", 2), ("make_timestamptz", 6), ("timeofday", 0), ("timezone", 1),
}  # fmt: skip
# The one of PostgreSQL's words for the clock that is a moment.
_MOMENT: Final = "SVFOP_CURRENT_TIMESTAMP"
_CLOCKS: Final = (
    "SVFOP_CURRENT_DATE", "SVFOP_CURRENT_TIME", "SVFOP_LOCALTIME", "SVFOP_LOCALTIMESTAMP",
)  # fmt: skip
# An interval without days.
_HOURS: Final = re.compile(
    r"\s*[+-]?\d{1,9}(?:\.\d+)? *(?:h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?)\s*",
    re.IGNORECASE,
)
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
        *(_is_moment(one) for one in each(tree, "SQLValueFunction")),
        *(_is_fixed_query(one, kinds) for one in each(tree, "SubLink")),
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
    return _KINDS.get(_type_of(cast), "")


def _type_of(cast: Node) -> str:
    """Return the type that is cast to, of arrays that of what they hold."""
    return _last(cast["typeName"]["names"]).removeprefix("_")


def _is_moment(value: Node) -> bool:
    """Return whether one of the words that are values is the same in each zone."""
    op = str(value["op"])
    return op.startswith(_MOMENT) or not op.startswith(_CLOCKS)


def _is_fixed_query(query: Node, columns: Mapping[str, set[str]]) -> bool:
    """Return whether what is looked for in a query is of the kind that it shows."""
    if "testexpr" not in query:
        return True
    shown = query["subselect"].get("SelectStmt", {}).get("targetList", ())
    return _is_of_one_kind(_made_of([query["testexpr"], *shown], columns))


def _is_fixed_cast(cast: Node, columns: Mapping[str, set[str]]) -> bool:
    inside, target = _made_of(cast["arg"], columns), _target(cast)
    if _type_of(cast) == "timetz":
        # Also of a time with another zone: the session's becomes its own.
        return not inside & {"zoned", *_ZONELESS, _UNKNOWN}
    if target in _ZONELESS:
        return not inside & {"zoned", _UNKNOWN}
    if target == "zoned":
        return not inside & {*_ZONELESS, _UNKNOWN}
    is_number = _type_of(cast) in ("int2", "int4", "int8", "numeric", "bool")
    return is_number or target in _STYLED or not inside & _STYLED


def _is_fixed_call(call: Node, columns: Mapping[str, set[str]]) -> bool:
    name, arguments = _last(call["funcname"]), call.get("args", [])
    inside = _made_of(arguments, columns)
    if (name, len(arguments)) in _OF_THE_SESSION or name.endswith("_tz"):
        return False
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
    left, right = operation.get("lexpr"), operation.get("rexpr")
    inside, name = _made_of([left, right], columns), _last(operation["name"])
    if name == "||":
        return not inside & _STYLED
    if name in ("+", "-"):
        return _is_fixed_sum(left, right, columns) and _is_fixed_sum(right, left, columns)
    return _is_of_one_kind(inside)


def _is_of_one_kind(kinds: set[str]) -> bool:
    """Return whether no time with a zone stands beside what may be one without."""
    return "zoned" not in kinds or not kinds & {*_ZONELESS, _UNKNOWN}


def _is_fixed_sum(one: Json, other: Json, columns: Mapping[str, set[str]]) -> bool:
    """Return whether a moment is moved by hours alone, or another moment taken away from it."""
    kinds, beside = _made_of(one, columns), _made_of(other, columns)
    if "zoned" not in kinds:
        return _UNKNOWN not in kinds or "interval" not in beside or _is_hours(other)
    return beside == {"zoned"} or _is_hours(other)


def _is_hours(node: Json) -> bool:
    """Return whether this is an interval that holds no days, months or years."""
    cast = node.get("TypeCast") if isinstance(node, dict) else None
    if cast is None or _target(cast) != "interval":
        return False
    said = cast["arg"].get("A_Const", {}).get("sval", {}).get("sval")
    return said is not None and _HOURS.fullmatch(said) is not None


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
        return {"zoned"} if _MOMENT in str(part["SQLValueFunction"]["op"]) else set()
    call = part["FuncCall"]
    name, arguments = _last(call["funcname"]), call.get("args", [])
    if name in _NOW:
        return {"zoned"}
    if name == "timezone" and len(arguments) == 2:
        # From a time with a zone to one without, or back.
        inside = _made_of(arguments[1:], columns)
        return {"plain"} if inside == {"zoned"} else {"zoned"} if inside == {"plain"} else inside
    return set() if name in _NUMBERS else _made_of(arguments, columns)
