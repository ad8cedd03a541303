"""In which order the keys of a bundle's files stand; keys that are not named stay where they are.

`variables` and whatever is an organisation's own are never sorted: in the former each sees those
above it, in the latter the order is its author's.
"""

from collections.abc import Mapping, Sequence
from typing import Final

Path = tuple[str, ...]

_DOCUMENT: Final = ("apiVersion", "kind", "metadata", "spec")
_METADATA: Final = ("name", "description", "controls", "annotations", "lint")
_MATCH: Final = (
    "domains", "protocols", "phases", "upstreams", "classes", "actions", "resources", "except",
)  # fmt: skip
_RULE: Final = (
    "id", "description", "effect", "match", "scope", "when", "obligations", "message",
    "messageExpression", "controls",
)  # fmt: skip
_SPEC: Final[Mapping[str, Sequence[str]]] = {
    "Policy": ("layer", "match", "variables", "rules"),
    "Test": ("options", "principals", "requests", "resources", "groups", "facts", "tests"),
}
# A key that stands for any item of a list.
ITEM: Final = "[]"
_BELOW: Final[Mapping[tuple[str, Path], Sequence[str]]] = {
    ("Policy", ("spec", "match")): _MATCH,
    ("Policy", ("spec", "rules", ITEM)): _RULE,
    ("Policy", ("spec", "rules", ITEM, "match")): _MATCH,
    ("Policy", ("spec", "rules", ITEM, "obligations", ITEM)): ("type", "on"),
    ("Test", ("spec", "tests", ITEM)): (
        "name", "description", "skip", "skipReason", "options", "input", "expected",
    ),
}  # fmt: skip
_BUNDLE: Final = ("apiVersion", "kind", "name", "version", "description", "layers", "requires")


def order_of(kind: str, path: Path) -> Sequence[str]:
    """Return the keys of a mapping in the order in which they stand, as far as there is one.

    Args:
        kind: Of the document; `Bundle` is `bundle.yaml`.
        path: From the top of the document; `ITEM` for each item of a list.
    """
    if kind == "Bundle":
        return _BUNDLE if path == () else ()
    if path == ():
        return _DOCUMENT
    if path == ("metadata",):
        return _METADATA
    if path == ("spec",):
        return _SPEC.get(kind, ())
    return _BELOW.get((kind, path), ())
