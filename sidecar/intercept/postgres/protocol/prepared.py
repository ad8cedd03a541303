"""Which statement a name stands for, as the server has it, and how long its decision reaches.

A name is given by Parse (statements) and Bind (portals), and the server may refuse either: a second
Parse of a name that is taken fails, and the name keeps its *first* statement. So a name is not what
was last sent: it is what the server confirmed, or any of what it has not answered yet, and all of
these must be permitted before the name is used. Its answer tells whether a Parse held (`settle`).

A decision on a statement is a lease: it reaches to later uses until the bundle, the revocations,
the subject or the clock says otherwise; then it is decided again. Rules that read what varies from
one use to the next leave no lease at all.
"""

import hmac
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final

from sidecar.intercept.postgres.limits import NAMES_MAX
from sidecar.intercept.postgres.protocol.naming import TokenSet
from sidecar.terms.answer import Forward
from sidecar.terms.call import Identity
from sidecar.terms.domain import Needs

# What differs from one use of a statement to the next, as CEL paths.
_VARYING: Final = ("context.time", "request.sql.params", "session")


@dataclass(slots=True, eq=False)
class Lease:
    """One decision and its uses that no outcome record tells of yet.

    Args:
        until_s: On the loop's clock; not after it.
        told: Whether some outcome record tells of it.
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

    def covers(self, identity: Identity, digest: str, epoch: int, now_s: float) -> bool:
        """Return whether a use now is covered."""
        return (
            self.identity is identity
            and hmac.compare_digest(self.digest, digest)
            and self.epoch == epoch
            and now_s < self.until_s
        )


@dataclass(slots=True, eq=False)
class Statement:
    """A statement's text as the client wrote it and as it was sent, and its latest decision.

    There is no decision on what the sidecar itself puts in a statement's place (see `naming`).
    `asked` is what each run of it does to the subject.
    """

    text: str
    sent: bytes
    lease: Lease | None = None
    asked: TokenSet | None = None


Statements = tuple[Statement, ...]


@dataclass(slots=True)
class Names:
    """Names of statements or of portals; a portal stands for what its statement's name did."""

    _held: OrderedDict[bytes, Statements] = field(default_factory=OrderedDict)
    _proposed: dict[bytes, deque[tuple[int, Statements]]] = field(default_factory=dict)

    def candidates(self, name: bytes, segment: int) -> Statements:
        """Return every statement that the server may know by `name` when it comes to `segment`.

        A segment is what lies between two Syncs. Where the name was proposed in this one, either
        the server takes it or it discards the rest of the segment, so nothing else is meant.
        """
        proposed = self._proposed.get(name)
        if proposed and proposed[-1][0] == segment:
            return proposed[-1][1]
        found = self._held.get(name, ())
        for _, statements in proposed or ():
            found += tuple(one for one in statements if one not in found)
        return found

    def propose(self, name: bytes, statements: Statements, segment: int) -> None:
        """Note that the server was asked to take `name` for `statements`."""
        self._proposed.setdefault(name, deque()).append((segment, statements))

    def settle(self, name: bytes, *, confirmed: bool) -> Statements:
        """Note the server's answer to the oldest proposal of a name; return what it displaces."""
        waiting = self._proposed[name]
        _, oldest = waiting.popleft()
        if not waiting:
            del self._proposed[name]
        if not confirmed:
            return ()
        displaced = self._held.pop(name, ())
        self._held[name] = oldest
        if len(self._held) > NAMES_MAX:
            displaced += self._held.popitem(last=False)[1]
        return displaced

    def close(self, name: bytes) -> Statements:
        """Forget what the server has confirmed to be closed."""
        return self._held.pop(name, ())

    def all(self) -> Statements:
        """Return every statement that stands behind some name."""
        return tuple(one for held in self._held.values() for one in held)


def is_leasable(needs: Needs) -> bool:
    """Return whether rules with these needs say the same of the next use."""
    return not any(_overlaps(path, varying) for path in needs.paths for varying in _VARYING)


def _overlaps(path: str, other: str) -> bool:
    """Return whether one path lies in the other: `context` reads `context.time` too."""
    one, two = path.split("."), other.split(".")
    shared = min(len(one), len(two))
    return one[:shared] == two[:shared]
