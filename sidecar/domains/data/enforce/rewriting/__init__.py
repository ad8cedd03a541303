"""Rewrites one statement: finds its references, makes the edits, and proves what comes of them."""

from collections.abc import Mapping, Sequence
from typing import Final

from sidecar.domains.data.catalogue import Relations, Table, TableKey
from sidecar.domains.data.enforce.rewriting.change import filtered_change
from sidecar.domains.data.enforce.rewriting.due import Due, Duties, seen_through
from sidecar.domains.data.enforce.rewriting.explained import without_numbers
from sidecar.domains.data.enforce.rewriting.fragment import Reads, reads_of
from sidecar.domains.data.enforce.rewriting.groups import grouped
from sidecar.domains.data.enforce.rewriting.limits import limited
from sidecar.domains.data.enforce.rewriting.proof import (
    Stand,
    marker,
    prove_complete,
    prove_faithful,
    read,
)  # fmt: skip
from sidecar.domains.data.enforce.rewriting.quiet import pinned
from sidecar.domains.data.enforce.rewriting.references import (
    SOURCES_OF_CHANGES,
    Node,
    Reference,
    beside,
    each,
    references,
)  # fmt: skip
from sidecar.domains.data.enforce.rewriting.scan import (
    Shaped,
    around,
    check_row,
    in_place,
    shaped,
    shortened,
    source_of,
    span_of,
    subquery,
)
from sidecar.domains.data.enforce.rewriting.text import (
    Edit,
    Text,
    applied,
    quoted,
    select,
    unsupported,
)
from sidecar.domains.data.enforce.rewriting.views import opened
from sidecar.domains.data.parse.access import Accesses
from sidecar.domains.data.parse.statement import Statement
from sidecar.terms.errors import ParseError

_KINDS: Final = frozenset((
    "select", "insert", "update", "delete", "merge", "select_into", "create_table_as", "declare",
    "prepare", "copy", "copy_query", "explain",
))  # fmt: skip
_TELLING: Final = frozenset(("predicate", "join", "group", "order"))
_TARGETS: Final = frozenset(("insert", "update", "delete", "merge", "copy_from"))


def rewritten(text: str, due: Duties, relations: Relations, search_path: tuple[str, ...]) -> str:
    """Return the text to send.

    Raises:
        EnforceError: An obligation cannot be carried out.
        ParseError: SQL of a rule cannot be read.
    """
    before = read(text, relations, search_path)
    _check_closed(before, due.tables)
    _check_written(before, due.tables)
    if before.kind not in _KINDS:
        raise unsupported(f"an obligation on `{before.kind}`")
    text, before = opened(text, before, due.tables, relations, search_path)
    due = _with_views(due, before, relations)
    is_shaped = any(one.shapes for one in due.tables.values())
    job = _Job(Text(text), due, relations, search_path, before)
    job.rewrite()
    sent, proven = applied(text, job.edits)
    if is_shaped:
        prove_complete(proven, job.stands, due.tables, relations, search_path)
    if sent != text:
        prove_faithful(sent, before, job.extra, relations, search_path)
    return sent


def _with_views(due: Duties, before: Statement, relations: Relations) -> Duties:
    """Return what is due with the masks that views carry for their tables."""
    views = {}
    for key in before.touched:
        table = relations.tables.get(key)
        found = seen_through(table, due.tables) if table is not None else None
        if found is not None:
            views[key] = found
    return Duties({**due.tables, **views}, due.limit)


def _check_closed(before: Statement, due: Mapping[TableKey, Due]) -> None:
    """Refuse a column of `deny_in_predicate` that decides which rows there are, or their order."""
    for (key, column), uses in before.usage.items():
        closed = due[key].closed if key in due else frozenset()
        if closed & {column, "*"} and _TELLING & set(uses):
            raise unsupported("a column that may only be shown stands in a condition or an order")


def _check_written(before: Statement, due: Mapping[TableKey, Due]) -> None:
    """Refuse to write what is shown masked over what it was."""
    reads = reads_of(before)
    for access in before.tables:
        if access.verb not in ("insert", "update") or access.key not in due:
            continue
        both = access.columns.keys() & reads.get(access.key.id, frozenset())
        if any(due[access.key].mask(column) is not None for column in both):
            raise unsupported("a masked column that is read and written by one statement")


def _check_apart(reference: Reference, others: Sequence[Reference]) -> None:
    """Refuse two tables of one bare name in one FROM: two subqueries may not be called alike.

    Nor may one be called as the table that is changed, which takes its own name for an alias.
    """
    alike = [
        other
        for other in others
        if (other.role, other.name, other.alias) == (reference.role, reference.name, None)
        and other.body is reference.body
    ]
    is_changed = any(
        _is_beside(reference, other) for other in others if other.role in SOURCES_OF_CHANGES
    )
    if len(alike) > 1 or is_changed:
        raise unsupported("two tables of one name in one FROM")


def _is_beside(reference: Reference, changed: Reference) -> bool:
    """Return whether what a statement changes and an item beside it would go by one name."""
    called = changed.alias or changed.name
    items = [node for name, node in beside(changed) if name == called]
    if reference is changed:
        return bool(items)
    return reference.alias is None and any(node is reference.node for node in items)


class _Job:
    """Collects the edits of one statement."""

    def __init__(
        self,
        text: Text,
        due: Duties,
        relations: Relations,
        search_path: tuple[str, ...],
        before: Statement,
    ) -> None:
        self.edits: list[Edit] = []
        self.stands: dict[TableKey, Stand] = {}
        self.extra: Reads = {}
        self._text = text
        self._due = due
        self._relations = relations
        self._accesses = Accesses(relations, search_path)
        self._before = before
        self._reads = reads_of(before)
        self._around = around(text.tree["stmts"], self._found)
        self._pins: list[Node] = []
        self._shaped: dict[TableKey, Shaped] = {}

    def rewrite(self) -> None:
        """Make every edit."""
        is_copy = False
        found = references(self._text.tree["stmts"])
        for number, reference in enumerate(found):
            key = self._accesses.find(reference.schema, reference.name).key
            is_limited = reference.role == "copy" and self._due.limit is not None
            is_copy |= reference.role == "copy"
            if (key in self._due.tables and self._due.tables[key].shapes) or is_limited:
                _check_apart(reference, found)
                self._take(number, reference, self._of(key))
        if any(one.filters for one in self._shaped.values()):
            self._pins += self._around.pins
        self._pin()
        keys = [key for key, one in self._due.tables.items() if one.shapes]
        self.edits += shortened(self._text, keys, found)
        if self._text.root[0] == "ExplainStmt" and self._shaped:
            hides_rows = any(one.due.filters or one.due.group for one in self._shaped.values())
            self.edits.append(without_numbers(self._text, hides_rows=hides_rows))
        if self._due.limit is not None and not is_copy:
            self.edits += limited(self._text, self._due.limit)

    def _found(self, schema: str | None, name: str) -> Table | None:
        try:
            return self._accesses.find(schema, name)
        except ParseError:
            return None

    def _of(self, key: TableKey) -> Shaped:
        """Return a table with the SQL of its rules, noting what that reads."""
        if key not in self._shaped:
            needed = self._reads.get(key.id, frozenset())
            due = self._due.tables.get(key, Due())
            one = shaped(self._relations.tables[key], due, needed, self._relations)
            for fragment in one.fragments:
                for name, columns in fragment.reads.items():
                    self.extra[name] = self.extra.get(name, frozenset()) | columns
            self._shaped[key] = one
        return self._shaped[key]

    def _take(self, number: int, reference: Reference, one: Shaped) -> None:
        name = marker(number)
        is_target = reference.role in _TARGETS
        self.stands[name] = Stand(one.table.key, is_target)
        if is_target:
            self._target(reference, one, quoted(*name))
        elif reference.role == "copy":
            self._copied(reference, one, quoted(*name))
        else:
            self._read(reference, one, quoted(*name))

    def _read(self, reference: Reference, one: Shaped, proven: str) -> None:
        text = self._text
        check_row(reference, one.table.key, self._before)
        span = span_of(text, reference)
        sample = ""
        if span.sample is not None:
            first, last = text.start_of(span.sample[0]), text.end_of(span.sample[1] - 1)
            sample = text.text[first:last]
            self.edits.append(Edit(first, last, "", sample))
        sent = subquery(reference, one, source_of(reference, one, sample), self._around)
        only = "" if reference.node.get("inh") else "ONLY "
        self.edits.append(in_place(text, reference, one, sent, f"{only}{proven}"))
        if one.due.group:
            fence = self._around.fence
            edits, pins = grouped(text, reference, one.table, one.due.group, fence=fence)
            self.edits += edits
            self._pins += pins

    def _target(self, reference: Reference, one: Shaped, proven: str) -> None:
        text = self._text
        span = span_of(text, reference)
        start, end = text.start_of(span.start), text.end_of(span.end - 1)
        tail = "" if reference.alias is not None else f" AS {one.own}"
        only = "" if reference.node.get("inh") else "ONLY "
        self.edits.append(Edit(start, end, text.text[start:end], f"{only}{proven}{tail}"))
        self.edits += filtered_change(
            text, reference, one, fence=self._around.fence or one.may_fail
        )

    def _copied(self, reference: Reference, one: Shaped, proven: str) -> None:
        """Put a query in the place of COPY's table and columns."""
        if one.due.group:
            raise unsupported("`min_group_size` on COPY")
        text = self._text
        span = span_of(text, reference)
        end = span.end
        if text.token(end) == ("punct", "("):
            end = text.closing[end] + 1
        listed = [column["String"]["sval"] for column in reference.body.get("attlist", ())]
        made = one.table.generated
        if set(listed) & set(made):
            raise unsupported("COPY of a generated column")
        shown = listed or [name for name in one.table.columns if name not in made]
        columns = ", ".join(quoted(name) for name in shown)
        limit = "" if self._due.limit is None else f" LIMIT {self._due.limit}"
        # COPY of a parent takes its own rows alone.
        alone = reference._replace(node={**reference.node, "inh": False})
        source = source_of(alone if one.table.children else reference, one, "")
        query = subquery(reference, one, source, self._around)
        sent = select(columns, f"{query} AS {one.own}{limit}")
        self.edits.append(
            Edit(
                text.start_of(span.start),
                text.end_of(end - 1),
                sent,
                select(columns, f"ONLY {proven} AS {one.own}"),
            )
        )

    def _pin(self) -> None:
        """Keep parameters from making PostgreSQL cast the columns that they stand beside."""
        for at in {self._text.at(node) for node in self._pins}:
            start, end = self._text.spans[at]
            said = self._text.text[start:end]
            self.edits.append(Edit(start, end, pinned(said), said))


__all__ = ["each", "rewritten"]
