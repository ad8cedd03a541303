"""Tells whether two ways of writing a type mean the same one."""

import re
from typing import Final

# As PostgreSQL's own `format_type` writes them.
_CALLED: Final = {
    "int": "integer", "int4": "integer", "int2": "smallint", "int8": "bigint",
    "decimal": "numeric", "dec": "numeric", "float4": "real", "float8": "double precision",
    "float": "double precision", "bool": "boolean", "varchar": "character varying",
    "char": "character", "bpchar": "character", "varbit": "bit varying",
    "timestamp": "timestamp without time zone", "timestamptz": "timestamp with time zone",
    "time": "time without time zone", "timetz": "time with time zone",
}  # fmt: skip
_MODIFIER: Final = re.compile(r"\s*\(([^)]*)\)")
_SPACE: Final = re.compile(r"\s+")


def is_type(said: str | None, now: str) -> bool:
    """Return whether a catalogue's type is the one that a column has.

    None is any type. One that is said without a length or a precision is any of that kind; one of
    the organisation's own may be said without its schema.
    """
    if said is None:
        return True
    kind, modifier = _apart(said)
    real, real_modifier = _apart(now)
    if "." not in kind:
        real = real.rpartition(".")[2]
    return kind == real and modifier in ("", real_modifier)


def _apart(said: str) -> tuple[str, str]:
    modifier = "".join(_SPACE.sub("", one) for one in _MODIFIER.findall(said))
    plain = _SPACE.sub(" ", _MODIFIER.sub("", said)).strip().lower()
    bare = plain.rstrip("[]")
    # An array has no number of dimensions.
    return _CALLED.get(bare, bare) + ("[]" if bare != plain else ""), modifier
