"""The shapes of this domain's catalogue files, for editors; `files.py` is what reads them."""

from typing import Final

from sidecar.syntax.shape import (
    ABOUT,
    CLASS,
    RESOURCES,
    TEXT,
    Shape,
    by_name,
    fields,
    spec,
    told,
)  # fmt: skip

_THING: Final = by_name(fields(ABOUT))
_ARGUMENT: Final[Shape] = {
    "oneOf": [
        fields(
            {
                "protocol": {"const": "sql"},
                "dialect": told("Without it nothing is rewritten: obligations refuse.", TEXT),
                "upstream": TEXT,
                "max_length": told(
                    "Characters that the tool takes; a longer text is refused, also a rewritten "
                    "one.",
                    {"type": "integer", "minimum": 1},
                ),
            },
            "protocol",
        ),
        fields({"protocol": {"const": "http"}, "method": TEXT, "upstream": TEXT}, "protocol"),
        fields({"protocol": {"const": "text"}}, "protocol"),
    ]
}
_TOOL: Final = fields(
    {
        **ABOUT,
        "class": told("What a call of the tool is; without it, `execute`.", CLASS),
        "arguments": told("What arguments hold, so that it is looked into.", by_name(_ARGUMENT)),
    }
)
_SERVER: Final = fields(
    {
        **ABOUT,
        "tools": by_name(_TOOL),
        "prompts": _THING,
        "resources": told("By globs over URIs.", _THING),
    }
)
_COLLECTION: Final = fields({**ABOUT, "documents": told("By globs over their ids.", _THING)})
_MODELS: Final[Shape] = told(
    "By `provider/model`.", {**_THING, "propertyNames": {"pattern": "^[^/]+/."}}
)

SHAPES: Final[dict[str, Shape]] = {
    "mcp": spec("mcp", {"servers": by_name(_SERVER), "resources": RESOURCES}),
    "llm": spec("llm", {"models": _MODELS, "resources": RESOURCES}),
    "rag": spec("rag", {"collections": by_name(_COLLECTION), "resources": RESOURCES}),
    "a2a": spec("a2a", {"agents": _THING, "resources": RESOURCES}),
}
