"""Small judgements on JSON that every parser here makes; a text in an error never holds a value."""

from collections.abc import Iterable

from sidecar.syntax.json import loads
from sidecar.terms.call import Json
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason
from sidecar.terms.request import Action, Parsed, ParseStatus, Resource, Target
from sidecar.terms.words import ActionClass

Object = dict[str, Json]


def refuse(code: str, text: str) -> ParseError:
    """Return the error to raise."""
    return ParseError(reason(code), text)


def decoded(value: Json, what: str) -> Json:
    """Return the JSON value of `value`, which may be JSON text or bytes still."""
    if value is None:
        raise refuse("parse.missing", f"{what} is missing")
    return loads(value) if isinstance(value, str | bytes) else value


def mapping(value: Json, what: str) -> Object:
    """Return `value` as an object."""
    if not isinstance(value, dict):
        raise refuse("parse.syntax", f"{what} is not an object")
    return value


def optional_mapping(owner: Object, key: str, what: str) -> Object:
    """Return `owner[key]` as an object, an empty one where the key is absent; null is not."""
    return mapping(owner[key], what) if key in owner else {}


def listing(value: Json, what: str, count_max: int) -> list[Json]:
    """Return `value` as a list of a bounded length."""
    if not isinstance(value, list):
        raise refuse("parse.syntax", f"{what} is not a list")
    if len(value) > count_max:
        raise refuse("parse.too_large", f"{what} of more than {count_max} elements")
    return value


def only(owner: Object, allowed: Iterable[str], what: str, code: str = "parse.unexpected") -> None:
    """Refuse keys that are not `allowed`.

    Why so strict: readers that ignore the case of keys, or accept a second spelling of them (Go's
    encoding/json, protobuf's JSON form), would read a part that was not judged.
    """
    known = set(allowed)
    if not owner.keys() <= known:
        told = ", ".join(f"`{key}`" for key in sorted(known))
        raise refuse(code, f"a field that {what} does not have; it has {told}")


def one_of(value: Json, known: Iterable[str], what: str, code: str = "parse.syntax") -> str:
    """Return `value` as one of the words that are known."""
    if not isinstance(value, str) or value not in known:
        raise refuse(code, f"{what} is none that is known")
    return value


def distinct(names: Iterable[str], what: str) -> None:
    """Refuse a name that stands twice: which of the two is meant?"""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise refuse("parse.ambiguous", f"{what} stands twice")
        seen.add(name)


def target(
    cls: ActionClass, action: str, resource: Resource, properties: Object | None = None
) -> Target:
    """Return the target of `action` on `resource`."""
    return Target(Action(action, cls, properties or {}), resource)


def understood(protocol: str, targets: Iterable[Target], native: Object) -> Parsed:
    """Return a call that was read completely; None values of `native` are what it does not have."""
    offered = {word: value for word, value in native.items() if value is not None}
    return Parsed(tuple(targets), offered, ParseStatus("complete", protocol))
