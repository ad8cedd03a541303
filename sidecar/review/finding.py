"""What lint says: one finding with its code, its place and what it is about."""

from typing import Literal

import msgspec

Level = Literal["error", "warning"]


class Finding(msgspec.Struct, frozen=True):
    """One finding: a stable code, where, and what to do about it.

    Args:
        about: `policy/rule` or the name of a document, as an exemption names them.
        accepted: The reason for which the policy exempts it, None where it does not.
    """

    code: str
    level: Level
    where: str
    text: str
    about: str = ""
    accepted: str | None = None
