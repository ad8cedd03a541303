"""What a shape would take at a place of a document, said to whoever wrote something else there."""

from collections.abc import Iterator
from typing import NamedTuple

from msgspec.inspect import (
    DictType,
    ListType,
    LiteralType,
    StructType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)

from sidecar.syntax.yaml12 import Step


class Offered(NamedTuple):
    """Words of a closed list, and fields of a mapping."""

    words: list[str]
    fields: list[str]


def offered(shape: type, inner: tuple[Step, ...]) -> Offered:
    """Return what may stand at `inner` of a document of `shape`."""
    kinds = [type_info(shape)]
    for step in inner:
        kinds = [found for kind in kinds for found in _below(kind, step)]
    flat = [one for kind in kinds for one in _each(kind)]
    words = [str(word) for one in flat if isinstance(one, LiteralType) for word in one.values]
    fields = [f.encode_name for one in flat if isinstance(one, StructType) for f in one.fields]
    return Offered(words, fields)


def _each(kind: Type) -> tuple[Type, ...]:
    """Return the kinds that a union is of."""
    return kind.types if isinstance(kind, UnionType) else (kind,)


def _below(kind: Type, step: Step) -> Iterator[Type]:
    """Yield what may stand at a field, a key or a place of `kind`."""
    for one in _each(kind):
        match one:
            case StructType():
                yield from (field.type for field in one.fields if field.encode_name == step)
                # What tells the shapes of a union apart is no field of theirs.
                if one.tag_field == step and isinstance(one.tag, str):
                    yield LiteralType((one.tag,))
            case DictType():
                yield one.value_type
            case ListType() | VarTupleType():
                yield one.item_type
            case _:
                pass
