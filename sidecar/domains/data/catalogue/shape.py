"""The shape of this domain's catalogue files, for editors; `file.py` is what reads them."""

from typing import Final

from sidecar.domains.data.catalogue.file import DIALECTS
from sidecar.syntax.shape import LABELS, TEXT, Shape, by_name, fields, spec, told

_QUALIFIED: Final = {"pattern": r"^[^.]+\..+"}
_ACCESSES: Final[Shape] = {
    "type": "array",
    "items": {"type": "string", "pattern": r"^[^.]+\.[^.]+(\.[^.]+)?$"},
}
_NAMES: Final[Shape] = {"type": "array", "items": TEXT}
_COLUMN: Final = fields(
    {
        "labels": LABELS,
        "type": TEXT,
        "shows": told("Of a view: the columns that this one shows.", _ACCESSES),
        "generated": told("The database makes it of other columns.", {"const": True}),
    }
)
_TABLE: Final = fields(
    {
        "labels": LABELS,
        "columns": told(
            "In their order, with what is known of each; a list where that is nothing.",
            {
                "oneOf": [
                    _NAMES,
                    by_name({"oneOf": [{"type": "null"}, _COLUMN]}),
                ]
            },
        ),
        "reads": told("Of a view: what it reads beyond what it shows.", _ACCESSES),
        "inherits": told("Of a partition: the tables that it is a part of.", _ACCESSES),
        "kind": told("What the database says that it is.", TEXT),
        "lineage": told("Of a view that nobody has read: it is not read.", {"const": "unknown"}),
        "definition": told("The digest of a view's query.", {"type": "string"}),
        "query": told("A view's query, every table with its schema.", {"type": "string"}),
    }
)
_SCHEMA: Final = fields({"labels": LABELS, "tables": by_name(_TABLE), "sequences": _NAMES})
_FUNCTION: Final = fields({"reads": _ACCESSES, "writes": _ACCESSES, "forms": {"type": "array"}})
_TYPE: Final = fields(
    {
        "kind": told("enum, domain, composite, range, multirange or base.", TEXT),
        "base": told("The type that a domain is over, or that a range is of.", TEXT),
        "fields": told("Of a composite: its fields in order, with their types.", by_name(TEXT)),
        "checks": told("Of a domain, as the database has them.", _NAMES),
        "cast": told("A cast to it runs what nobody has read.", {"const": "unread"}),
    }
)

SHAPES: Final[dict[str, Shape]] = {
    "sql": spec(
        "sql",
        {
            "dialect": {"enum": list(DIALECTS)},
            "server": told("What the database said of itself when it was read.", {}),
            "search_path": _NAMES,
            "schemas": by_name(_SCHEMA),
            "functions": told(
                "By `schema.name`; one that says neither `reads` nor `writes` is not called.",
                {**by_name(_FUNCTION), "propertyNames": _QUALIFIED},
            ),
            "types": told(
                "The organisation's own, by `schema.name`.",
                {**by_name(_TYPE), "propertyNames": _QUALIFIED},
            ),
        },
    )
}
