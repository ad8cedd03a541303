"""The shapes of this domain's catalogue files, for editors; `__init__.py` is what reads them."""

from typing import Final

from sidecar.domains.application.vocabulary import METHOD_CLASSES
from sidecar.syntax.shape import (
    CLASS,
    LABELS,
    RESOURCES,
    TEXT,
    Shape,
    by_name,
    fields,
    spec,
    told,
)  # fmt: skip

_ROUTE: Final = fields(
    {
        "method": {"enum": list(METHOD_CLASSES)},
        "path": told("A template: `/users/{id}`.", {"type": "string", "pattern": "^/"}),
        "name": told("The action's name; without it, the method.", TEXT),
        "class": told("Without it, the method's.", CLASS),
        "labels": LABELS,
        "resource": told(
            "The thing behind the route: `expense:{id}`.",
            {"type": "string", "pattern": "^[^:{]+:."},
        ),
        "body": told("Whether a method without a body may have one.", {"type": "boolean"}),
    },
    "method",
    "path",
)

SHAPES: Final[dict[str, Shape]] = {
    "http": spec(
        "http",
        {
            "openapi": told("A file of this bundle that has the routes.", TEXT),
            "routes": {"type": "array", "items": _ROUTE},
            "resources": RESOURCES,
        },
    ),
    "authzen": spec(
        "authzen",
        {"actions": told("The class of each action.", by_name(CLASS)), "resources": RESOURCES},
    ),
}
