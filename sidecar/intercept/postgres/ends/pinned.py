"""What the server must say of itself at the login and ever after: that it reads as is decided.

Source: PostgreSQL's `SplitIdentifierString`, for lists of schemas; documentation,
"Asynchronous Operations" (ParameterStatus).
"""

import re
from typing import Final

from sidecar.intercept.postgres.limits import NAME_BYTES_MAX
from sidecar.intercept.postgres.protocol.wire import ProtocolError

REQUIRED: Final = {"client_encoding": "UTF8", "standard_conforming_strings": "on"}

_STEP: Final = re.compile(
    r'[ \t\n\r\f\v]*+(?:"((?:[^"]|"")*+)"|([^", \t\n\r\f\v][^, \t\n\r\f\v]*+))'
)
_COMMA: Final = re.compile(r"[ \t\n\r\f\v]*+(,|\Z)")
_UPPER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
# Without a search path names mean less, never something else.
_WITHOUT: Final = ((), ("",), ("pg_catalog",))


class ReadOtherwise(ProtocolError):
    """The server says that it reads statements otherwise than they are decided."""


def steps_of(text: str) -> tuple[str, ...] | None:
    """Return the schemas that the text of a `search_path` names, None where it is no list.

    A name that PostgreSQL would cut makes it none.
    """
    if not text.strip(" \t\n\r\f\v"):
        return ()
    found: list[str] = []
    at = 0
    while True:
        step = _STEP.match(text, at)
        comma = None if step is None else _COMMA.match(text, step.end())
        if step is None or comma is None:
            return None
        quoted, bare = step.groups()
        name = bare.translate(_UPPER) if bare is not None else quoted.replace('""', '"')
        if len(name.encode()) > NAME_BYTES_MAX:
            return None
        found.append(name)
        if not comma[1]:
            return tuple(found)
        at = comma.end()


def check_parameter(
    body: bytes, search_path: tuple[str, ...], *, is_greeting: bool = False
) -> None:
    """Check a ParameterStatus; from PostgreSQL 18 on there is one of `search_path` as well.

    A session may do without a search path, but does not begin without the pinned one.

    Raises:
        ReadOtherwise: The server reads text otherwise, or looks names up elsewhere.
    """
    name, _, value = body.decode("utf-8", "replace").rstrip("\0").partition("\0")
    required = REQUIRED.get(name)
    if required is not None and value != required:
        raise ReadOtherwise("the upstream changed how statements are read", "57P01")
    allowed = (search_path,) if is_greeting else (search_path, *_WITHOUT)
    if name == "search_path" and steps_of(value) not in allowed:
        raise ReadOtherwise("the upstream's `search_path` is not the pinned one", "57P01")
