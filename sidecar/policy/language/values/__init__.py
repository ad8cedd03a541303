"""Values of CEL: their types, equality and order, and how they come and go."""

from sidecar.policy.language.values.equality import equals, fingerprint, key_value, map_key
from sidecar.policy.language.values.exchange import admitted, to_json, typed, untyped
from sidecar.policy.language.values.kinds import (
    FALSE_KEY,
    NONE,
    TRUE_KEY,
    TYPES,
    Duration,
    Maybe,
    Timestamp,
    Uint,
    type_of,
)

__all__ = [
    "FALSE_KEY",
    "NONE",
    "TRUE_KEY",
    "TYPES",
    "Duration",
    "Maybe",
    "Timestamp",
    "Uint",
    "admitted",
    "equals",
    "fingerprint",
    "key_value",
    "map_key",
    "to_json",
    "type_of",
    "typed",
    "untyped",
]
