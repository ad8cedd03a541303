"""The Domain protocol: everything the path asks of a domain, on one screen.

A domain is a folder `vocabulary ← catalogue ← parse ← enforce`; `domains/__init__.py` finds it.
All of it is sync, pure and sans-I/O: bytes and documents in, values out.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal, Protocol

import msgspec

from sidecar.terms.answer import Refusal, ResultFilter
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision
from sidecar.terms.request import Parsed, Request

# How obligations of one type on one target become one (DESIGN §2).
Combination = Literal["and", "min", "max", "union", "strictest", "equal"]


class Word(msgspec.Struct, frozen=True):
    """One path that rules may read: `request.sql.reads`, its CEL type, and what it means.

    Args:
        path: From a CEL root (`request.…`, `resource.properties.…`, `action.properties.…`).
        type: CEL type as text: `string`, `int`, `bool`, `list(string)`, `map(string, dyn)`, `dyn`.
        doc: One line for the domain's README.
        sensitive: Values below it are masked in records (literals, prompts, bodies, tokens).
        phases: In which a call may have it; empty is every phase of its protocol.
    """

    path: str
    type: str
    doc: str
    sensitive: bool = False
    phases: tuple[str, ...] = ()


class ObligationType(msgspec.Struct, frozen=True):
    """An obligation that this domain knows.

    Args:
        name: `limit_rows`.
        schema: JSON Schema of the fields beside `type` and `on`.
        combine: How several become one.
        field: The field that `min`, `max`, `union`, `and` and `strictest` work on.
        order: For `strictest`: strictest first.
        holes: Fields that hold `${CEL}`.
    """

    name: str
    schema: dict[str, Json]
    combine: Combination
    field: str
    order: tuple[str, ...] = ()
    holes: tuple[str, ...] = ()


# The two that every domain knows: they stand on a denial and act beside it, and nothing of the call
# is changed by them, so that they are the same words everywhere.
_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": 1000}

NOTIFY: Final = ObligationType(
    name="notify",
    schema={
        "type": "object",
        "properties": {
            "to": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]},
            "topic": _TEXT,
            "message": _TEXT,
        },
        "required": ["to"],
        "additionalProperties": False,
    },
    combine="union",
    field="to",
)
END_SESSION: Final = ObligationType(
    name="end_session",
    schema={"type": "object", "properties": {}, "additionalProperties": False},
    combine="equal",
    field="",
)
DENY_OBLIGATIONS: Final = (NOTIFY, END_SESSION)


class Vocabulary(msgspec.Struct, frozen=True):
    """A domain's words by protocol, its phases and its obligations."""

    words: dict[str, tuple[Word, ...]]
    phases: dict[str, tuple[str, ...]]
    obligations: tuple[ObligationType, ...] = ()


class CatalogueFile(msgspec.Struct, frozen=True):
    """One `kind: Catalog` document as read: file name, `spec`, other files of the bundle by path.

    `where("tables", "hr.x")` gives `file:line:column` of a path inside `spec`, for errors.
    """

    name: str
    spec: dict[str, Json]
    positions: Mapping[tuple[str | int, ...], tuple[int, int]]
    files: Mapping[str, bytes]

    def where(self, *path: str | int) -> str:
        """Return `file:line:column` of `path` inside `spec`, or of its nearest parent."""
        steps: tuple[str | int, ...] = ("spec", *path)
        while steps and steps not in self.positions:
            steps = steps[:-1]
        line, column = self.positions.get(steps, (1, 1))
        return f"{self.name}:{line}:{column}"


class Needs(msgspec.Struct, frozen=True):
    """What the rules of a bundle need of a call, so that nothing else is read or buffered.

    `paths` are the CEL paths that some rule reads; `body` says whether any of them is in the body.
    """

    paths: frozenset[str] = frozenset()
    body: bool = True


class Elsewhere(Exception):
    """Raised where an answer takes an event loop milliseconds and somebody else can work it out.

    `flow` yields it; whoever runs the path has another process do the work, and asks once more.

    Args:
        bundle: Digest of the bundle whose catalogue it needs.
        work: What is to be done; only its domain knows how to read it.
        take: Takes in what came of it: done again, the same is at hand.
    """

    def __init__(self, bundle: str, work: bytes, take: Callable[[bytes], None]) -> None:
        super().__init__("work for another process")
        self.bundle = bundle
        self.work = work
        self.take = take


# Returns once the work that a call needs was done and taken in; raises ParseError where it was not.
Worked = Callable[[Call, Elsewhere], Awaitable[None]]


async def nowhere(_call: Call, _away: Elsewhere) -> None:
    """Do nothing for anybody: where nobody else works, no domain may be told that one does."""
    raise AssertionError("nobody works elsewhere")


class Catalogue(Protocol):
    """A domain's own compiled catalogue; opaque to everyone else."""

    @property
    def empty(self) -> bool:
        """Return whether no file said anything."""
        ...


class Domain(Protocol):
    """What `domains/<name>/__init__.py` exports as `DOMAIN`."""

    @property
    def name(self) -> str:
        """The folder's name."""
        ...

    @property
    def protocols(self) -> tuple[str, ...]:
        """Words of `words.PROTOCOLS` that this domain reads; no other domain may name them."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """Words by protocol and phase; obligation types with schema and combination."""
        ...

    @property
    def shapes(self) -> Mapping[str, dict[str, Json]]:
        """JSON Schema of `spec` of its catalogue files, by the protocols that have one."""
        ...

    def catalogue(self, files: Sequence[CatalogueFile]) -> Catalogue:
        """Compile this domain's catalogue files; PolicyError with every problem."""
        ...

    def check(self, obligation: dict[str, Json], catalogue: Catalogue) -> list[str]:
        """Return what is wrong with an obligation as written in a rule, `[]` if nothing."""
        ...

    def parse(self, call: Call, catalogue: Catalogue, needs: Needs) -> Parsed:
        """Read the call. Raises ParseError, which `flow` turns into `parse.status: failed`."""
        ...

    def rewrite(
        self, call: Call, request: Request, decision: Decision, catalogue: Catalogue
    ) -> dict[str, Json]:
        """Return the payload to forward with `decision`'s obligations carried out.

        The identical payload when there is nothing to do; with `combine: each` and dropped targets
        the rebuilt payload holds only what was kept. EnforceError when an obligation cannot be
        carried out.
        """
        ...

    def result(self, request: Request, decision: Decision) -> ResultFilter | None:
        """Return the filter for the upstream's answer, None when it may pass as it is."""
        ...

    def refuse(self, call: Call, decision: Decision) -> Refusal:
        """Return the denial in the protocol's words, with decision id, rule, policy and version."""
        ...
