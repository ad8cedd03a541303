"""Checks the rows that INSERT puts in, and keeps ON CONFLICT DO UPDATE within the filters.

    INSERT INTO t (a, b) VALUES …   ▶  the value of b is checked, and the statement fails
    INSERT INTO t (a, b) SELECT …   ▶  … of each row that comes out of the query
    INSERT … ON CONFLICT DO UPDATE  ▶  … and so it does where it meets a row outside of the filter

Where the new row is not in the text the statement is refused: a column of the filter that is left
out or DEFAULT, several of them with values that may differ when they are written twice. A query of
unknown width could have more columns than are listed, which PostgreSQL refuses too. A value without
a type of its own takes the column's where it stands in the INSERT, and is text within a query.
"""

from collections.abc import Iterator
from itertools import pairwise, repeat

from sidecar.domains.data.enforce.rewriting.change.checks import (
    NEW,
    assigned,
    case,
    checked,
    ends,
    guarded_of,
)
from sidecar.domains.data.enforce.rewriting.references import Node, Reference, each
from sidecar.domains.data.enforce.rewriting.scan import Shaped, span_of
from sidecar.domains.data.enforce.rewriting.text import Edit, Text, put, quoted, select, unsupported

# What text may be assigned to.
_TEXTS = ("text", "char", "varchar", "bpchar", "name", "citext")


def new_rows(text: Text, reference: Reference, one: Shaped) -> list[Edit]:
    """Return the edits that check each row before it is put in."""
    body = reference.body
    if not one.is_plain:
        raise unsupported("a row filter with a query on a table that is inserted into")
    if body.get("override", "OVERRIDING_NOT_SET") != "OVERRIDING_NOT_SET":
        raise unsupported("a row filter beside OVERRIDING")
    query: Node = body.get("selectStmt", {}).get("SelectStmt", {})
    columns = [column["ResTarget"] for column in body.get("cols", ())]
    listed = [column["name"] for column in columns]
    if any("indirection" in column for column in columns):
        raise unsupported("a row filter beside a part of a column")
    names = listed or list(one.table.columns)
    wanted = one.filtered_by
    if not wanted <= set(names) or not wanted or not query:
        raise unsupported("a new row without a column that its row filter reads")
    places = [] if listed else [_list_of(text, reference, names)]
    if "valuesLists" in query and "withClause" not in query:
        is_all = _width(query) == len(names)
        return [*(places if is_all else ()), *_values(text, query, names, one)]
    if _width(query) != len(names):
        raise unsupported(
            "a row filter on INSERT of a query that has other columns than are listed"
        )
    if any(map(_is_other, _untyped(query, names), repeat(one.table.types))):
        raise unsupported("a row filter on INSERT of a query with a value of no type of its own")
    return [*places, *_query(text, reference, names, one)]


def _list_of(text: Text, reference: Reference, names: list[str]) -> Edit:
    """Return the edit that says which columns are meant, by their names.

    Places are the database's, names are those that the filter was written for.
    """
    columns = ", ".join(quoted(name) for name in names)
    return put(text.end_of(_behind(text, reference) - 1), f" ({columns})")


def _behind(text: Text, reference: Reference) -> int:
    """Return the index behind the table's name and alias."""
    at = span_of(text, reference).end
    if reference.alias is None:
        return at
    return at + (2 if text.is_word(at, "as") else 1)


def _width(query: Node) -> int | None:
    """Return how many columns a query has, None where it does not say so."""
    while "larg" in query:
        query = query["larg"]
    if "valuesLists" in query:
        return len(query["valuesLists"][0]["List"]["items"])
    if any(True for _ in each(query.get("targetList"), "A_Star")):
        return None
    return len(query.get("targetList", ()))


def _untyped(query: Node, names: list[str]) -> Iterator[str]:
    """Yield the columns into which a query puts a value that has no type of its own."""
    if "larg" in query:
        yield from _untyped(query["larg"], names)
        yield from _untyped(query["rarg"], names)
        return
    rows = [row["List"]["items"] for row in query.get("valuesLists", ())]
    if not rows:
        rows = [[target["ResTarget"]["val"] for target in query.get("targetList", ())]]
    for row in rows:
        for name, value in zip(names, row, strict=False):
            const = value.get("A_Const")
            is_string = const is not None and not {"ival", "fval", "boolval", "bsval"} & set(const)
            if is_string or "ParamRef" in value:
                yield name


def _is_other(column: str, types: dict[str, str]) -> bool:
    """Return whether a column is known to be of a type that text is not put into."""
    return column in types and not types[column].startswith(_TEXTS)


def _values(text: Text, query: Node, names: list[str], one: Shaped) -> Iterator[Edit]:
    if any(clause in query for clause in ("limitCount", "limitOffset", "sortClause")):
        raise unsupported("a row filter beside VALUES with a LIMIT or an order")
    for row in query["valuesLists"]:
        yield checked_row(text, row["List"]["items"], names, one)


def checked_row(text: Text, items: list[Node], names: list[str], one: Shaped) -> Edit:
    """Return the edit that checks one row of VALUES."""
    if len(items) > len(names):
        raise unsupported("a row of VALUES with more values than columns")
    wanted = sorted(one.filtered_by)
    values = dict(zip(names, zip(items, _spans(text, items), strict=True), strict=False))
    if any(column not in values or "SetToDefault" in values[column][0] for column in wanted):
        raise unsupported("a new row without a value that its row filter reads")
    guarded = guarded_of({column: values[column][0] for column in wanted})
    said = {column: text.text[slice(*values[column][1])] for column in wanted}
    start, end = values[guarded][1]
    return Edit(start, end, checked(guarded, said, one), text.text[start:end])


def _spans(text: Text, items: list[Node]) -> list[tuple[int, int]]:
    """Return where each value of a row stands: between the commas of its bracket."""
    first = text.first(items[0])
    while first >= 0 and not _opens(text, first):
        first -= 1
    close = text.closing[first]
    commas = []
    at = first + 1
    while at < close:
        if text.token(at) == ("punct", ","):
            commas.append(at)
        at = text.closing.get(at, at) + 1
    edges = [first, *commas, close]
    if len(edges) != len(items) + 1:
        raise unsupported("a row of VALUES that is not found again")
    return [(text.start_of(start + 1), text.end_of(end - 1)) for start, end in pairwise(edges)]


def _opens(text: Text, at: int) -> bool:
    """Return whether the bracket of a row opens here: behind VALUES or a comma."""
    return text.token(at) == ("punct", "(") and (
        text.is_word(at - 1, "values")
        or (text.token(at - 1) == ("punct", ",") and text.token(at - 2) == ("punct", ")"))
    )


def _query(text: Text, reference: Reference, names: list[str], one: Shaped) -> list[Edit]:
    """Put the query in brackets, and check each row that comes out of it."""
    start = _behind(text, reference)
    if reference.body.get("cols"):
        start = text.closing[start] + 1
    end = _tail(text, start)
    wanted = sorted(one.filtered_by)
    checks = {name: quoted(NEW, name) for name in names}
    checks[wanted[0]] = case(wanted[0], one, wanted)
    shown = ", ".join(checks[name] for name in names)
    listed = ", ".join(quoted(name) for name in names)
    return [
        put(text.start_of(start), select(shown, "(")[1:-1]),
        put(text.end_of(end - 1), f"\n) AS {quoted(NEW)} ({listed})"),
    ]


def _tail(text: Text, start: int) -> int:
    """Return where ON CONFLICT or RETURNING begins behind the rows."""
    at = start
    while at < text.end and text.token(at) != ("punct", ")"):
        if text.is_word(at, "returning"):
            return at
        if text.is_word(at, "on") and text.is_word(at + 1, "conflict"):
            return at
        at = text.closing.get(at, at) + 1
    return at


def met_rows(text: Text, reference: Reference, one: Shaped) -> list[Edit]:
    """Return the edits that keep ON CONFLICT DO UPDATE within the filters."""
    clause: Node = reference.body.get("onConflictClause", {})
    if clause.get("action") != "ONCONFLICT_UPDATE":
        return []
    checks = assigned(text, reference, clause, one)
    relation = reference.alias or reference.name
    if relation == "excluded":
        raise unsupported("a row filter on a table under the name of the row that is put in")
    column = min(one.filtered_by)
    do = text.find(_tail(text, text.at(reference.node)), text.end, ("do",))
    end = text.find(do, text.end, ("returning",))
    at = text.find(do, end, ("where",))
    guard = f"CASE WHEN {one.condition(relation)} THEN "
    tail = f" ELSE {ends(quoted(relation, column))} END"
    if at == end:
        return [*checks, put(text.end_of(end - 1), f" WHERE {guard}true{tail}")]
    return [
        *checks,
        put(text.end_of(at), f" {guard}("),
        put(text.end_of(end - 1), f"\n){tail}"),
    ]
