"""The words of SQL that rules may read, and the obligations that may stand on a statement."""

from typing import Final

import msgspec

from sidecar.terms.domain import DENY_OBLIGATIONS, ObligationType, Vocabulary, Word

# Of a statement: while a connection is opened there is none.
_STATEMENT: Final = (
    Word("request.sql.dialect", "string", "`postgres`"),
    Word(
        "request.sql.kind",
        "string",
        "select, insert, update, delete, merge, session, or as create_table, alter_table, copy, …",
    ),
    Word(
        "request.sql.verbs",
        "list(string)",
        "every verb in it, data-modifying CTEs included; `reset_all`, `discard_all` beside theirs",
    ),
    Word("request.sql.statements", "int", "1; 0 for an empty text"),
    Word(
        "request.sql.reads",
        "map(string, list(string))",
        "`schema.table` → columns read; `*` beside them for a whole row, [] for touched only",
    ),
    Word(
        "request.sql.writes",
        "map(string, list(string))",
        "`schema.table` → columns written; [] for deleted from or locked",
    ),
    Word(
        "request.sql.usage",
        "map(string, list(string))",
        "`schema.table.column` → project, predicate, join, group, order, write, returning",
    ),
    Word("request.sql.functions", "list(string)", "functions called, declared ones as schema.name"),
    Word(
        "request.sql.names",
        "list(dyn)",
        "prepared statements, cursors: `does` (prepare, execute, close, …), `name` or `*`, `text`",
        sensitive=True,
    ),
    Word(
        "request.sql.limit",
        "int",
        "LIMIT of the outermost query; absent when there is none, or more rows may come",
    ),
    Word("request.sql.text_sha256", "string", "digest of the text"),
    Word("request.sql.complete", "bool", "true: what is not understood completely is refused"),
    Word("request.sql.params", "list(dyn)", "bound parameters, where given", sensitive=True),
    Word("resource.properties.schema", "string", "schema of a table or column"),
    Word("resource.properties.table", "string", "table of a table or column"),
    Word("resource.properties.column", "string", "column's name"),
    Word("resource.properties.sequence", "string", "sequence's name"),
    Word("resource.properties.index", "string", "index's name"),
    Word("resource.properties.setting", "string", "name of a setting that is guarded"),
    Word("resource.properties.channel", "string", "name of a channel of NOTIFY"),
)

_SQL: Final = tuple(msgspec.structs.replace(word, phases=("call",)) for word in _STATEMENT)

# Strictest first.
MASKS: Final = ("nullify", "redact", "hash", "truncate", "last4", "expression")


def _only(required: dict[str, object], **optional: object) -> dict[str, object]:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": sorted(required),
        "additionalProperties": False,
    }


_COUNT: Final = {"type": "integer", "minimum": 0}
_TEXT: Final = {"type": "string", "minLength": 1}

OBLIGATIONS: Final = (
    ObligationType("filter_rows", _only({"where": _TEXT}), "and", "where", holes=("where",)),
    ObligationType(
        "mask",
        _only({"with": {"enum": list(MASKS)}}, expression=_TEXT),
        "strictest",
        "with",
        order=MASKS,
    ),
    ObligationType("limit_rows", _only({"max": _COUNT}), "min", "max"),
    ObligationType("min_group_size", _only({"min": _COUNT}), "max", "min"),
    ObligationType("deny_in_predicate", _only({}), "equal", ""),
    *DENY_OBLIGATIONS,
)

VOCABULARY: Final = Vocabulary(
    words={"sql": _SQL},
    phases={"sql": ("connect", "call")},
    obligations=OBLIGATIONS,
)
