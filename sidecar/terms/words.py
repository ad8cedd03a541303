"""The closed vocabularies: protocols, phases, classes, effects, outcomes; how ids are spelt.

These words are promises (they stand in policies, records and answers); they are only ever added to.
"""

from typing import Final, Literal, NewType

Protocol_ = Literal[
    "http",
    "graphql",
    "jsonrpc",
    "sql",
    "k8s",
    "aws",
    "terraform",
    "mcp",
    "llm",
    "rag",
    "a2a",
    "authzen",
]
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
# Mildest first: the class of a call is the severest among its targets.
CLASSES: Final[tuple[str, ...]] = ("connect", "list", "read", "write", "execute", "delete", "admin")
# Weakest first: of the effects that hold for a target the strongest is its outcome.
EFFECTS: Final[tuple[str, ...]] = ("allow", "modify", "step_up", "defer", "deny")
OUTCOMES: Final[tuple[str, ...]] = EFFECTS
DOMAINS: Final[tuple[str, ...]] = ("application", "infrastructure", "data", "ai")

CallId = NewType("CallId", str)
RuleId = NewType("RuleId", str)
PolicyName = NewType("PolicyName", str)
Digest = NewType("Digest", str)
PolicyVersion = NewType("PolicyVersion", str)

_SEVERITY: Final = {word: rank for rank, word in enumerate(CLASSES)}
_STRENGTH: Final = {word: rank for rank, word in enumerate(EFFECTS)}


def severity(action_class: str) -> int:
    """Return the rank of `action_class`, 0 for the mildest (`connect`)."""
    return _SEVERITY[action_class]


def strength(effect: str) -> int:
    """Return the rank of `effect`, 0 for the weakest (`allow`)."""
    return _STRENGTH[effect]


def component(text: str) -> str:
    """Return one component of an id with `.` `%` `*` and control characters percent-encoded.

    A component is what stands between the dots of `schema.table.column`; without the encoding a
    column named `a.b` would take another resource's id. Path-like ids (`bucket/key`, `/raw/path`)
    are not components: use `path_component`.
    """
    return "".join(_encoded(c) if c in ".%*" or _is_control(c) else c for c in text)


def path_component(text: str) -> str:
    """Return path-like id text with `%`, `*` and control characters percent-encoded; dots stay."""
    return "".join(_encoded(c) if c in "%*" or _is_control(c) else c for c in text)


def _is_control(char: str) -> bool:
    return ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or ord(char) in (0x2028, 0x2029)


def _encoded(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
