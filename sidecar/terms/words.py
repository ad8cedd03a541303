"""The closed vocabularies: protocols, phases, classes, effects, outcomes; how ids are spelt.

These words are promises (they stand in policies, records and answers); they are only ever added to.
"""

import re
from typing import Final, Literal, NewType

Phase = Literal["connect", "list", "call", "result", "event"]
ActionClass = Literal["connect", "list", "read", "write", "execute", "delete", "admin"]
Effect = Literal["allow", "modify", "step_up", "defer", "deny"]
Outcome = Literal["allow", "modify", "step_up", "defer", "deny"]
Combine = Literal["all", "each"]

PROTOCOLS: Final[tuple[str, ...]] = (
    "http", "graphql", "jsonrpc", "sql", "k8s", "aws", "terraform",
    "mcp", "llm", "rag", "a2a", "authzen",
)  # fmt: skip
PHASES: Final[tuple[str, ...]] = ("connect", "list", "call", "result", "event")
# Mildest first.
CLASSES: Final[tuple[str, ...]] = ("connect", "list", "read", "write", "execute", "delete", "admin")
# Weakest first: of the effects that hold for a target the strongest is its outcome.
EFFECTS: Final[tuple[str, ...]] = ("allow", "modify", "step_up", "defer", "deny")
OUTCOMES: Final[tuple[str, ...]] = EFFECTS
DOMAINS: Final[tuple[str, ...]] = ("application", "infrastructure", "data", "ai")

CallId = NewType("CallId", str)
RuleId = NewType("RuleId", str)
PolicyName = NewType("PolicyName", str)
PolicyVersion = NewType("PolicyVersion", str)

_CONTROLS: Final = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
_APART: Final = re.compile(rf"[.%*{_CONTROLS}]")
_APART_IN_PATHS: Final = re.compile(rf"[%*{_CONTROLS}]")
_STRENGTH: Final = {word: rank for rank, word in enumerate(EFFECTS)}


def strength(effect: str) -> int:
    """Return the rank of `effect`, 0 for the weakest (`allow`)."""
    return _STRENGTH[effect]


def component(text: str) -> str:
    """Return one component of an id with `.` `%` `*` and control characters percent-encoded.

    A component is what stands between the dots of `schema.table.column`; without the encoding a
    column named `a.b` would take another resource's id. Path-like ids (`bucket/key`, `/raw/path`)
    are not components: use `path_component`.
    """
    # A name as most are holds nothing of it.
    return text if text.isidentifier() else _APART.sub(_encoded, text)


def path_component(text: str) -> str:
    """Return path-like id text with `%`, `*` and control characters percent-encoded; dots stay."""
    return _APART_IN_PATHS.sub(_encoded, text)


def _encoded(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))
