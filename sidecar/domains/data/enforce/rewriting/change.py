"""Carries a row filter out on the table that a statement changes.

    UPDATE t SET … WHERE user's     ▶  … WHERE (filter) AND (user's)
    DELETE FROM t                   ▶  … WHERE (filter)
    INSERT INTO t (a, b) VALUES …   ▶  the value of b is checked, and the statement fails
    INSERT … ON CONFLICT DO UPDATE  ▶  … and so it does where it meets a row outside of the filter
    UPDATE t SET b = …              ▶  the value of b is checked, and the statement fails

What a row-level policy's WITH CHECK does with a new row is done here in the statement: a value that
is not within the filter ends it with an error (`_ENDS`). Where the new row is not in the text, so
that it cannot be checked, the statement is refused: a column of the filter that is left out or
DEFAULT, several of them with values that are made, MERGE, COPY FROM.

What is checked is the value as it will be stored, cut and rounded to its column's type; what is
put in is the value itself, so that PostgreSQL refuses what is too long as it always does. A query
of unknown width could have more columns than are listed, which PostgreSQL refuses too.

A condition of the statement that could tell of a row by failing waits for the filter in a CASE.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from sidecar.domains.data.enforce.rewriting.masks import full_type, open_type
from sidecar.domains.data.enforce.rewriting.references import Node, Reference, each
from sidecar.domains.data.enforce.rewriting.scan import Shaped
from sidecar.domains.data.enforce.rewriting.text import Edit, Text, quoted, select, unsupported

_NEW: Final = "new"
_OUTSIDE: Final = "'a row outside of the row filter'"
_CLAUSES: Final = ("returning",)
_AFTER_VALUE: Final = (("punct", ","), ("punct", ")"), ("punct", ";"))
_CONSTANTS: Final = frozenset(("A_Const", "ParamRef"))


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
        return [*_new_rows(text, reference, one), *_conflict(text, reference, one)]
    raise unsupported(f"a row filter on what `{reference.role}` changes")


def _where(text: Text, reference: Reference, one: Shaped, *, fence: bool) -> list[Edit]:
    if any(True for _ in each(reference.body.get("whereClause"), "CurrentOfExpr")):
        raise unsupported("a row filter beside WHERE CURRENT OF")
    condition = _over(one, reference.alias or reference.name)
    start = text.at(reference.node)
    end = text.find(start, text.end, _CLAUSES)
    at = text.find(start, end, ("where",))
    checks = _assigned(text, reference, reference.body, one) if reference.role == "update" else []
    if at == end:
        return [*checks, _put(text.end_of(end - 1), f" WHERE {condition}")]
    head, tail = ("CASE WHEN {} THEN (", ") END") if fence else ("{} AND (", ")")
    return [
        *checks,
        _put(text.end_of(at), f" {head.format(condition)}"),
        _put(text.end_of(end - 1), f"\n{tail}"),
    ]


def _assigned(text: Text, reference: Reference, clause: Node, one: Shaped) -> list[Edit]:
    """Return the edit that checks what SET makes of the columns that the filters read."""
    targets = [target["ResTarget"] for target in clause.get("targetList", ())]
    wanted = frozenset().union(*(filter_.columns for filter_ in one.filters))
    if wanted & set(one.table.generated):
        raise unsupported("a row filter on a generated column of a table that is changed")
    chosen = [target for target in targets if target["name"] in wanted]
    if not chosen:
        return []
    if not all(filter_.is_plain for filter_ in one.filters):
        raise unsupported("a column is assigned that a row filter with a query reads")
    spans = {target["name"]: _value(text, target) for target in chosen}
    # What stands a second time in the check may not be another value there.
    if any(not target["val"].keys() <= _CONSTANTS for target in chosen[1:]):
        raise unsupported("several values are assigned that a row filter reads")
    relation = reference.alias or reference.name
    said = {column: quoted(relation, column) for column in sorted(wanted - spans.keys())}
    said = {name: text.text[slice(*span)] for name, span in spans.items()} | said
    guarded = chosen[0]["name"]
    start, end = spans[guarded]
    return [Edit(start, end, _checked(guarded, said, one), text.text[start:end])]


def _value(text: Text, target: Node) -> tuple[int, int]:
    """Return where the value of `column = value` stands."""
    at = text.at(target)
    is_single = "indirection" not in target and "MultiAssignRef" not in target["val"]
    if not is_single or "SetToDefault" in target["val"] or text.token(at + 1) != ("op", "="):
        raise unsupported("a column that a row filter reads is assigned otherwise than by itself")
    end = at + 2
    while end < text.end and text.token(end) not in _AFTER_VALUE:
        if text.is_word(end, "from", "where", "returning"):
            break
        end = text.closing.get(end, end) + 1
    return text.start_of(at + 2), text.end_of(end - 1)


def _over(one: Shaped, relation: str) -> str:
    """Return the filters over a relation that others may stand beside."""
    if all(filter_.is_plain for filter_ in one.filters):
        return one.condition(relation)
    columns = sorted(frozenset().union(*(filter_.columns for filter_ in one.filters)))
    row = ", ".join(f"{quoted(relation, column)} AS {quoted(column)}" for column in columns)
    source = f"{select(row or 'NULL', '')} AS {one.own}"
    return f"EXISTS {select('1', source, 'WHERE', one.condition(one.table.key.table))}"


def _new_rows(text: Text, reference: Reference, one: Shaped) -> list[Edit]:
    """Return the edits that check each row before it is put in."""
    body = reference.body
    if not all(filter_.is_plain for filter_ in one.filters):
        raise unsupported("a row filter with a query on a table that is inserted into")
    if body.get("override", "OVERRIDING_NOT_SET") != "OVERRIDING_NOT_SET":
        raise unsupported("a row filter beside OVERRIDING")
    query: Node = body.get("selectStmt", {}).get("SelectStmt", {})
    columns = [column["ResTarget"] for column in body.get("cols", ())]
    listed = [column["name"] for column in columns]
    if any("indirection" in column for column in columns):
        raise unsupported("a row filter beside a part of a column")
    names = listed or list(one.table.columns)
    wanted = frozenset().union(*(filter_.columns for filter_ in one.filters))
    if not wanted <= set(names) or not wanted or not query:
        raise unsupported("a new row without a column that its row filter reads")
    if "valuesLists" in query and "withClause" not in query:
        return list(_values(text, query, names, one))
    if not listed:
        raise unsupported("a row filter on INSERT of a query without a list of columns")
    if _width(query) != len(listed):
        raise unsupported(
            "a row filter on INSERT of a query that has other columns than are listed"
        )
    return _query(text, reference, names, one)


def _width(query: Node) -> int | None:
    """Return how many columns a query has, None where it does not say so."""
    while "larg" in query:
        query = query["larg"]
    if "valuesLists" in query:
        return len(query["valuesLists"][0]["List"]["items"])
    if any(True for _ in each(query.get("targetList"), "A_Star")):
        return None
    return len(query.get("targetList", ()))


def _values(text: Text, query: Node, names: list[str], one: Shaped) -> Iterator[Edit]:
    if any(clause in query for clause in ("limitCount", "limitOffset", "sortClause")):
        raise unsupported("a row filter beside VALUES with a LIMIT or an order")
    wanted = sorted(frozenset().union(*(filter_.columns for filter_ in one.filters)))
    guarded = wanted[0]
    for row in query["valuesLists"]:
        items = row["List"]["items"]
        if len(items) > len(names):
            raise unsupported("a row of VALUES with more values than columns")
        values = dict(zip(names, zip(items, _spans(text, items), strict=True), strict=False))
        if any(column not in values or "SetToDefault" in values[column][0] for column in wanted):
            raise unsupported("a new row without a value that its row filter reads")
        # What stands a second time in the check may not be another value there.
        if any(not values[column][0].keys() <= _CONSTANTS for column in wanted[1:]):
            raise unsupported("a new row whose row filter reads more than one value that is made")
        said = {column: text.text[slice(*values[column][1])] for column in wanted}
        start, end = values[guarded][1]
        yield Edit(start, end, _checked(guarded, said, one), text.text[start:end])


def _spans(text: Text, items: list[Node]) -> list[tuple[int, int]]:
    """Return where each value of a row stands: between the commas of its bracket."""
    first = _first_token(text, items[0])
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


def _first_token(text: Text, item: Node) -> int:
    """Return a token of the first value: that of the first place that its tree names."""
    places = [node["location"] for node in _nodes(item) if node.get("location", -1) >= 0]
    if not places:
        raise unsupported("a value that is not found again")
    return text.at({"location": min(places)})


def _nodes(node: object) -> Iterator[Node]:
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, dict):
            yield one
            waiting.extend(one.values())


def _opens(text: Text, at: int) -> bool:
    """Return whether the bracket of a row opens here: behind VALUES or a comma."""
    return text.token(at) == ("punct", "(") and (
        text.is_word(at - 1, "values")
        or (text.token(at - 1) == ("punct", ",") and text.token(at - 2) == ("punct", ")"))
    )


def _query(text: Text, reference: Reference, names: list[str], one: Shaped) -> list[Edit]:
    """Put the query in brackets, and check each row that comes out of it."""
    at = text.at(reference.node)
    while text.token(at) != ("punct", "("):
        at += 1
    start = text.closing[at] + 1
    end = _tail(text, start)
    wanted = sorted(frozenset().union(*(filter_.columns for filter_ in one.filters)))
    checks = {name: quoted(_NEW, name) for name in names}
    checks[wanted[0]] = _case(wanted[0], one, wanted)
    shown = ", ".join(checks[name] for name in names)
    listed = ", ".join(quoted(name) for name in names)
    return [
        _put(text.start_of(start), select(shown, "(")[1:-1]),
        _put(text.end_of(end - 1), f"\n) AS {quoted(_NEW)} ({listed})"),
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


def _checked(column: str, said: dict[str, str], one: Shaped) -> str:
    """Return a value that is itself within the filters, and an error outside of them."""
    row = []
    for name, expression in said.items():
        kind = open_type(one.table.types.get(name))
        row.append(f"CAST({expression}\n AS {kind}) AS {quoted(name)}")
    check = _case(column, one, said)
    return select(check, f"{select(', '.join(row), '')} AS {quoted(_NEW)}")


def _case(column: str, one: Shaped, columns: Iterable[str]) -> str:
    value = quoted(_NEW, column)
    stored = {name: _stored(name, one) for name in columns}
    within = " AND ".join(f"({filter_.of_values(stored)})" for filter_ in one.filters)
    return f"CASE WHEN {within} THEN {value} WHEN {_ends(value)} THEN {value} END"


def _stored(column: str, one: Shaped) -> str:
    """Return a new value as it will stand in its column."""
    kind = full_type(one.table.types.get(column))
    if kind is None:
        raise unsupported("a new row of which the catalogue does not say a column's type")
    return f"CAST({quoted(_NEW, column)} AS {kind})"


def _ends(value: str) -> str:
    """Return a condition that fails once it is asked, and tells nothing of the row.

    `concat` is not immutable, so the planner does not ask it before its time.
    """
    return f"CAST(concat({_OUTSIDE}, left(CAST({value} AS text), 0)) AS boolean)"


def _conflict(text: Text, reference: Reference, one: Shaped) -> list[Edit]:
    clause: Node = reference.body.get("onConflictClause", {})
    if clause.get("action") != "ONCONFLICT_UPDATE":
        return []
    checks = _assigned(text, reference, clause, one)
    relation = reference.alias or reference.name
    column = min(frozenset().union(*(filter_.columns for filter_ in one.filters)))
    do = text.find(_tail(text, text.at(reference.node)), text.end, ("do",))
    end = text.find(do, text.end, _CLAUSES)
    at = text.find(do, end, ("where",))
    guard = f"CASE WHEN {one.condition(relation)} THEN "
    ends = f" ELSE {_ends(quoted(relation, column))} END"
    if at == end:
        return [*checks, _put(text.end_of(end - 1), f" WHERE {guard}true{ends}")]
    return [
        *checks,
        _put(text.end_of(at), f" {guard}("),
        _put(text.end_of(end - 1), f"\n){ends}"),
    ]


def _put(at: int, piece: str) -> Edit:
    return Edit(at, at, piece, "")
