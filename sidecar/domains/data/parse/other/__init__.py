"""Reads what is neither a query nor of the session: definitions, and what stands around a query.

```
text ─second.look▶ PostgreSQL's tree ─definition▶ what is done to which relation, schema, sequence
tokens ─wrapped▶ the tokens of the query inside ─statement▶ what it reads ┘
```

PostgreSQL's own grammar is the first reader here, since ours has no definitions; our scanner has to
have seen every name that it finds, and both have to agree on the query inside.
"""

from typing import Final

import msgspec

from sidecar.domains.data.catalogue import Relations
from sidecar.domains.data.parse.access import Accesses
from sidecar.domains.data.parse.other.checked import note_checked
from sidecar.domains.data.parse.other.definition import Defined, define
from sidecar.domains.data.parse.other.wrapped import inner_query
from sidecar.domains.data.parse.second import Seen, agree, check_names, look
from sidecar.domains.data.parse.statement import Statement, read_statement
from sidecar.domains.data.parse.text import lookups
from sidecar.domains.data.parse.text.casts import KEPT_AS
from sidecar.domains.data.parse.text.functions import OPERATORS, TYPES
from sidecar.domains.data.parse.text.lexer import Token
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

WORDS: Final = frozenset((
    "alter", "analyse", "analyze", "comment", "copy", "create", "declare", "drop", "execute",
    "explain", "fetch", "grant", "listen", "lock", "move", "notify", "prepare", "refresh",
    "reindex", "revoke", "truncate", "vacuum",
))  # fmt: skip


_INTO: Final = Token("word", "into")
# What the grammar keeps as the names of operators of its own.
WORDED: Final = frozenset(("BETWEEN", "NOT BETWEEN", "BETWEEN SYMMETRIC", "NOT BETWEEN SYMMETRIC"))


class Other(msgspec.Struct, frozen=True):
    """What such a statement does: what is defined, the query inside it, and both as one Statement.

    Args:
        statement: Accesses of the query and of COPY; its kind is the whole statement's.
    """

    statement: Statement
    defined: tuple[Defined, ...]
    seen: Seen


def is_other(tokens: list[Token]) -> bool:
    """Return whether these tokens are for this reader: by the first word, or by SELECT's INTO."""
    first = tokens[0]
    if first.kind == "word" and first.text in WORDS:
        return True
    is_query = first.kind == "word" and first.text in ("select", "with")
    return is_query and _INTO in tokens and _into(tokens) > 0


def read_other(
    text: str, tokens: list[Token], relations: Relations, search_path: tuple[str, ...]
) -> Other:
    """Return what the statement does.

    Raises:
        ParseError: With one of `parse.*`.
    """
    seen = look(text)
    if len(seen.kinds) != 1:
        raise ParseError(reason("parse.disagreement"), "two readers of SQL do not agree")
    accesses = Accesses(relations, search_path)
    kind, defined, names, inner = define(seen, relations, accesses)
    said = {token.text for token in tokens if token.kind in ("word", "quoted")}
    if not names <= said or tokens[0].text not in (kind.partition("_")[0], *_FIRST.get(kind, ())):
        raise ParseError(reason("parse.disagreement"), "two readers of SQL do not agree on names")
    query = inner_query(kind, tokens, _into(tokens) if kind == "select_into" else 0)
    if query is None or inner is None:
        if query is not None or inner is not None:
            raise ParseError(reason("parse.disagreement"), "two readers of SQL do not agree")
        statement = _own(kind, accesses, seen)
    else:
        read = read_statement(query, relations, search_path)
        agree(seen.inside(inner), read)
        _check_parameters(seen, relations, search_path)
        statement = msgspec.structs.replace(read, kind=kind, verbs=(kind, *read.verbs))
    check_names(seen, {token.text for token in tokens if token.kind == "quoted"})
    return Other(statement, defined, seen)


# First words of kinds that are not called by them.
_FIRST: Final = {"analyze": ("analyse",), "declare": (), "select_into": ("with",)}


def _own(kind: str, accesses: Accesses, seen: Seen) -> Statement:
    """Return the accesses of a statement without a query; the functions in it are called later."""
    if seen.has_query:
        raise ParseError(reason("parse.unsupported"), "a query in a definition is not read")
    for schema, name in seen.calls:
        accesses.call(schema, name)
    if not seen.operators <= OPERATORS | WORDED or not seen.types <= TYPES | lookups.TYPES.keys():
        raise ParseError(
            reason("parse.unsupported"), "an operator or a cast that is not built in is not read"
        )
    note_checked(seen.tree, accesses)
    for cast_to in sorted(seen.types & lookups.TYPES.keys()):
        accesses.look_up(lookups.TYPES[cast_to])
    return Statement(
        kind=kind,
        verbs=(kind,),
        tables=tuple(accesses.tables.values()),
        touched=tuple(accesses.touched),
        named=tuple(accesses.named),
        functions=tuple(sorted(accesses.functions)),
        limit=None,
        usage={column: tuple(sorted(uses)) for column, uses in accesses.usage.items()},
    )


def _check_parameters(seen: Seen, relations: Relations, search_path: tuple[str, ...]) -> None:
    """Refuse types of PREPARE that do more than read a value: EXECUTE casts to them unsaid."""
    castable = relations.castable(search_path)
    for one in seen.tree["stmts"][0]["stmt"].get("PrepareStmt", {}).get("argtypes", ()):
        said = one["TypeName"]
        *schema, name = (part["String"]["sval"] for part in said["names"])
        is_plain = schema in ([], ["pg_catalog"]) and name in KEPT_AS
        is_castable = len(schema) < 2 and castable.find("".join(schema), name) is not None
        if said.keys() & {"setof", "pct_type"} or not (is_plain or is_castable):
            told = "a parameter of such a type is not read: cast it in the query"
            raise ParseError(reason("parse.unsupported"), told)


def _into(tokens: list[Token]) -> int:
    """Return where the INTO of a SELECT stands, 0 where there is none."""
    depth, at_select = 0, -1
    for at, (kind, text) in enumerate(tokens):
        if kind == "punct":
            depth += (text in ("(", "[")) - (text in (")", "]"))
        elif kind == "word" and depth == 0:
            if text in ("insert", "merge"):
                return 0
            if text == "select":
                at_select = at
            elif text == "into" and at_select >= 0 and tokens[at - 1] != ("punct", "."):
                return at
    return 0


__all__ = ["Defined", "Other", "is_other", "read_other"]
