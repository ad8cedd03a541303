"""Sorts the obligations of a decision by table: filters, masks, sizes of groups, closed columns.

What acts on a column acts where its table stands. A mask on a table is carried out on those of its
columns that the same rules mask, and on all of them where they mask none: a table carries the
labels of its columns where a statement names none of them.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import unquote

import msgspec

from sidecar.domains.data.catalogue import Table, TableKey
from sidecar.domains.data.enforce.rewriting.text import unsupported
from sidecar.domains.data.vocabulary import MASKS
from sidecar.terms.call import Json
from sidecar.terms.decision import Obligation

_ALL: Final = "*"
# Masks that show nothing of what they stand for, whatever was made of it before.
_BLIND: Final = ("nullify", "redact", "hash")


class Mask(msgspec.Struct, frozen=True):
    """How a column is shown."""

    kind: str
    expression: str = ""


class Due(msgspec.Struct, frozen=True):
    """What is due on one table; `*` stands for every column of it.

    Args:
        is_view: It shows a table with masks, which are carried out on what it shows.
    """

    filters: tuple[Json, ...] = ()
    masks: dict[str, Mask] = {}
    closed: frozenset[str] = frozenset()
    group: int = 0
    is_view: bool = False

    def mask(self, column: str) -> Mask | None:
        """Return the mask of a column."""
        return self.masks.get(column) or self.masks.get(_ALL)

    @property
    def shapes(self) -> bool:
        """Return whether the table may not stand in the statement as it is."""
        return bool(self.filters or self.masks or self.group or self.is_view)

    @property
    def masks_alone(self) -> bool:
        """Return whether only masks shape it, which a view of it may carry."""
        return not self.filters and not self.group


class Duties(msgspec.Struct, frozen=True):
    """What is due on a statement; `limit` is None where rows are not counted."""

    tables: dict[TableKey, Due]
    limit: int | None = None


def duties(obligations: Sequence[Obligation]) -> Duties:
    """Return the obligations by table.

    Raises:
        EnforceError: One that is not carried out on SQL, or on what it stands on.
    """
    tables: dict[TableKey, Due] = {}
    limits: list[int] = []
    for one in obligations:
        if one.type == "limit_rows":
            limits.append(_whole(one.values.get("max")))
            continue
        key, column = _place(one)
        tables[key] = _joined(tables.get(key, Due()), one, column)
    tables = {key: _settled(key, due, obligations) for key, due in tables.items()}
    return Duties(tables, min(limits) if limits else None)


def seen_through(view: Table, due: Mapping[TableKey, Due]) -> Due | None:
    """Return what is due on a view because of the tables that it shows, None where nothing is.

    What a column of a view makes of the columns that it shows is not known: the last characters of
    the first ones are the first ones. So only what shows nothing, or a hash, is done to it as it
    is; any other mask shows nothing. Filters are not for a view to carry, and neither is a mask of
    a column that it reads whatever is asked of it: they stay due on the table.
    """
    masks: dict[str, Mask] = {}
    reached = {key for shown in (*view.shows.values(), view.reads) for key, _ in shown}
    if not any(key in due and due[key].masks for key in reached):
        return None
    for column, shown in view.shows.items():
        kinds = [due[key].mask(name) for key, name in shown if key in due]
        found = [mask if mask.kind in _BLIND else Mask("nullify") for mask in kinds if mask]
        if found:
            masks[column] = min(found, key=lambda mask: MASKS.index(mask.kind))
    own = due.get(view.key, Due())
    joined = {column: _strictest(mask, own.mask(column) or mask) for column, mask in masks.items()}
    return msgspec.structs.replace(own, masks={**own.masks, **joined}, is_view=True)


def _joined(due: Due, one: Obligation, column: str) -> Due:
    if one.type == "filter_rows":
        where = one.values.get("where")
        listed = where if isinstance(where, list) else [where]
        if not listed or not all(_is_condition(condition) for condition in listed):
            raise unsupported("a row filter without its condition")
        more = [condition for condition in listed if condition not in due.filters]
        return msgspec.structs.replace(due, filters=(*due.filters, *more))
    if one.type == "mask":
        mask = Mask(str(one.values.get("with")), str(one.values.get("expression", "")))
        if mask.kind not in MASKS or (mask.kind == "expression") != bool(mask.expression):
            raise unsupported("a mask that is not known")
        return msgspec.structs.replace(due, masks={**due.masks, column: mask})
    if one.type == "deny_in_predicate":
        return msgspec.structs.replace(due, closed=due.closed | {column})
    if one.type == "min_group_size":
        return msgspec.structs.replace(due, group=max(due.group, _whole(one.values.get("min"))))
    raise unsupported(f"`{one.type}` cannot be carried out on SQL")


def _is_condition(said: Json) -> bool:
    """Return whether this is a text, or a text with the values of its holes."""
    if isinstance(said, dict):
        return isinstance(said.get("text"), str) and isinstance(said.get("values"), list)
    return isinstance(said, str) and bool(said)


def _settled(key: TableKey, due: Due, obligations: Sequence[Obligation]) -> Due:
    """Return what is due with the mask of the whole table given to columns, or taken away."""
    if _ALL not in due.masks:
        return due
    everywhere = due.masks[_ALL]
    masks = [one for one in obligations if one.type == "mask"]
    of_table = {rule for one in masks if _place(one) == (key, _ALL) for rule in one.rules}
    of_columns = {
        rule for one in masks for rule in one.rules
        if _place(one)[0] == key and _place(one)[1] != _ALL
    }  # fmt: skip
    columns = {column: mask for column, mask in due.masks.items() if column != _ALL}
    if of_table and of_table <= of_columns:
        return msgspec.structs.replace(due, masks=columns)
    stricter = {column: _strictest(mask, everywhere) for column, mask in columns.items()}
    return msgspec.structs.replace(due, masks={**stricter, _ALL: everywhere})


def _strictest(one: Mask, other: Mask) -> Mask:
    return min(one, other, key=lambda mask: MASKS.index(mask.kind))


def _place(one: Obligation) -> tuple[TableKey, str]:
    """Return the table and the column, `*` for all, that an obligation stands on."""
    kind, _, path = one.target.partition(":")
    parts = [unquote(part) for part in path.split(".")]
    if kind == "table" and len(parts) == 2:
        return TableKey(*parts), _ALL
    if kind == "column" and len(parts) == 3:
        return TableKey(*parts[:2]), parts[2]
    raise unsupported(f"`{one.type}` on a `{kind}` cannot be carried out on SQL")


def _whole(value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise unsupported("a number of rows that is none")
    return value
