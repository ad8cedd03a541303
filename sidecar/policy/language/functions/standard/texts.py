"""`startsWith`, `endsWith` and `contains`: by code points, never by pattern."""

from typing import Final

from sidecar.policy.language.faults import NoSuchOverload
from sidecar.policy.language.functions.signature import member


def starts_with(text: object, prefix: object) -> bool:
    """Return whether `text` begins with `prefix`."""
    if type(text) is str and type(prefix) is str:
        return text.startswith(prefix)
    raise NoSuchOverload


def ends_with(text: object, suffix: object) -> bool:
    """Return whether `text` ends with `suffix`."""
    if type(text) is str and type(suffix) is str:
        return text.endswith(suffix)
    raise NoSuchOverload


def contains(text: object, part: object) -> bool:
    """Return whether `part` stands somewhere in `text`."""
    if type(text) is str and type(part) is str:
        return part in text
    raise NoSuchOverload


DECLARED: Final = (
    member("startsWith", starts_with, "string, string -> bool"),
    member("endsWith", ends_with, "string, string -> bool"),
    member("contains", contains, "string, string -> bool"),
)
