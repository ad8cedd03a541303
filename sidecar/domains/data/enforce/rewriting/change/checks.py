"""Checks a new row as a policy's WITH CHECK does: a value that is not within ends the statement.

What is checked is the value as it will be stored, cut and rounded to its column's type; what is
put in is the value itself, so that PostgreSQL refuses what is too long as it always does.
"""

from collections.abc import Iterable
from typing import Final

from sidecar.domains.data.enforce.rewriting.masks import full_type, open_type
from sidecar.domains.data.enforce.rewriting.references import Node, Reference, each, nodes
from sidecar.domains.data.enforce.rewriting.scan import Shaped
from sidecar.domains.data.enforce.rewriting.text import Edit, Text, quoted, select, unsupported
from sidecar.domains.data.parse.text.builtins import IMMUTABLE
from sidecar.domains.data.parse.text.functions import ALLOWED

NEW: Final = "new"
_OUTSIDE: Final = "'a row outside of the row filter'"
_AFTER_VALUE: Final = (("punct", ","), ("punct", ")"), ("punct", ";"))
_BEHIND: Final = ("from", "where", "returning", "when")
# What is one value however often it is written; of calls, those of immutable functions.
_SAME_TWICE: Final = """
A_ArrayExpr A_Const A_Expr BoolExpr Boolean BooleanTest CaseExpr CaseWhen CoalesceExpr ColumnRef
Float FuncCall Integer List MinMaxExpr NullTest ParamRef SQLValueFunction String TypeCast TypeName
"""
_SAME: Final = frozenset(_SAME_TWICE.split())
# Of the functions that may be called; one of the organisation's own may be, too.
_VOLATILES: Final = """
array_sample array_shuffle clock_timestamp currval gen_random_uuid lastval nextval random
random_normal set_config setval timeofday uuidv4 uuidv7
"""
_VOLATILE: Final = frozenset(_VOLATILES.split())


def guarded_of(values: dict[str, Node]) -> str:
    """Return the column whose value is replaced by the check, which holds the others once more.

    Raises:
        EnforceError: More than one may be another value where it stands again.
    """
    made = [column for column, value in values.items() if not _is_same_twice(value)]
    if len(made) > 1:
        raise unsupported("a new row whose row filter reads more than one value that is made")
    return made[0] if made else next(iter(values))


def _is_same_twice(value: Node) -> bool:
    for node in nodes(value):
        if not {kind for kind in node if kind[:1].isupper()} <= _SAME:
            return False
        names = [part["String"]["sval"] for part in node.get("FuncCall", {}).get("funcname", ())]
        if names and (names[:-1] not in ([], ["pg_catalog"]) or names[-1] not in IMMUTABLE):
            return False
    return True


def check_drawn_once(values: Iterable[Node]) -> None:
    """Refuse a value that is another one for each row: the check would make it once for all.

    Raises:
        EnforceError: One is.
    """
    for value in values:
        for call in each(value, "FuncCall"):
            name = call["funcname"][-1]["String"]["sval"]
            if name in _VOLATILE or name not in ALLOWED:
                raise unsupported("a value that a function makes anew for each row")


def assigned(text: Text, reference: Reference, clause: Node, one: Shaped) -> list[Edit]:
    """Return the edit that checks what SET makes of the columns that the filters read."""
    targets = [target["ResTarget"] for target in clause.get("targetList", ())]
    wanted = one.filtered_by
    if wanted & set(one.table.generated):
        raise unsupported("a row filter on a generated column of a table that is changed")
    chosen = [target for target in targets if target["name"] in wanted]
    if not chosen:
        return []
    if not one.is_plain:
        raise unsupported("a column is assigned that a row filter with a query reads")
    check_drawn_once(target["val"] for target in chosen)
    spans = {target["name"]: _value(text, target) for target in chosen}
    relation = reference.alias or reference.name
    said = {column: quoted(relation, column) for column in sorted(wanted - spans.keys())}
    said = {name: text.text[slice(*span)] for name, span in spans.items()} | said
    guarded = guarded_of({target["name"]: target["val"] for target in chosen})
    start, end = spans[guarded]
    return [Edit(start, end, checked(guarded, said, one), text.text[start:end])]


def _value(text: Text, target: Node) -> tuple[int, int]:
    """Return where the value of `column = value` stands."""
    at = text.at(target)
    is_single = "indirection" not in target and "MultiAssignRef" not in target["val"]
    if not is_single or "SetToDefault" in target["val"] or text.token(at + 1) != ("op", "="):
        raise unsupported("a column that a row filter reads is assigned otherwise than by itself")
    end = at + 2
    while end < text.end and text.token(end) not in _AFTER_VALUE:
        if text.is_word(end, *_BEHIND):
            break
        end = text.behind(end)
    return text.start_of(at + 2), text.end_of(end - 1)


def checked(column: str, said: dict[str, str], one: Shaped) -> str:
    """Return a value that is itself within the filters, and an error outside of them."""
    row = []
    for name, expression in said.items():
        kind = open_type(one.table.types.get(name))
        row.append(f"CAST({expression}\n AS {kind}) AS {quoted(name)}")
    check = case(column, one, said)
    return select(check, f"{select(', '.join(row), '')} AS {quoted(NEW)}")


def case(column: str, one: Shaped, columns: Iterable[str]) -> str:
    """Return `new.column` where the new row is within the filters, and an error elsewhere."""
    value = quoted(NEW, column)
    stored = {name: _stored(name, one) for name in columns}
    within = " AND ".join(f"({filter_.of_values(stored)})" for filter_ in one.filters)
    return f"CASE WHEN {within} THEN {value} WHEN {ends(value)} THEN {value} END"


def _stored(column: str, one: Shaped) -> str:
    """Return a new value as it will stand in its column."""
    kind = full_type(one.table.types.get(column))
    if kind is None:
        raise unsupported("a new row of which the catalogue does not say a column's type")
    return f"CAST({quoted(NEW, column)} AS {kind})"


def ends(value: str) -> str:
    """Return a condition that fails once it is asked, and tells nothing of the row.

    `concat` is not immutable, so the planner does not ask it before its time.
    """
    return f"CAST(concat({_OUTSIDE}, left(CAST({value} AS text), 0)) AS boolean)"
