"""Puts a view's query in its place, where obligations are due on tables that it shows.

    FROM names AS n  ▶  FROM (SELECT "names"."name" FROM (SELECT … FROM public.people) AS "names"
                              ("id", "name") OFFSET 0) AS n

Then the tables stand in the statement by their names, and all that is due on them is carried out
there: filters, and masks before the view makes anything of a column. What is due on the view itself
is carried out around its query.

The query is the one that the catalogue has, as PostgreSQL writes it: with a schema before each
name, so that nothing of the statement around it can take one. `OFFSET 0` stands for the barrier
that the view may have been. Two things are other than with the view: the tables are read with the
rights of who asks, whoever owns the view; and of a whole row the type is `record`.

A view whose query is not known stays as it is (`due.seen_through`), and so does one that is
changed.
"""

from collections.abc import Mapping

from sidecar.domains.data.catalogue import Relations, Table, TableKey
from sidecar.domains.data.enforce.rewriting.due import Due
from sidecar.domains.data.enforce.rewriting.fragment import Reads, reads_of
from sidecar.domains.data.enforce.rewriting.proof import prove_opened, read
from sidecar.domains.data.enforce.rewriting.references import Reference, references
from sidecar.domains.data.enforce.rewriting.scan import (
    Shaped,
    around,
    check_row,
    in_place,
    shaped,
    shortened,
    subquery,
)  # fmt: skip
from sidecar.domains.data.enforce.rewriting.text import Edit, Text, applied, quoted, unsupported
from sidecar.domains.data.limits import VIEWS_DEPTH_MAX
from sidecar.domains.data.parse.access import Accesses
from sidecar.domains.data.parse.statement import Statement


def opened(
    text: str,
    before: Statement,
    due: Mapping[TableKey, Due],
    relations: Relations,
    search_path: tuple[str, ...],
) -> tuple[str, Statement]:
    """Return a statement with the queries of its views, and what it then does.

    Raises:
        EnforceError: A view cannot stand in the statement as its query.
        ParseError: Its query cannot be read.
    """
    shaping = {key for key, one in due.items() if one.shapes}
    after, views = before, set[TableKey]()
    for _ in range(VIEWS_DEPTH_MAX):
        known = {key for key in after.touched if _is_opened(relations.tables.get(key), shaping)}
        taken = _Opening(text, after, due, relations, search_path).taken(known) if known else {}
        if not taken:
            break
        views |= taken.keys()
        text = applied(text, (edit for edits in taken.values() for edit in edits))[0]
        after = read(text, relations, search_path)
    else:
        raise unsupported("views of views that are nested too deeply")
    if views:
        prove_opened(after, before, [relations.tables[key] for key in views])
    return text, after


def _is_opened(view: Table | None, shaping: set[TableKey]) -> bool:
    if view is None or not view.query:
        return False
    shown = (*view.shows.values(), view.reads)
    return any(key in shaping for columns in shown for key, _ in columns)


class _Opening:
    """Opens the views of one statement that stand in its text, not those inside of them."""

    def __init__(
        self,
        text: str,
        before: Statement,
        due: Mapping[TableKey, Due],
        relations: Relations,
        search_path: tuple[str, ...],
    ) -> None:
        self._text = Text(text)
        self._due = due
        self._relations = relations
        self._accesses = Accesses(relations, search_path)
        self._before = before
        self._reads: Reads = reads_of(before)
        self._around = around(self._text.tree["stmts"], lambda _schema, _name: None)

    def taken(self, views: set[TableKey]) -> dict[TableKey, list[Edit]]:
        """Return the edits that put their queries in the place of `views`, by view."""
        found = references(self._text.tree["stmts"])
        taken: dict[TableKey, list[Edit]] = {}
        for one in found:
            if one.role == "read" and (key := self._key(one)) in views:
                taken.setdefault(key, []).append(self._in_place(one, self._of(key)))
        for key in taken:
            taken[key] += shortened(self._text, (key,), found)
        return taken

    def _key(self, reference: Reference) -> TableKey:
        return self._accesses.find(reference.schema, reference.name).key

    def _of(self, key: TableKey) -> Shaped:
        own = self._due.get(key, Due())
        if own.group:
            raise unsupported("`min_group_size` on a view of tables that have obligations")
        needed = self._reads.get(key.id, frozenset())
        one = shaped(self._relations.tables[key], own, needed, self._relations)
        if not all(fragment.is_plain for fragment in one.fragments):
            # Its tables would be filtered as the statement's own.
            raise unsupported("a rule with a query on a view of tables that have obligations")
        return one

    def _in_place(self, reference: Reference, one: Shaped) -> Edit:
        if reference.sample:
            raise unsupported("a sample of a view")
        check_row(reference, one.table.key, self._before)
        listed = ", ".join(quoted(column) for column in one.table.columns)
        source = f"({one.table.query}\n) AS {one.own} ({listed})"
        sent = subquery(reference, one, source, self._around, fence=True)
        return in_place(self._text, reference, one, sent, sent)
