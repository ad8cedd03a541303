"""Which statement a name stands for, as the server has it, and how long its decision reaches.

A name is given by Parse (statements) and Bind (portals), and the server may refuse either: a second
Parse of a name that is taken fails, and the name keeps its *first* statement. So a name is not what
was last sent: it is what the server confirmed, or any of what it has not answered yet, and all of
these must be permitted before the name is used. Its answer tells whether a Parse held (`settle`).

A decision on a statement is a lease: it reaches to later uses until the bundle, the revocations,
the subject or the clock says otherwise; then it is decided again. Rules that read what varies from
one use to the next leave no lease at all.
"""

import functools
import hashlib
import hmac
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from sidecar.intercept.postgres.limits import NAMES_MAX
from sidecar.intercept.postgres.protocol.naming import (
    BACK_TO_START,
    Boundary,
    TokenSet,
    boundary_of,
)
from sidecar.intercept.postgres.protocol.parameters.declared import are_found, is_plain, shown
from sidecar.intercept.postgres.protocol.parameters.values import Unread, bound_values
from sidecar.intercept.postgres.protocol.session_names import NameUse, Passed
from sidecar.policy.bundle import Bundle
from sidecar.terms.answer import Forward
from sidecar.terms.call import Identity, Json
from sidecar.terms.domain import Needs
from sidecar.terms.spent import UNTOLD
from sidecar.terms.words import CallId

# What differs from one use of a statement to the next, as CEL paths.
_PARAMS: Final = "request.sql.params"
_DIGEST: Final = "request.sql.text_sha256"
_VARYING: Final = ("context.time", _PARAMS, "session")
# What the parser calls the statements that reset a whole session.
_BACK_TO_START: Final = frozenset({"reset_all", "discard_all"})


class Lease(msgspec.Struct, eq=False):
    """One decision and its uses that no outcome record tells of yet.

    Args:
        until_s: On the loop's clock; not after it.
        told: Whether some outcome record tells of it.
        is_counted: Whether its uses are told of soon, all together.
        rows_max: How many rows of one run may pass; None where nothing bounds them.
        again: The decision's id, where it is not `forward`'s own: it came out as that one did.
        is_quiet: Whether the server's words must not pass.
        copies: `in` or `out` for COPY, else empty.
        names: What the statement does to names of the session.
        took_s: How long its stages took, as `Spent` has them, where that was looked at.
        durable_s: How long its record was waited for.
        upstream_s: How long the server took for what no outcome record tells of yet.
        values: Begun over the Binds of these uses, None where there was none (`counted/runs.py`).
    """

    forward: Forward
    identity: Identity
    digest: str
    epoch: int
    until_s: float
    uses: int = 0
    rows: int = 0
    size: int = 0
    status: str | None = None
    result: str = "forwarded"
    told: bool = False
    is_counted: bool = False
    rows_max: int | None = None
    is_quiet: bool = False
    copies: str = ""
    names: tuple[NameUse, ...] = ()
    again: CallId | None = None
    took_s: Sequence[float] = UNTOLD
    durable_s: float = 0.0
    upstream_s: float = 0.0
    values: "hashlib._Hash | None" = None

    @property
    def id(self) -> CallId:
        """Return the decision's id."""
        return self.again or self.forward.decision.id

    @property
    def sent(self) -> bytes:
        """Return the text that was permitted, with what is due on it carried out."""
        text = self.forward.payload["text"]
        assert isinstance(text, str)
        return text.encode("utf-8")

    @property
    def asked(self) -> Boundary | TokenSet | None:
        """Return what a run does to the subject, as the parser read it."""
        said = self.forward.request.request["sql"]
        if not _BACK_TO_START.isdisjoint(said["verbs"]):
            return BACK_TO_START
        if said["kind"] != "session":
            return None
        return boundary_of(said["verbs"], self.sent.decode("utf-8"))

    @property
    def is_fenced(self) -> bool:
        """Return whether what follows depends on how the server answers a run."""
        return (
            self.rows_max is not None
            or self.copies == "in"
            or any(one.is_change for one in self.names)
        )

    def covers(self, identity: Identity, digest: str, epoch: int, now_s: float) -> bool:
        """Return whether a use now is covered."""
        return (
            self.identity is identity
            and self.epoch == epoch
            and now_s < self.until_s
            and (self.digest is digest or hmac.compare_digest(self.digest, digest))
        )


class Reads:
    """What the rules in force read of statements; looked up once a bundle.

    Attributes:
        params: Whether some rule reads the values of parameters.
        goes_by_form: Whether none tells texts apart that mean the same.
    """

    def __init__(self, bundle: Callable[[], Bundle]) -> None:
        self._now = bundle
        self._last: Bundle | None = None
        self.params = self.goes_by_form = False

    def has_params(self) -> bool:
        """Return whether some rule now reads the values of parameters."""
        self.bundle()
        return self.params

    def bundle(self) -> Bundle:
        """Return the bundle in force, whose rules they are."""
        bundle = self._now()
        if bundle is not self._last:
            needs = bundle.needs("sql")
            self._last, self.params = bundle, reads_params(needs)
            self.goes_by_form = not reads_digest(needs)
        return bundle


class Statement(msgspec.Struct, eq=False):
    """A statement's text as the client wrote it and as it was sent, and its latest decision.

    There is no decision on what the sidecar itself puts in a statement's place (see `naming`).
    `asked` is what each run of it does to the subject. `passed` counts the rows of a portal or a
    cursor whose rows are bounded. `types` are those of its parameters as the server has them, None
    where nobody asked; `said` is what a Bind adds to what is judged. `given` are the types, of four
    bytes, that its Parse gave to parameters, `is_untyped` says that the server has yet to find some
    of them (`declared`). `weight` is about how many bytes it takes, where that was asked.
    """

    text: str
    sent: bytes
    lease: Lease | None = None
    asked: TokenSet | Boundary | None = None
    passed: Passed | None = None
    types: tuple[int, ...] | None = None
    said: dict[str, Json] = {}
    weight: int = 0
    given: bytes = b""
    is_untyped: bool = False

    def take_types(self, rest: bytes) -> bytes:
        """Note what a Parse says of types, a count and the types, and return it as it is sent."""
        count, self.given = rest[:2], rest[2:]
        self.is_untyped = not is_plain(self.given)
        return count + shown(self.given) if self.is_untyped else rest

    def is_as_given(self) -> bool:
        """Return whether the server has the types that its Parse gave."""
        if self.is_untyped and self.types is not None:
            self.is_untyped = not are_found(self.given, self.types)
        return not self.is_untyped

    def with_values(self, body: bytes) -> "Statement":
        """Return what a portal of it is, with the values of the Bind `body`."""
        assert self.types is not None
        try:
            said: dict[str, Json] = {"params": bound_values(body, self.types)}
        except Unread:
            said = {"params_unread": True}
        return msgspec.structs.replace(self, said=said)

    def bound(self) -> "Statement":
        """Return what a portal of it is: the same, with rows of its own where they are bounded."""
        if self.lease is None or self.lease.rows_max is None or self.passed is not None:
            return self
        return msgspec.structs.replace(self, passed=Passed())

    @property
    def is_plain(self) -> bool:
        """Return whether a use of it changes nothing of the session and nothing is due on it."""
        lease = self.lease
        return (
            lease is not None
            and self.asked is None
            and lease.rows_max is None
            and not (self.said or lease.is_quiet or lease.copies or lease.names or self.is_untyped)
        )

    @property
    def is_uncounted(self) -> bool:
        """Return whether its rows are bounded and nobody counts them."""
        return self.lease is not None and self.lease.rows_max is not None and self.passed is None

    @property
    def rows_left(self) -> int | None:
        """Return how many rows may still pass, None where nothing bounds them."""
        if self.passed is None or self.lease is None or self.lease.rows_max is None:
            return None
        return max(self.lease.rows_max - self.passed.rows, 0)


Statements = tuple[Statement, ...]


def rows_left(statements: Statements) -> int | None:
    """Return how many rows may still pass of a run of any of these; None where nothing bounds."""
    lefts = [one.rows_left for one in statements if one.passed is not None]
    return min((left for left in lefts if left is not None), default=None)


@dataclass(slots=True)
class Names:
    """Names of statements or of portals; a portal stands for what its statement's name did.

    `has_lost` says that there were too many, so that the server may know names that stand here no
    more. `held` are those that the server has confirmed.
    """

    has_lost: bool = False
    held: OrderedDict[bytes, Statements] = field(default_factory=OrderedDict)
    _proposed: dict[bytes, deque[tuple[int, Statements]]] = field(default_factory=dict)

    def candidates(self, name: bytes, segment: int) -> Statements:
        """Return every statement that the server may know by `name` when it comes to `segment`.

        A segment is what lies between two Syncs. Where the name was proposed in this one, either
        the server takes it or it discards the rest of the segment, so nothing else is meant.
        """
        proposed = self._proposed.get(name, deque())
        if self.is_proposed(name, segment):
            return proposed[-1][1]
        found = self.held.get(name, ())
        for _, statements in proposed:
            found += tuple(one for one in statements if one not in found)
        return found

    def is_proposed(self, name: bytes, segment: int) -> bool:
        """Return whether `name` can mean nothing but what it was last proposed for."""
        proposed = self._proposed.get(name)
        return proposed is not None and proposed[-1][0] == segment

    def plain(self, name: bytes) -> Statements:
        """Return the one statement that `name` stands for if there is nothing to it but a lease."""
        found = self.held.get(name, ())
        if len(found) != 1 or (self._proposed and name in self._proposed):
            return ()
        return found if found[0].is_plain else ()

    def hold(self, name: bytes, statements: Statements) -> Statements:
        """Let `name` stand for what the server has confirmed; return what it displaces."""
        assert name not in self._proposed, "nothing is unanswered"
        return () if self.held.get(name) is statements else self._confirm(name, statements)

    def propose(self, name: bytes, statements: Statements, segment: int) -> None:
        """Note that the server was asked to take `name` for `statements`."""
        self._proposed.setdefault(name, deque()).append((segment, statements))

    def settle(self, name: bytes, *, confirmed: bool, its: Statements = ()) -> Statements:
        """Note the server's answer to the oldest proposal of a name; return what it displaces.

        `its` is what was proposed in the order that is known by now.
        """
        waiting = self._proposed[name]
        _, oldest = waiting.popleft()
        if not waiting:
            del self._proposed[name]
        return self._confirm(name, its or oldest) if confirmed else ()

    def _confirm(self, name: bytes, statements: Statements) -> Statements:
        displaced = self.held.pop(name, ())
        self.held[name] = statements
        if len(self.held) > NAMES_MAX:
            displaced += self.held.popitem(last=False)[1]
            self.has_lost = True
        return displaced

    def close(self, name: bytes) -> Statements:
        """Forget what the server has confirmed to be closed."""
        return self.held.pop(name, ())

    def forget(self) -> Statements:
        """Forget every name that the server has confirmed, and return what they stood for."""
        if not self.held:
            return ()
        found = self.all()
        self.held.clear()
        return found

    def all(self) -> Statements:
        """Return every statement that stands behind some name."""
        return tuple(one for held in self.held.values() for one in held)


@functools.lru_cache(maxsize=8)
def is_leasable(needs: Needs) -> bool:
    """Return whether rules with these needs say the same of the next use."""
    return not any(_overlaps(path, varying) for path in needs.paths for varying in _VARYING)


@functools.lru_cache(maxsize=8)
def reads_params(needs: Needs) -> bool:
    """Return whether some rule with these needs reads the values of parameters."""
    return any(_overlaps(path, _PARAMS) for path in needs.paths)


@functools.lru_cache(maxsize=8)
def reads_digest(needs: Needs) -> bool:
    """Return whether some rule with these needs reads the digest of the text."""
    return any(_overlaps(path, _DIGEST) for path in needs.paths)


def _overlaps(path: str, other: str) -> bool:
    """Return whether one path lies in the other: `context` reads `context.time` too."""
    one, two = path.split("."), other.split(".")
    shared = min(len(one), len(two))
    return one[:shared] == two[:shared]
