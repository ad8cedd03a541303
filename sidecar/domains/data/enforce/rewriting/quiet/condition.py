"""Says of a condition that it cannot fail, whatever a row holds.

What stands beside a column has to be of its type, so that PostgreSQL puts no cast between: a
literal, which takes the column's type before there are rows; a column of the same type; a
parameter, where no type that a client may give it would cast the column, or the parameter too late.

- *Two texts* may have two collations, which fails when it is first asked: of texts only one is a
  column.
- *A parameter* may be given a type by who sends it. Beside `numeric` and `double precision` it may
  be one of the other; a cast of a parameter may be left until a row asks for it. Beside `bigint` it
  may be an `oid`, to which the column is cast: there it has to be sent as `pinned`.

Source: PostgreSQL manual, §10.2 Operators, §24.2 Collation Support; pg_cast.
"""

from typing import Final, NamedTuple

from sidecar.domains.data.catalogue import Table
from sidecar.domains.data.enforce.rewriting.masks import base_type
from sidecar.domains.data.enforce.rewriting.references import Node

COMPARISONS: Final = frozenset(("=", "<>", "!=", "<", ">", "<=", ">="))
_ONE: Final = frozenset(("AEXPR_OP", "AEXPR_DISTINCT", "AEXPR_NOT_DISTINCT"))
_ANY: Final = frozenset(("AEXPR_OP_ANY", "AEXPR_OP_ALL"))
_BETWEEN: Final = frozenset(("AEXPR_BETWEEN", "AEXPR_NOT_BETWEEN"))
TESTS: Final = _ONE | _ANY | _BETWEEN | {"AEXPR_IN"}

_KINDS: Final = {
    "smallint": "int2", "int2": "int2", "integer": "int4", "int": "int4", "int4": "int4",
    "bigint": "int8", "int8": "int8", "numeric": "numeric", "decimal": "numeric", "dec": "numeric",
    "real": "float4", "float4": "float4", "double precision": "float8", "float8": "float8",
    "text": "text", "varchar": "varchar", "character varying": "varchar", "bpchar": "bpchar",
    "char": "bpchar", "character": "bpchar", "boolean": "bool", "bool": "bool", "date": "date",
    "timestamp": "timestamp", "timestamp without time zone": "timestamp",
    "timestamptz": "timestamptz", "timestamp with time zone": "timestamptz", "uuid": "uuid",
}  # fmt: skip
_INTERNAL: Final = frozenset(_KINDS.values())
_TEXTS: Final = frozenset(("text", "varchar", "bpchar"))
_WHOLES: Final = frozenset(("int2", "int4", "int8"))
_NUMBERS: Final = _WHOLES | {"numeric", "float4", "float8"}
# Beside these no type of a parameter makes a cast that can fail.
_BESIDE_PARAMETERS: Final = _TEXTS | {
    "int2", "int4", "bool", "date", "timestamp", "timestamptz", "uuid",
}  # fmt: skip
_SPECIFIC: Final = {"ival", "fval", "boolval", "sval"}


class Source(NamedTuple):
    """An item of FROM; `table` is None where its columns are not known to be a table's."""

    name: str | None
    table: Table | None
    schema: str | None = None


class Level(NamedTuple):
    """What the names of one query are found in.

    Args:
        sources: The items of its FROM.
        pins: Takes the parameters that have to be pinned.
    """

    sources: tuple[Source, ...]
    pins: list[Node]

    def kind(self, node: Node) -> str | None:
        """Return the type of a column; empty where it is not one of ours, None for no column."""
        fields = node.get("ColumnRef", {}).get("fields", [{}])
        names = [part.get("String", {}).get("sval") for part in fields]
        if None in names:
            return None
        if len(names) == 1:
            return self._bare(names[0])
        found = [one for one in self.sources if one.name == names[-2]]
        if len(names) > 3 or len(found) != 1 or (len(names) == 3 and found[0].schema != names[0]):
            return None
        return _kind(found[0].table, names[-1])

    def _bare(self, name: str) -> str | None:
        if any(one.table is None for one in self.sources):
            return None
        found = {_kind(one.table, name) for one in self.sources} - {None}
        return found.pop() if len(found) == 1 else None

    def is_comparable(self, name: str) -> bool:
        """Return whether all columns of a name can be compared with each other."""
        kind = self._bare(name)
        return bool(kind) and kind not in _TEXTS


def _kind(table: Table | None, column: str) -> str | None:
    if table is None or column not in table.columns:
        return None
    return _KINDS.get(base_type(table.types.get(column)) or "", "")


def can_not_fail(node: Node | None, level: Level) -> bool:
    """Return whether a condition is known not to fail."""
    waiting = [] if node is None else [node]
    while waiting:
        one = waiting.pop()
        if "BoolExpr" in one:
            waiting += one["BoolExpr"]["args"]
        elif not _is_test(one, level):
            return False
    return True


def _is_test(node: Node, level: Level) -> bool:
    ((kind, part),) = node.items()
    if kind == "A_Expr":
        return _is_comparison(part, level)
    if kind == "NullTest":
        argument = part["arg"]
        return bool(argument.keys() & {"A_Const", "ParamRef"}) or level.kind(argument) is not None
    if kind == "BooleanTest":
        return level.kind(part["arg"]) == "bool"
    if kind == "A_Const":
        return bool(part.keys() & {"boolval", "isnull"})
    return level.kind(node) == "bool"


def _is_comparison(part: Node, level: Level) -> bool:
    how = part["kind"]
    names = [name["String"]["sval"] for name in part["name"]]
    left, right = part.get("lexpr", {}), part["rexpr"]
    if how in _BETWEEN or (how == "AEXPR_IN" and names[0] in COMPARISONS):
        items = right.get("List", {}).get("items", [{}])
        kind = level.kind(left)
        return all(_fits(one, kind, level) for one in items)
    if len(names) != 1 or names[0] not in COMPARISONS:
        return False
    if how in _ANY:
        return "ParamRef" in right and level.kind(left) in _BESIDE_PARAMETERS
    return how in _ONE and _are_comparable(left, right, level)


def _are_comparable(left: Node, right: Node, level: Level) -> bool:
    if "A_Const" in left and "A_Const" in right:
        return True
    one, other = level.kind(left), level.kind(right)
    if one and other:
        return one not in _TEXTS and (one == other or {one, other} <= _WHOLES)
    return _fits(right, one, level) or _fits(left, other, level)


def pinned(parameter: str) -> str:
    """Return a parameter as a number that is no `oid`, whatever type it is given.

    A sum with a `bigint` is one, or a wider number, or no SQL; it takes the type of one that has
    none; it cannot overflow.
    """
    return f"({parameter} + CAST(0 AS bigint))"


def _fits(node: Node, kind: str | None, level: Level) -> bool:
    """Return whether a value takes a column's type without a cast of the column."""
    if not kind or not node:
        return False
    ((what, part),) = node.items()
    if what == "ParamRef":
        if kind == "int8":
            level.pins.append(part)
        return kind in _BESIDE_PARAMETERS or kind == "int8"
    if what == "TypeCast":
        return "A_Const" in part["arg"] and _cast_kind(part["typeName"]) == kind
    if what != "A_Const":
        return False
    given = part.keys() & _SPECIFIC
    if given & {"ival", "fval"}:
        return kind in _NUMBERS
    return bool(part.get("isnull")) or "sval" in given or ("boolval" in given and kind == "bool")


def _cast_kind(name: Node) -> str | None:
    """Return the type of a cast without modifiers, None for any other."""
    names = [part["String"]["sval"] for part in name.get("names", ())]
    if name.keys() & {"typmods", "arrayBounds", "setof", "pct_type"} or not names:
        return None
    is_ours = names[:-1] in ([], ["pg_catalog"]) and names[-1] in _INTERNAL
    return names[-1] if is_ours else None
