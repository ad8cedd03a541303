"""The second opinion: PostgreSQL's own grammar must find what our reading found.

Two readers that share no code rarely make the same mistake, so a statement passes only where they
agree on how many statements there are, of which kind, on the relations, on how they are joined and
on the functions. The grammar is libpg_query's, PostgreSQL 18's own code; it sees the text as it
came, where ours sees the tokens that our scanner made of it.

Its JSON call is used: the protobuf one ends the process at deep trees and refuses ordinary nesting.
Texts come here after our scanner, so they are bounded in bytes, in brackets and in comments.
"""

import ctypes
from collections.abc import Collection, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from sidecar.domains.data.parse.statement import Statement
from sidecar.domains.data.parse.text.functions import CONSTRUCTS
from sidecar.domains.data.parse.text.lookups import SEQUENCES
from sidecar.domains.data.parse.text.session import may_be_set
from sidecar.domains.data.parse.tree.joins import Arranged, arranged_in, is_same
from sidecar.terms.call import Json
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

_LIBRARIES: Final = ("libpg_query.so", "libpg_query.dylib")
_KINDS: Final = {
    "select": "SelectStmt", "insert": "InsertStmt", "update": "UpdateStmt",
    "delete": "DeleteStmt", "merge": "MergeStmt",
    "begin": "TransactionStmt", "start": "TransactionStmt", "commit": "TransactionStmt",
    "end": "TransactionStmt", "abort": "TransactionStmt", "rollback": "TransactionStmt",
    "savepoint": "TransactionStmt", "release": "TransactionStmt",
    "show": "VariableShowStmt", "set": "VariableSetStmt", "reset": "VariableSetStmt",
    "deallocate": "DeallocateStmt", "discard": "DiscardStmt", "close": "ClosePortalStmt",
    "unlisten": "UnlistenStmt", "set_constraints": "ConstraintsSetStmt",
}  # fmt: skip
# What the grammar itself makes of its own words (`EXTRACT`, `AT TIME ZONE`, `TRIM`, …): functions
# that only read their arguments. Any other of its making is one that we have not looked at.
_MADE: Final = """
btrim extract is_normalized ltrim normalize overlaps overlay pg_collation_for position
rtrim similar_to_escape substring system_user timezone treat xmlexists
"""
# Calls that it makes and does not mark as made: what ESCAPE is behind LIKE, and SIMILAR TO itself.
_MADE_CALLS: Final = frozenset((("pg_catalog", "like_escape"), ("pg_catalog", "similar_to_escape")))
_OF_THE_GRAMMAR: Final = frozenset(_MADE.split())
# What we report and the grammar has as a node of its own instead of a call.
_NODES: Final = """
current_schema current_user extract json_object merge_action normalize overlay position session_user
substring timezone xmlexists
"""
_NOT_CALLS: Final = CONSTRUCTS | set(_NODES.split())


# Relations of a locking clause are aliases. What `SET (a, b) = (SELECT …)` assigns from stands in
# the tree once for each column that it sets.
_PASSED_OVER: Final = frozenset(("lockingClause", "source"))
# Keys of the nodes that `_note` has something to note of.
_TELLING: Final = frozenset((
    "relname", "fromClause", "usingClause", "jointype", "ctename", "funcname",
))  # fmt: skip


class _Error(ctypes.Structure):
    # The library's struct has more members; only the message is looked at, and never told.
    _fields_ = (("message", ctypes.c_char_p),)


class _Result(ctypes.Structure):
    _fields_ = (
        ("tree", ctypes.c_char_p),
        ("stderr", ctypes.c_char_p),
        ("error", ctypes.POINTER(_Error)),
    )


class Seen(NamedTuple):
    """What PostgreSQL's grammar finds: names as it folds them, None for a schema not named.

    Whether the name of a CTE hides a table depends on where it stands, so `ctes` stands apart.
    """

    kinds: list[str]
    relations: set[tuple[str | None, str]]
    ctes: set[str]
    calls: set[tuple[str | None, str]]
    constructs: set[str]
    # Of calls that move or read a sequence: the function, and its literal first argument.
    sequences: list[tuple[str, str | None]]
    # Of calls of set_config whose name is a column: the only value that it has there.
    settings: dict[int, str]
    # How the items of FROM stand together.
    joins: list[Arranged]
    tree: dict[str, Json]

    # What few ask for is found when they do.

    @property
    def nodes(self) -> set[str]:
        """Return the kinds of the nodes in it."""
        return {name for node in _each(self.tree) for name in node}

    @property
    def has_query(self) -> bool:
        """Return whether a query stands anywhere in it."""
        return "SelectStmt" in self.nodes

    @property
    def names(self) -> set[str]:
        """Return every name that stands in it, of whatever kind."""
        texts = (value for node in _each(self.tree) for value in node.values())
        return {value for value in texts if isinstance(value, str)}

    @property
    def operators(self) -> set[str]:
        """Return the operators; those of `pg_catalog` without it, others with their schema."""
        found = (node["A_Expr"] for node in _each(self.tree) if "A_Expr" in node)
        return {_joined(operation.get("name")) for operation in found}

    @property
    def types(self) -> set[str]:
        """Return the types that are cast to, spelt as operators are."""
        found = (node["TypeCast"] for node in _each(self.tree) if "TypeCast" in node)
        return {_joined(cast["typeName"]["names"]) for cast in found}

    def inside(self, node: Json) -> "Seen":
        """Return what stands in a part of the tree, which is a statement of its own."""
        return _collected({"stmts": [{"stmt": node}]})


def check_session(text: str, verbs: Sequence[str]) -> Seen:
    """Check that a text that touches no data is that to PostgreSQL as well; `empty` is no verb.

    Returns:
        What its grammar finds.

    Raises:
        ParseError: `parse.disagreement`.
    """
    seen = look(text)
    expected = [_KINDS[verb] for verb in verbs if verb != "empty"]
    # The one query that lets go of something.
    calls = seen.calls - {(None, "pg_advisory_unlock_all")} if len(verbs) > 1 else seen.calls
    # Names of constraints stand as those of relations do.
    named = seen.relations if seen.kinds != ["ConstraintsSetStmt"] else ()
    if seen.kinds != expected or named or calls:
        raise _disagreement("statements")
    return seen


def check_statement(text: str, statement: Statement) -> Seen:
    """Check that PostgreSQL's grammar finds the same statement, relations and functions.

    Raises:
        ParseError: `parse.disagreement`, with what they disagree on, and nothing of the text.
    """
    seen = look(text)
    agree(seen, statement)
    return seen


def agree(seen: Seen, statement: Statement) -> None:
    """Check a reading of ours against what PostgreSQL's grammar has seen of the same text.

    Raises:
        ParseError: `parse.disagreement`.
    """
    if seen.kinds != [_KINDS[statement.kind]]:
        raise _disagreement("statements")
    if not _same_relations(seen, statement):
        raise _disagreement("relations")
    if not is_same(statement.joins, seen.joins):
        raise _disagreement("joins")
    if not _same_functions(seen, statement):
        raise _disagreement("functions")


def check_names(seen: Seen, names: Collection[str]) -> None:
    """Check that the names that we decoded stand in the text for PostgreSQL's grammar as well.

    Raises:
        ParseError: `parse.disagreement`.
    """
    if not seen.names.issuperset(names):
        raise _disagreement("names")


def _same_relations(seen: Seen, statement: Statement) -> bool:
    named = {(key.schema, key.table) for key in statement.named}
    bare = {name for schema, name in seen.relations if schema is None}
    if not all((schema, name) in seen.relations or name in bare for schema, name in named):
        return False
    tables = {name for _, name in named}
    # A name without a schema that is a CTE's somewhere may be the CTE, the table, or each once.
    return all(
        (schema, name) in named if schema is not None else name in tables or name in seen.ctes
        for schema, name in seen.relations
    )


def _same_functions(seen: Seen, statement: Statement) -> bool:
    ours = set(statement.functions)
    if not seen.constructs <= _OF_THE_GRAMMAR:
        return False
    declared = {name.rpartition(".")[2] for name in ours if "." in name}
    for schema, name in seen.calls - _MADE_CALLS:
        # In quotes the word of a construct is the name of somebody's own function.
        is_built_in = schema in (None, "pg_catalog") and name in ours - CONSTRUCTS
        is_declared = name in declared if schema is None else f"{schema}.{name}" in ours
        if not is_built_in and not is_declared:
            return False
    theirs = {name for _, name in seen.calls} | seen.constructs
    return {name.rpartition(".")[2] for name in ours} - _NOT_CALLS <= theirs


def look(text: str) -> Seen:
    """Return what PostgreSQL's grammar finds in `text`.

    Raises:
        ParseError: `parse.disagreement` where it is no text of its language, `parse.too_large`.
    """
    result = library().pg_query_parse(text.encode())
    try:
        written = result.tree
        if result.error or written is None:
            is_deep = bool(result.error) and b"stack depth" in result.error.contents.message
            raise _too_deep() if is_deep else _disagreement("whether this is SQL")
        tree = orjson.loads(written)
    except orjson.JSONDecodeError:
        # Well-formed by construction, so it is deeper than orjson reads.
        raise _too_deep() from None
    finally:
        library().pg_query_free_parse_result(result)
    return _collected(tree)


def _collected(tree: dict[str, Json]) -> Seen:
    kinds = [next(iter(one["stmt"])) for one in tree.get("stmts", ())]
    seen = Seen(kinds, set(), set(), set(), set(), [], {}, [], tree)
    waiting: list[Json] = list(tree.get("stmts", ()))
    while waiting:
        node = waiting.pop()
        if type(node) is list:
            waiting += node
        elif type(node) is not dict or "fields" in node:
            # A column's name: there is nothing in it to be noted.
            continue
        else:
            if not _TELLING.isdisjoint(node):
                _note(node, seen)
            waiting += node.values() if _PASSED_OVER.isdisjoint(node) else _beneath(node)
    return seen


def _each(tree: dict[str, Json]) -> list[dict[str, Json]]:
    """Return the nodes of the statements in a tree, each before those inside it."""
    found: list[dict[str, Json]] = []
    waiting: list[Json] = list(tree.get("stmts", ()))
    while waiting:
        node = waiting.pop()
        if type(node) is list:
            waiting += node
            continue
        if type(node) is not dict:
            continue
        found.append(node)
        if not _PASSED_OVER.isdisjoint(node):
            waiting += _beneath(node)
            continue
        # Most of a tree is names and places, which hold nothing; a comprehension would be a call.
        for child in node.values():
            if (kind := type(child)) is dict or kind is list:
                waiting.append(child)
    return found


def _beneath(node: dict[str, Json]) -> list[Json]:
    children = [child for name, child in node.items() if name not in _PASSED_OVER]
    if node.get("colno", 1) == 1 and "source" in node:
        children.append(node["source"])
    return children


def _note(node: dict[str, Json], seen: Seen) -> None:
    if "relname" in node:
        # A database before it is the one connected to, or PostgreSQL refuses the statement.
        seen.relations.add((node.get("schemaname"), node["relname"]))
    if "fromClause" in node:
        _note_setting(node, seen)
    arranged = arranged_in(node)
    if arranged is not None:
        seen.joins.append(arranged)
    if "ctename" in node:
        seen.ctes.add(node["ctename"])
    if "funcname" in node:
        _note_call(node, seen)


def _note_call(node: dict[str, Json], seen: Seen) -> None:
    names = [part["String"]["sval"] for part in node["funcname"]]
    if node.get("funcformat") == "COERCE_SQL_SYNTAX":
        seen.constructs.add(names[-1])
        return
    seen.calls.add((".".join(names[:-1]) or None, names[-1]))
    if names[-1] == "set_config":
        _check_setting(node.get("args"), seen)
    if names[-1] in SEQUENCES:
        seen.sequences.append((names[-1], literal(node.get("args"))))


def _check_setting(arguments: Json, seen: Seen) -> None:
    """Refuse a call that may change what SET may not: the name is a literal, or its row's own."""
    given: list[Json] = arguments if isinstance(arguments, list) else []
    name = literal(given[:1]) or seen.settings.get(id(given[0]) if given else 0)
    value = literal(given[1:2])
    is_given = value is not None or (len(given) > 1 and "ParamRef" in given[1])
    if name is None or not is_given or not may_be_set(name, value):
        raise ParseError(reason("parse.session"), "this setting may not be changed")


def _note_setting(select: dict[str, Json], seen: Seen) -> None:
    """Note `SELECT set_config(name, …) FROM pg_settings WHERE name = '…'`: it says which it sets.

    So pg_dump changes a setting where the server has it.
    """
    where = select.get("whereClause", {}).get("A_Expr", {})
    sources, targets = select.get("fromClause", ()), select.get("targetList", ())
    if len(sources) != 1 or sources[0].get("RangeVar", {}).get("relname") != "pg_settings":
        return
    if where.get("kind") != "AEXPR_OP" or _joined(where.get("name")) != "=":
        return
    name = literal([where["rexpr"]])
    if name is None or not _is_name_column(where["lexpr"]):
        return
    for target in targets:
        first = target["ResTarget"]["val"].get("FuncCall", {}).get("args", ({},))[0]
        if _is_name_column(first):
            seen.settings[id(first)] = name


def _is_name_column(node: Json) -> bool:
    fields = node.get("ColumnRef", {}).get("fields", ()) if isinstance(node, dict) else ()
    return [field.get("String", {}).get("sval") for field in fields] == ["name"]


def _joined(names: Json) -> str:
    """Return a name with its schema before it, but for `pg_catalog`."""
    parts = [str(name["String"]["sval"]) for name in names] if isinstance(names, list) else []
    return ".".join(parts[1:] if parts[:1] == ["pg_catalog"] else parts)


def literal(arguments: Json) -> str | None:
    """Return a call's first argument where it is a string, cast to `regclass` or not at all."""
    node = arguments[0] if isinstance(arguments, list) and arguments else None
    if isinstance(node, dict) and "TypeCast" in node:
        node = node["TypeCast"]
        kind = node["typeName"]["names"][-1]["String"]["sval"]
        node = node["arg"] if kind == "regclass" else None
    if not isinstance(node, dict) or "A_Const" not in node:
        return None
    value = node["A_Const"].get("sval")
    return value["sval"] if value is not None and "sval" in value else None


@cache
def library() -> ctypes.CDLL:
    """Return libpg_query, of which the package `postgast` brings a copy; its own code is not used.

    Raises:
        ParseError: It is not there: without it nothing is read.
    """
    found = find_spec("postgast")
    folders = (found.submodule_search_locations if found is not None else None) or ()
    for path in (Path(folder) / name for folder in folders for name in _LIBRARIES):
        if path.is_file():
            return _declared(ctypes.CDLL(str(path)))
    raise ParseError(reason("parse.unsupported"), "libpg_query is not installed here")


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    library.pg_query_parse.argtypes = [ctypes.c_char_p]
    library.pg_query_parse.restype = _Result
    library.pg_query_free_parse_result.argtypes = [_Result]
    library.pg_query_free_parse_result.restype = None
    return library


def _too_deep() -> ParseError:
    return ParseError(reason("parse.too_large"), "nested too deeply")


def _disagreement(about: str) -> ParseError:
    return ParseError(reason("parse.disagreement"), f"two readers of SQL do not agree on {about}")
