"""Tells whether two ways of writing a type mean the same one."""

import re
from typing import Final

# Built-in types; a domain or a type of somebody's own may run code when it is cast to.
_TYPES: Final = """
bigint bit bool boolean box bpchar bytea char character cidr circle date datemultirange
daterange dec decimal double float float4 float8 inet int int2 int4 int4multirange int4range
int8 int8multirange int8range integer interval json jsonb jsonpath line lseg macaddr macaddr8
money name national nchar numeric nummultirange numrange path point polygon real smallint text time
timestamp timestamptz timetz tsquery tsrange tsmultirange tstzrange tstzmultirange tsvector uuid
varbit varchar xml pg_lsn oid xid xid8 cid tid int2vector oidvector pg_snapshot txid_snapshot
refcursor
"""
BUILT_IN: Final = frozenset(_TYPES.split())
# Those whose values are looked up by name.
_LOOKING_UP: Final = frozenset((
    "regclass", "regcollation", "regconfig", "regdictionary", "regnamespace", "regoper",
    "regoperator", "regproc", "regprocedure", "regrole", "regtype",
))  # fmt: skip
# What `format_type` calls some of them.
_PHRASES: Final = frozenset((
    "bit varying", "character varying", "double precision", '"char"', "time with time zone",
    "time without time zone", "timestamp with time zone", "timestamp without time zone",
))  # fmt: skip

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


def is_built_in(said: str) -> bool:
    """Return whether this is a type of PostgreSQL's own, or an array, that looks no name up."""
    plain = _SPACE.sub(" ", _MODIFIER.sub("", said)).strip().lower().rstrip("[]")
    return plain in BUILT_IN or plain in _PHRASES


def is_built_in_name(name: str) -> bool:
    """Return whether a type of PostgreSQL's own, or its array, goes by that name."""
    plain = name.removeprefix("_")
    return plain in BUILT_IN or plain in _LOOKING_UP


def _apart(said: str) -> tuple[str, str]:
    modifier = "".join(_SPACE.sub("", one) for one in _MODIFIER.findall(said))
    plain = _SPACE.sub(" ", _MODIFIER.sub("", said)).strip().lower()
    bare = plain.rstrip("[]")
    # An array has no number of dimensions.
    return _CALLED.get(bare, bare) + ("[]" if bare != plain else ""), modifier
