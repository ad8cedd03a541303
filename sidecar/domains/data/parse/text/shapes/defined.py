"""Shapes of what a call in FROM gives, where the statement says so: `f(…) AS t (a type, b type)`.

Source: PostgreSQL manual, SELECT, "FROM Clause", `column_definition`.
"""

from typing import Final

from sidecar.domains.data.parse.text.casts import own_type_end, plain_type_end
from sidecar.domains.data.parse.text.grammar import BARE
from sidecar.domains.data.parse.text.shapes.edit import AS, COMMA, OPEN, Edit, marked, name_end

# What they give is what the statement says.
RECORDS: Final = (
    "json_to_record", "json_to_recordset", "jsonb_to_record", "jsonb_to_recordset",
)  # fmt: skip
QUERIES: Final = frozenset(("select", "with", "values", "table"))


def definitions(edit: Edit, at: int) -> None:
    """Leave the names of `f(…) AS t (a type, b type)`."""
    is_named = edit.is_name(at + 1)
    start = at + 2 if is_named else at + 1
    if not edit.is_at(start, OPEN) or edit.text(start + 1) in QUERIES:
        return
    end = edit.closing[start]
    commas = [i for i in edit.level(start + 1, end) if edit.is_at(i, COMMA)]
    found: list[tuple[int, int]] = []
    for first, last in zip([start, *commas], [*commas, end], strict=True):
        if not edit.is_name(first + 1):
            return
        types = (edit.tokens, first + 2, edit.closing)
        ends = (plain_type_end(*types), own_type_end(*types, edit.types, {}))
        if not any(end > 0 and _collated_end(edit, end) == last for end in ends):
            return
        if edit.types and not edit.types.hidden.isdisjoint(map(edit.text, range(first + 2, last))):
            return
        found.append((first + 2, last))
    for first, last in found:
        edit.drop(first, last)
    if not is_named:
        edit.add(at + 1, marked(""))


def _collated_end(edit: Edit, at: int) -> int:
    """Return where the COLLATE ends that may stand at `at`."""
    return name_end(edit, at + 1) if edit.text(at) == "collate" else at


def record(edit: Edit, at: int) -> None:
    """Put AS before the alias of `json_to_record(…) t (a type)`, as most write it."""
    if not edit.is_at(at + 1, OPEN):
        return
    end = edit.closing[at + 1] + 1
    if edit.is_name(end) and edit.text(end) not in BARE and edit.is_at(end + 1, OPEN):
        edit.add(end, AS)
        definitions(edit, end - 1)
