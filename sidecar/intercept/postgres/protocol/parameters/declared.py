"""The types that a Parse gives to its parameters.

A type is a cast that does not stand in the text: one of `regclass` looks a name up, one of a domain
runs its checks, one of somebody's own an input function. Plain built-in types do nothing but read
their own value, and go to the server as they came. Any other is kept from it: it must find the type
by the text, which is decided, and a value may be bound once it has found the same one. So drivers
that know the number of an enumeration can send it wherever a column or a cast says it as well.

Source: PostgreSQL's `pg_type.dat`; documentation, "Message Formats" (Parse).
"""

import struct
from typing import Final

# By pg_type.oid; 0 and 705 (`unknown`) leave it to the text, and 2278 (`void`) is no argument:
# JDBC's for what a function returns. No name, no role, no row, no domain.
PLAIN: Final = frozenset((
    0, 16, 17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 28, 29, 30, 114, 142, 143, 199, 271, 600, 601,
    602, 603, 604, 628, 629, 650, 651, 700, 701, 705, 718, 719, 774, 775, 790, 791, 829, 869,
    1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009, 1010, 1011, 1012, 1013, 1014, 1015, 1016,
    1017, 1018, 1019, 1020, 1021, 1022, 1027, 1028, 1040, 1041, 1042, 1043, 1082, 1083, 1114,
    1115, 1182, 1183, 1184, 1185, 1186, 1187, 1231, 1266, 1270, 1560, 1561, 1562, 1563, 1700,
    1790, 2201, 2278, 2949, 2950, 2951, 2970, 3220, 3221, 3614, 3615, 3643, 3645, 3802, 3807,
    3904, 3905, 3906, 3907, 3908, 3909, 3910, 3911, 3912, 3913, 3926, 3927, 4072, 4073, 4451,
    4532, 4533, 4534, 4535, 4536, 5038, 5039, 5069, 6150, 6151, 6152, 6153, 6155, 6157,
))  # fmt: skip


def is_plain(types: bytes) -> bool:
    """Return whether each of these types, of four bytes, may go to the server as it came."""
    return PLAIN.issuperset(_types(types))


def shown(types: bytes) -> bytes:
    """Return these types as the server is told of them: what is not plain, it has to find."""
    told = _types(types)
    return struct.pack(f"!{len(told)}I", *(one if one in PLAIN else 0 for one in told))


def are_found(types: bytes, found: tuple[int, ...]) -> bool:
    """Return whether the server has found each of these types that it was not told of."""
    given = _types(types)
    pairs = zip(given, found, strict=False)
    return len(found) >= len(given) and all(one in PLAIN or one == own for one, own in pairs)


def _types(packed: bytes) -> tuple[int, ...]:
    return struct.unpack(f"!{len(packed) // 4}I", packed)
