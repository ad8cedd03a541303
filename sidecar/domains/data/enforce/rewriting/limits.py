"""Carries out `limit_rows`: the statement's own answer holds at most so many rows.

The outermost LIMIT is made no larger, or put there. What a subquery or an aggregate sees is not
limited. A statement that hands rows on otherwise (it writes what it reads, or answers RETURNING) is
refused.
"""

from typing import Final

from sidecar.domains.data.enforce.rewriting.references import Node, each
from sidecar.domains.data.enforce.rewriting.text import Edit, Text, unsupported

_CHANGES: Final = ("InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt")
_WITH_DATA: Final = (("with", "data"), ("with", "no", "data"))


def limited(text: Text, most: int) -> list[Edit]:
    """Return the edits that limit the answer of a statement.

    Raises:
        EnforceError: Its rows leave otherwise, or its LIMIT is an expression.
    """
    root, node = text.root
    if root in _CHANGES:
        if _copies(root, node):
            raise unsupported("`limit_rows` on a statement that writes or returns what it reads")
        return []
    if root == "CopyStmt" and node.get("is_from"):
        return []
    query = _query(root, node)
    if any(True for kind in _CHANGES for _ in each(node, kind)):
        raise unsupported("`limit_rows` on a statement that changes data in a WITH")
    if query.get("limitOption") == "LIMIT_OPTION_WITH_TIES":
        raise unsupported("`limit_rows` beside WITH TIES")
    if "limitCount" not in query:
        at = text.end_of(_end(text, root) - 1)
        return [Edit(at, at, f" LIMIT {most}", "")]
    return _smaller(text, query["limitCount"], most)


def _copies(root: str, node: Node) -> bool:
    """Return whether rows that are read are written or returned."""
    has_rows = root == "InsertStmt" and "valuesLists" not in node.get("selectStmt", {}).get(
        "SelectStmt", {"valuesLists": ()}
    )
    others = any(clause in node for clause in ("returningClause", "fromClause", "withClause"))
    is_merge = root == "MergeStmt"
    return has_rows or others or is_merge or any(True for _ in each(node, "SubLink"))


def _query(root: str, node: Node) -> Node:
    if root == "SelectStmt":
        return node
    found: Node | None = node.get("query", {}).get("SelectStmt")
    if found is None:
        raise unsupported(f"`limit_rows` on `{root}`")
    return found


def _end(text: Text, root: str) -> int:
    """Return the index behind the query, without what follows it in the statement around it."""
    if root == "CopyStmt":
        return text.closing[1]
    if root == "CreateTableAsStmt":
        for words in _WITH_DATA:
            start = text.end - len(words)
            if all(text.is_word(start + i, word) for i, word in enumerate(words)):
                return start
    return text.end


def _smaller(text: Text, count: Node, most: int) -> list[Edit]:
    kind, node = next(iter(count.items()))
    if kind == "A_Const" and node.get("location", 0) < 0:
        # FETCH FIRST ROW ONLY is one row.
        if most < 1:
            raise unsupported("`limit_rows` of no row beside FETCH FIRST ROW")
        return []
    if kind not in ("A_Const", "ParamRef"):
        raise unsupported("`limit_rows` beside a LIMIT that is an expression")
    at = text.at(node)
    start, end = text.spans[at]
    if text.token(at).kind not in ("number", "param") and not text.is_word(at, "all", "null"):
        # A sign before it is a token of its own.
        raise unsupported("`limit_rows` beside a LIMIT that is no plain number")
    if kind == "ParamRef":
        piece = f"(least(CAST({text.text[start:end]} AS bigint), {most}))"
        return [Edit(start, end, piece, text.text[start:end])]
    if not node.get("isnull") and "ival" not in node:
        raise unsupported("`limit_rows` beside a LIMIT that is no whole number")
    if not node.get("isnull") and 0 <= node["ival"].get("ival", 0) <= most:
        return []
    # LIMIT ALL and LIMIT NULL are none.
    return [Edit(start, end, str(most), text.text[start:end])]
