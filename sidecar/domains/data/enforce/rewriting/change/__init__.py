"""Carries a row filter out on the table that a statement changes.

    UPDATE t SET … WHERE user's     ▶  … WHERE (filter) AND (user's)
    DELETE FROM t                   ▶  … WHERE (filter)
    UPDATE t SET b = …              ▶  the value of b is checked, and the statement fails
    INSERT                          see `inserted`
    MERGE                           see `merged`

What a row-level policy's WITH CHECK does with a new row is done here in the statement (`checks`).
COPY FROM has its rows behind the statement, where nothing sees them: it is refused.

A condition of the statement that could tell of a row by failing waits for the filter in a CASE.
"""

from sidecar.domains.data.enforce.rewriting.change.checks import assigned
from sidecar.domains.data.enforce.rewriting.change.inserted import met_rows, new_rows
from sidecar.domains.data.enforce.rewriting.change.merged import merged
from sidecar.domains.data.enforce.rewriting.references import Reference, each
from sidecar.domains.data.enforce.rewriting.scan import Shaped
from sidecar.domains.data.enforce.rewriting.text import Edit, Text, put, unsupported


def filtered_change(text: Text, reference: Reference, one: Shaped, *, fence: bool) -> list[Edit]:
    """Return the edits that keep a change within the filters of its table.

    Raises:
        EnforceError: They cannot.
    """
    if one.due.group:
        raise unsupported("`min_group_size` on a table that is changed")
    if not one.filters:
        return []
    if reference.role in ("update", "delete"):
        return _where(text, reference, one, fence=fence)
    if reference.role == "insert":
        return [*new_rows(text, reference, one), *met_rows(text, reference, one)]
    if reference.role == "merge":
        return merged(text, reference, one, fence=fence)
    raise unsupported(f"a row filter on what `{reference.role}` changes")


def _where(text: Text, reference: Reference, one: Shaped, *, fence: bool) -> list[Edit]:
    if any(True for _ in each(reference.body.get("whereClause"), "CurrentOfExpr")):
        raise unsupported("a row filter beside WHERE CURRENT OF")
    condition = one.over(reference.alias or reference.name)
    start = text.at(reference.node)
    end = text.find(start, text.end, ("returning",))
    at = text.find(start, end, ("where",))
    checks = assigned(text, reference, reference.body, one) if reference.role == "update" else []
    if at == end:
        return [*checks, put(text.end_of(end - 1), f" WHERE {condition}")]
    head, tail = ("CASE WHEN {} THEN (", ") END") if fence else ("{} AND (", ")")
    return [
        *checks,
        put(text.end_of(at), f" {head.format(condition)}"),
        put(text.end_of(end - 1), f"\n{tail}"),
    ]
