"""Says what a statement does to the session's names: prepared statements and cursors.

What stands behind a name was sent earlier, so the listener keeps the texts and hands them in as
`session`; here they are only looked up. `*` is every name, so no name of that spelling is read.
"""

from collections.abc import Mapping
from typing import Final

from sidecar.domains.data.parse.other.wrapped import query_begins
from sidecar.domains.data.parse.second import Seen
from sidecar.domains.data.parse.text.lexer import Token, tail
from sidecar.terms.call import Json
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

# Where the text behind the name of such a statement is kept.
_KEPT: Final = {"execute": "prepared", "fetch": "cursors", "move": "cursors"}
# What may stand behind a name: data alone. A name of a name, or of SET, is nobody's.
RUN_BY_NAME: Final = frozenset(
    ("select", "insert", "update", "delete", "merge", "prepare", "declare")
)
USES: Final = frozenset(_KEPT)
EVERY: Final = "*"
_DOES: Final = {
    "PrepareStmt": ("prepare", "name"), "DeclareCursorStmt": ("declare", "portalname"),
    "ExecuteStmt": ("execute", "name"), "DeallocateStmt": ("deallocate", "name"),
    "ClosePortalStmt": ("close", "portalname"),
}  # fmt: skip


def names_of(seen: Seen, text: str, tokens: list[Token]) -> list[Json]:
    """Return what is done to which name: `{does, name, text}`, the text of PREPARE and DECLARE.

    Args:
        seen: What PostgreSQL's grammar finds in `text`.
        text: The statement.
        tokens: Those of `text`.

    Raises:
        ParseError: `parse.unsupported` for a name that is spelt like the sign for all of them.
    """
    return [
        name
        for statement in seen.tree.get("stmts", ())
        for root, node in statement["stmt"].items()
        for name in _of_one(root, node, text, tokens)
    ]


def _of_one(root: str, node: Json, text: str, tokens: list[Token]) -> list[Json]:
    if root == "DiscardStmt":
        is_all = node["target"] == "DISCARD_ALL"
        return [_named("discard", EVERY)] if is_all else []
    if root == "FetchStmt":
        return [_named("move" if node.get("ismove") else "fetch", _plain(node["portalname"]))]
    if root not in _DOES:
        return []
    does, field = _DOES[root]
    name = _plain(node[field]) if field in node else EVERY
    if does in ("prepare", "declare"):
        return [_named(does, name, tail(text, query_begins(does, tokens)))]
    return [_named(does, name)]


def text_behind(kind: str, names: list[Json], session: Mapping[str, Json]) -> str:
    """Return the text that EXECUTE, FETCH or MOVE runs.

    Raises:
        ParseError: `parse.unknown_name`.
    """
    said = names[0]
    assert isinstance(said, dict)
    text = session.get(_KEPT[kind], {}).get(said["name"])
    if text is None:
        raise ParseError(reason("parse.unknown_name"), "a name that this session does not have")
    return str(text)


def check_session_names(session: Json) -> None:
    """Check that `session` is `{"prepared": {name: text}, "cursors": {name: text}}`.

    Raises:
        ParseError: `parse.envelope`.
    """
    is_right = isinstance(session, dict) and session.keys() <= set(_KEPT.values())
    if not is_right or not all(_is_texts(kept) for kept in session.values()):
        said = '`session` is expected as {"prepared": {name: text}, "cursors": {name: text}}'
        raise ParseError(reason("parse.envelope"), said)


def _is_texts(kept: Json) -> bool:
    return isinstance(kept, dict) and all(isinstance(text, str) for text in kept.values())


def _plain(name: Json) -> str:
    if name == EVERY:
        raise ParseError(reason("parse.unsupported"), "a name that is spelt like all of them")
    return str(name)


def _named(does: str, name: str, text: str = "") -> dict[str, Json]:
    return {"does": does, "name": name, "text": text}
