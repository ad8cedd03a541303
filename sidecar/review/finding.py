"""What lint says: one finding with its code and place."""

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One finding: a stable code, where, and what to do about it."""

    code: str
    level: Literal["error", "warning"]
    where: str
    text: str
