"""Reads which sequences a statement moves or looks at: their names are the literals of calls.

The literal comes from PostgreSQL's own grammar, since our scanner keeps no strings. It is read as
`regclass` reads it. Anything but a literal could name any sequence, and is refused.
"""

import re
from collections.abc import Sequence
from typing import Final

from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason
from sidecar.terms.request import Action, Resource, Target
from sidecar.terms.words import component

_PART: Final = r'(?:([A-Za-z_][A-Za-z0-9_$]*)|"((?:[^"\x00-\x1f]|"")+)")'
_NAME: Final = re.compile(rf"(?:{_PART}\.)?{_PART}\Z")


def sequence_targets(
    calls: Sequence[tuple[str, str | None]], search_path: Sequence[str], upstream: str
) -> tuple[Target, ...]:
    """Return a target for each sequence; a name without a schema may be that of each in the path.

    Raises:
        ParseError: `parse.unsupported` where the name is no plain literal.
    """
    found: dict[tuple[str, str, str], Target] = {}
    for function, literal in calls:
        match = _NAME.match(literal) if literal is not None else None
        if match is None:
            raise ParseError(
                reason("parse.unsupported"), "a sequence that is not named by a literal"
            )
        schema, name = _folded(*match.groups()[:2]), _folded(*match.groups()[2:])
        path = [schema] if schema is not None else [s for s in search_path if s != "pg_catalog"]
        for step in path:
            found[function, step, name or ""] = _target(function, step, name or "", upstream)
    if calls and not found:
        raise ParseError(reason("parse.unknown_table"), "a sequence without a schema")
    return tuple(found[key] for key in sorted(found))


def _folded(bare: str | None, quoted: str | None) -> str | None:
    return bare.lower() if bare is not None else quoted and quoted.replace('""', '"')


def _target(function: str, schema: str, name: str, upstream: str) -> Target:
    properties = {"schema": schema, "sequence": name}
    resource_id = f"{component(schema)}.{component(name)}"
    action = Action(function, "read" if function == "currval" else "write")
    return Target(action, Resource("sequence", resource_id, upstream, (), properties))
