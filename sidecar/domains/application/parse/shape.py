"""The shape of a `call` object: its keys and their types, the first check of each parser."""

from collections.abc import Mapping

from sidecar.terms.call import Json
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason


def only(payload: Mapping[str, Json], keys: frozenset[str]) -> None:
    """Refuse a key that the protocol's call object does not have."""
    if not payload.keys() <= keys:
        unknown = payload.keys() - keys
        offered = ", ".join(f"`{key}`" for key in sorted(keys))
        raise envelope(f"{len(unknown)} unknown keys in the call; it has {offered}")


def text(payload: Mapping[str, Json], key: str) -> str:
    """Return a string that must be there."""
    value = payload.get(key)
    if value is None:
        raise ParseError(reason("parse.missing"), f"`{key}` is missing")
    if not isinstance(value, str):
        raise envelope(f"`{key}` is not a string")
    if value == "":
        raise ParseError(reason("parse.missing"), f"`{key}` is empty")
    if not value.isascii() and not is_text(value):
        raise ParseError(reason("parse.encoding"), f"`{key}` is not valid Unicode")
    return value


def mapping(payload: Mapping[str, Json], key: str) -> dict[str, Json]:
    """Return an object that may be absent, then empty."""
    value = payload.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise envelope(f"`{key}` is not an object")
    return value


def is_text(value: str) -> bool:
    """Return whether `value` has no lone surrogates, which no record could hold."""
    return not any(0xD800 <= ord(char) <= 0xDFFF for char in value)


def envelope(said: str) -> ParseError:
    """Return the refusal of a call object that is not of its protocol's shape."""
    return ParseError(reason("parse.envelope"), said)
