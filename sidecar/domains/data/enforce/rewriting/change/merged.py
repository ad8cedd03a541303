"""Keeps MERGE within the filters of the table that it changes.

    MERGE INTO t USING s ON user's  ▶  … ON (filter) AND (user's)
    … WHEN MATCHED THEN UPDATE      ▶  values of the filter's columns are checked
    … WHEN NOT MATCHED THEN INSERT  ▶  the new row is checked

A hidden row is matched by nothing, as under row-level security: of the source it makes one that is
not matched, whose new row may then meet a unique key. WHEN NOT MATCHED BY SOURCE is of the rows of
the table that nothing matches, the hidden ones among them: it is refused.
"""

from collections.abc import Iterator

from sidecar.domains.data.enforce.rewriting.change.checks import assigned, check_drawn_once
from sidecar.domains.data.enforce.rewriting.change.inserted import checked_row
from sidecar.domains.data.enforce.rewriting.references import Node, Reference
from sidecar.domains.data.enforce.rewriting.scan import Shaped
from sidecar.domains.data.enforce.rewriting.text import Edit, Text, put, unsupported


def merged(text: Text, reference: Reference, one: Shaped, *, fence: bool) -> list[Edit]:
    """Return the edits that keep a MERGE within the filters.

    Raises:
        EnforceError: They cannot.
    """
    body = reference.body
    start = text.first(body["joinCondition"])
    while start > 0 and not text.is_word(start, "on"):
        start -= 1
    end = start + 1
    while end < text.end and not text.is_word(end, "when"):
        end = text.behind(end)
    condition = one.over(reference.alias or reference.name)
    head, tail = ("CASE WHEN {} THEN (", ") END") if fence else ("{} AND (", ")")
    return [
        put(text.end_of(start), f" {head.format(condition)}"),
        put(text.end_of(end - 1), f"\n{tail}"),
        *_rows(text, reference, one),
    ]


def _rows(text: Text, reference: Reference, one: Shaped) -> Iterator[Edit]:
    for when in reference.body.get("mergeWhenClauses", ()):
        clause: Node = when["MergeWhenClause"]
        if clause["matchKind"] not in ("MERGE_WHEN_MATCHED", "MERGE_WHEN_NOT_MATCHED_BY_TARGET"):
            raise unsupported("a row filter beside WHEN NOT MATCHED BY SOURCE")
        if clause["commandType"] == "CMD_UPDATE":
            yield from assigned(text, reference, clause, one)
        elif clause["commandType"] == "CMD_INSERT":
            yield _inserted(text, clause, one)


def _inserted(text: Text, clause: Node, one: Shaped) -> Edit:
    if not one.is_plain:
        raise unsupported("a row filter with a query on a table that is inserted into")
    if clause.get("override", "OVERRIDING_NOT_SET") != "OVERRIDING_NOT_SET":
        raise unsupported("a row filter beside OVERRIDING")
    columns = [column["ResTarget"] for column in clause.get("targetList", ())]
    if any("indirection" in column for column in columns):
        raise unsupported("a row filter beside a part of a column")
    if not clause.get("values") or not one.filtered_by:
        raise unsupported("a new row without a column that its row filter reads")
    names = [column["name"] for column in columns] or list(one.table.columns)
    check_drawn_once(clause["values"])
    return checked_row(text, clause["values"], names, one)
