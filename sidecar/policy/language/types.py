"""The types of CEL as the checker sees them: how they are written, which value fits which.

A type is a name with arguments; `dyn` fits everything and everything fits `dyn`. A `Record` is an
object whose fields a vocabulary knows. Signatures are written as text, `"list(A), int -> A"`, where
one capital letter is any type, the same wherever it stands.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#gradual-type-checking
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec


class Type(msgspec.Struct, frozen=True):
    """`list(string)` is `Type("list", (STRING,))`; a capital letter stands for any type."""

    name: str
    args: tuple["AnyType", ...] = ()

    def __str__(self) -> str:
        if not self.args:
            return self.name
        return f"{self.name}({', '.join(map(str, self.args))})"


class Record(msgspec.Struct, frozen=True, eq=False):
    """An object with known fields; in a closed one (`is_open=False`) any other name is an error.

    `name` is how an expression spells it (`request.sql`). `absent` says of fields that are known
    elsewhere why they are never here: it makes the error one that can be acted upon.
    Where `may_ask`, a field that is not known may be asked for, with `has` or `?`, and not read.
    """

    name: str
    fields: Mapping[str, "AnyType"]
    is_open: bool = False
    absent: Mapping[str, str] = {}
    may_ask: bool = False

    def __str__(self) -> str:
        return self.name


AnyType: TypeAlias = Type | Record

DYN: Final = Type("dyn")
NULL: Final = Type("null_type")
BOOL: Final = Type("bool")
INT: Final = Type("int")
UINT: Final = Type("uint")
DOUBLE: Final = Type("double")
STRING: Final = Type("string")
BYTES: Final = Type("bytes")
TIMESTAMP: Final = Type("timestamp")
DURATION: Final = Type("duration")
TYPE: Final = Type("type")
IP: Final = Type("ip")
CIDR: Final = Type("cidr")
QUANTITY: Final = Type("quantity")
URL: Final = Type("url")

NUMBERS: Final = frozenset({INT, UINT, DOUBLE})
# What a map may be keyed by; a double may look up, and cannot be a key.
KEYS: Final = frozenset({BOOL, INT, UINT, STRING})
_PLAIN: Final = {
    kind.name: kind
    for kind in (
        *(DYN, NULL, BOOL, INT, UINT, DOUBLE, STRING, BYTES, TIMESTAMP, DURATION, TYPE),
        *(IP, CIDR, QUANTITY, URL),
    )
}
_ARITY: Final = {"list": 1, "map": 2, "optional": 1}
# The names by which an expression speaks of a type: `type(x) == int`.
TYPE_NAMES: Final = frozenset(
    {
        *("bool", "bytes", "double", "int", "list", "map", "null_type", "optional_type"),
        *("string", "type", "uint", "google.protobuf.Duration", "google.protobuf.Timestamp"),
        *("net.CIDR", "net.IP", "kubernetes.Quantity", "kubernetes.URL"),
    }
)


def list_of(item: AnyType) -> Type:
    """Return the type of a list."""
    return Type("list", (item,))


def map_of(key: AnyType, value: AnyType) -> Type:
    """Return the type of a map."""
    return Type("map", (key, value))


def optional_of(value: AnyType) -> Type:
    """Return the type of an optional."""
    return Type("optional", (value,))


class Signature(msgspec.Struct, frozen=True):
    """What a function takes and returns; of a member function the first parameter is its target."""

    parameters: tuple[AnyType, ...]
    result: AnyType

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.parameters))}) -> {self.result}"


_WORD: Final = re.compile(r"\s*(?:([A-Za-z_]+)|(->|[(),]))")


def signature(text: str) -> Signature:
    """Return the signature that `text` spells: `"string, int -> string"`, `"-> bool"`.

    Only our own tables are written so: a misspelt one is a mistake of ours.
    """
    taken, _, given = text.partition("->")
    (result,) = read_types(given)
    return Signature(tuple(read_types(taken)), result)


def read_types(text: str) -> list[AnyType]:
    """Return the types of a comma-separated list: `"list(A), map(string, dyn)"`."""
    words = [word or mark for word, mark in _WORD.findall(text)]
    assert "".join(words) == re.sub(r"\s", "", text), f"not a list of types: {text}"
    found = _types(words) if words else []
    assert not words, f"not a list of types: {text}"
    return found


def _types(words: list[str]) -> list[AnyType]:
    found: list[AnyType] = []
    while True:
        name, args = words.pop(0), []
        if words[:1] == ["("]:
            words.pop(0)
            args = _types(words)
            assert words.pop(0) == ")"
        assert name in _PLAIN or _is_parameter(name) or _ARITY.get(name) == len(args), name
        found.append(Type(name, tuple(args)))
        if words[:1] != [","]:
            return found
        words.pop(0)


def _is_parameter(name: str) -> bool:
    return len(name) == 1 and name.isupper()


# What the capital letters of a signature stand for, as far as is known.
Bindings: TypeAlias = dict[str, AnyType]


def fits(given: AnyType, wanted: AnyType, bound: Bindings) -> bool:
    """Return whether a value of type `given` may stand where `wanted` is asked for.

    Args:
        given: The type of an argument.
        wanted: The type of a parameter.
        bound: What letters stand for; filled as they are met. Two kinds of number under one letter
            make it `dyn`, as numbers of different kinds compare.
    """
    if isinstance(wanted, Record):
        return given is wanted or given == DYN or _shape(given) == "map"
    if _is_parameter(wanted.name):
        return _binds(given, wanted.name, bound)
    if given == DYN:
        # What is not known of the whole is not known of its parts.
        return all(fits(DYN, part, bound) for part in wanted.args)
    if wanted == DYN:
        return True
    args = _as_map(given) if isinstance(given, Record) else given.args
    if _shape(given) != wanted.name or len(args) != len(wanted.args):
        return False
    return all(fits(one, other, bound) for one, other in zip(args, wanted.args, strict=True))


def _binds(given: AnyType, letter: str, bound: Bindings) -> bool:
    """Let `letter` stand for `given` too; null may stand in for anything, as it does in JSON."""
    known = bound.get(letter, given)
    merged = bound[letter] = join(known, given)
    either = {known, given}
    return merged != DYN or DYN in either or NULL in either or either <= NUMBERS


def _shape(given: AnyType) -> str:
    return "map" if isinstance(given, Record) else given.name


def _as_map(record: Record) -> tuple[AnyType, AnyType]:
    return STRING, join_all(record.fields.values()) if not record.is_open else DYN


def join(one: AnyType, other: AnyType) -> AnyType:
    """Return the type of what may be either; `dyn` where they have nothing in common.

    An object that may be either of two has the fields of both, for what one of them lacks is an
    error when it is read. Beside an object null says nothing of its fields.
    """
    if one == other:
        return one
    if isinstance(one, Record) or isinstance(other, Record):
        if isinstance(one, Record) and isinstance(other, Record):
            return _merged(one, other)
        if NULL in (one, other):
            return other if one == NULL else one
        return DYN if _shape(one) != _shape(other) else map_of(STRING, DYN)
    if one.name != other.name or len(one.args) != len(other.args):
        return DYN
    return Type(one.name, tuple(join(a, b) for a, b in zip(one.args, other.args, strict=True)))


@lru_cache(maxsize=64)
def _merged(one: Record, other: Record) -> Record:
    """Return a record with the fields of both; the same one for the same two."""
    fields = {**one.fields, **other.fields}
    for key in one.fields.keys() & other.fields.keys():
        fields[key] = join(one.fields[key], other.fields[key])
    names = dict.fromkeys([*one.name.split(" or "), *other.name.split(" or ")])
    absent = {key: why for key, why in {**one.absent, **other.absent}.items() if key not in fields}
    is_open, may_ask = one.is_open or other.is_open, one.may_ask or other.may_ask
    return Record(" or ".join(names), fields, is_open, absent, may_ask)


def join_all(types: Iterable[AnyType]) -> AnyType:
    """Return the type of what may be any of `types`; `dyn` for none."""
    found: AnyType | None = None
    for each in types:
        found = each if found is None else join(found, each)
    return DYN if found is None else found


def filled(wanted: AnyType, bound: Bindings) -> AnyType:
    """Return `wanted` with its letters replaced by what they stand for, or by `dyn`."""
    if isinstance(wanted, Record):
        return wanted
    if _is_parameter(wanted.name):
        return bound.get(wanted.name, DYN)
    if not wanted.args:
        return wanted
    return Type(wanted.name, tuple(filled(each, bound) for each in wanted.args))
