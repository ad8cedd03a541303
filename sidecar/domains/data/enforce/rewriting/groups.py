"""Carries out `min_group_size`: only sums of at least so many rows leave a table.

    SELECT kind, avg(amount) FROM t GROUP BY kind
        ▶  … HAVING count(*) >= 5 AND count(amount) >= 5

Each SELECT that reads the table has to be one whose answer tells of groups alone: the table stands
in it by itself (a join could count a row many times), only `count`, `sum` and `avg` of bare columns
are taken (an expression could single one row out, `min` and `max` are one row's), each over so many
values that are there, and beside them stand the columns that are grouped by. Conditions may not be
able to fail (`quiet`), and neither may a sum: of `double precision` it does where two rows are
large. Conditions outside of a subquery wait behind a fence. Anything else is refused.

Two answers may still be subtracted from each other: everyone, and everyone but one. No single
statement can be seen to do that; a limit on how many are asked is what helps.
"""

from collections.abc import Iterator
from typing import Final

from sidecar.domains.data.catalogue import Table
from sidecar.domains.data.enforce.rewriting.quiet import Level, Source, can_not_fail
from sidecar.domains.data.enforce.rewriting.references import Node, Reference, each
from sidecar.domains.data.enforce.rewriting.text import Edit, Text, put, quoted, unsupported
from sidecar.terms.call import Json

_AGGREGATES: Final = frozenset(("count", "sum", "avg"))
_SUMMED: Final = frozenset(("int2", "int4", "int8", "numeric"))
_NUMBER: Final[Node] = {"A_Const": {}}
_ROUNDING: Final = frozenset(("round", "trunc", "floor", "ceil", "ceiling"))
_PARTS: Final = frozenset((
    "targetList", "fromClause", "whereClause", "groupClause", "sortClause", "limitCount",
    "limitOffset", "limitOption", "op", "intoClause",
))  # fmt: skip
_BEHIND: Final = (
    "order", "limit", "offset", "fetch", "for", "union", "intersect", "except", "having", "window",
    "into", "returning",
)  # fmt: skip
_APART: Final = ("union", "intersect", "except", "for", "into", "returning")
_AFTER_ORDER: Final = ("limit", "offset", "fetch", *_APART)
_CALL: Final = frozenset(("funcname", "args", "agg_star", "funcformat", "location"))


def grouped(
    text: Text, reference: Reference, table: Table, least: int, *, fence: bool
) -> tuple[list[Edit], list[Node]]:
    """Return the edits that leave out groups of fewer than `least` rows, or values that are summed.

    The parameters beside it have to be pinned.

    Args:
        text: The statement.
        reference: Where the table stands.
        table: It.
        least: So many.
        fence: A condition of the statement could tell of a group by failing.

    Raises:
        EnforceError: The query tells more than of groups.
    """
    body = reference.body
    if body.get("fromClause") != [{"RangeVar": reference.node}] or reference.sample:
        raise unsupported("`min_group_size` on a table that is not alone in its query")
    if not body.keys() <= _PARTS or body.get("op") != "SETOP_NONE":
        raise unsupported("`min_group_size` beside DISTINCT, HAVING, WINDOW or FOR UPDATE")
    level = _level(reference, table)
    limits = (body.get(name, _NUMBER) for name in ("limitCount", "limitOffset"))
    if not can_not_fail(body.get("whereClause"), level) or not all(
        one.keys() <= {"A_Const", "ParamRef"} for one in limits
    ):
        raise unsupported("`min_group_size` beside a condition that may fail for one row")
    keys = body.get("groupClause", [])
    if not all(_column(key) for key in keys):
        raise unsupported("`min_group_size` beside GROUP BY of anything but columns")
    shown = [target["ResTarget"]["val"] for target in body.get("targetList", ())]
    order = [key["SortBy"]["node"] for key in body.get("sortClause", ())]
    names = {_column(key) for key in keys}
    if not shown or not all(_is_of_groups(one, names) for one in shown):
        raise unsupported("`min_group_size` of what is not a count, sum or average of a column")
    if not all("A_Const" in one or _column(one) or _is_of_groups(one, names) for one in order):
        raise unsupported("`min_group_size` beside ORDER BY of anything but what is shown")
    end = text.find(text.at(reference.node), text.end, _BEHIND)
    at = text.end_of(end - 1)
    counted = ["*", *_summed([*shown, *order], level)]
    enough = " AND ".join(f"count({one}) >= {least}" for one in counted)
    edits = [put(at, f" HAVING {enough}")]
    if fence and any(start < end - 1 < close for start, close in text.closing.items()):
        edits += _fenced(text, end)
    return edits, level.pins


def _fenced(text: Text, start: int) -> Iterator[Edit]:
    """Yield the edit that keeps conditions outside of a query from its single groups.

    PostgreSQL asks those of what is grouped by of each row, before there are groups.
    """
    end = text.find(start, text.end, _AFTER_ORDER)
    if text.is_word(end, *_APART):
        raise unsupported("`min_group_size` in a set operation beside a condition that may fail")
    if not text.is_word(end, *_AFTER_ORDER):
        yield put(text.end_of(end - 1), " OFFSET 0")


def _level(reference: Reference, table: Table) -> Level:
    is_renamed = "colnames" in reference.node.get("alias", {})
    schema = None if reference.alias else table.key.schema
    name = reference.alias or reference.name
    return Level((Source(name, None if is_renamed else table, schema),), [])


def _summed(shown: list[Node], level: Level) -> list[str]:
    """Return the columns that are counted, summed and averaged, each once.

    Raises:
        EnforceError: A sum of one may fail.
    """
    found: dict[str, None] = {}
    for call in each(shown, "FuncCall"):
        name = call["funcname"][-1]["String"]["sval"]
        for argument in call.get("args", ()) if name in _AGGREGATES else ():
            if name != "count" and level.kind(argument) not in _SUMMED:
                raise unsupported("`min_group_size` of a sum that may fail, or of no known type")
            fields = argument["ColumnRef"]["fields"][-2:]
            found[quoted(*(one["String"]["sval"] for one in fields))] = None
    return list(found)


def _column(node: Node) -> str | None:
    """Return the last name of a column reference, None for anything else."""
    fields = node.get("ColumnRef", {}).get("fields", [{}])
    name: str | None = fields[-1].get("String", {}).get("sval")
    return name


def _is_of_groups(node: Node, keys: set[str | None]) -> bool:
    if "FuncCall" in node:
        return _is_aggregate(node["FuncCall"], keys)
    if "A_Const" in node:
        return True
    if "TypeCast" in node:
        return _is_of_groups(node["TypeCast"]["arg"], keys)
    return _column(node) is not None and _column(node) in keys


def _is_aggregate(call: Node, keys: set[str | None]) -> bool:
    names = [name["String"]["sval"] for name in call["funcname"]]
    arguments: list[Json] = call.get("args", [])
    if not call.keys() <= _CALL or names[:-1] not in ([], ["pg_catalog"]):
        return False
    if names[-1] in _ROUNDING and arguments:
        return _is_of_groups(arguments[0], keys) and all("A_Const" in one for one in arguments[1:])
    return names[-1] in _AGGREGATES and all(_column(one) is not None for one in arguments)
