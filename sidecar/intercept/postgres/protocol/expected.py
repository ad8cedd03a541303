"""A message that was sent, or several in one piece, as long as the server has not answered."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from sidecar.intercept.postgres.protocol.denial import Denial
from sidecar.intercept.postgres.protocol.naming import Turn
from sidecar.intercept.postgres.protocol.prepared import Lease, Statements, rows_left


@dataclass(slots=True, eq=False)
class Expected:
    """One message whose answer is awaited.

    Args:
        kind: Its type; `Q` also for what was turned into a Query.
        name: Statement (P), portal (B) or what is closed (C).
        closes: `S` or `P`, for a Close.
        statements: What it proposes (P), binds (B), or runs (E, Q).
        denial: What the client is told in place of the error that `nonce` provokes.
        turn: What it does to the subject (E, Q); told here whether the server took it.
        is_muted: Whether the client is told nothing of its success.
        is_bounded: Whether its rows are.
        is_fence: Whether it depends on its answer what may follow.
        is_part: Whether it is a part of what the client sent as one Query.
        bind: The SHA-256 of the client's Bind.
        of: The name of the statement of which a portal is bound (B).
        candidates: What that may stand for, in the order of `statements`, which are portals of it.
        sent_s: When it was sent, by the clock of `Runs`.
    """

    kind: bytes
    name: bytes = b""
    closes: bytes = b""
    statements: Statements = ()
    denial: Denial | None = None
    turn: Turn | None = None
    is_muted: bool = False
    is_bounded: bool = False
    is_fence: bool = False
    is_part: bool = False
    nonce: str = ""
    rows: int = 0
    status: str | None = None
    result: str = "forwarded"
    bind: bytes = b""
    of: bytes = b""
    candidates: Statements = ()
    sent_s: float = 0.0

    def take_bind(self, frame: bytes) -> None:
        """Note the client's Bind, and let it stand for portals."""
        self.statements = tuple(one.bound() for one in self.statements)
        self.bind = hashlib.sha256(frame).digest()

    def know(self, meant: Statements, queue: Iterable["Expected"]) -> Statements:
        """Know what its statement's name stands for; return the portal, with that one last.

        All that it may have stood for stay, so that each must be permitted; runs of it, which are
        in `queue`, are counted to what was meant.
        """
        before, both = self.statements, list(zip(self.candidates, self.statements, strict=False))
        if len(both) > 1:
            both.sort(key=lambda pair: pair[0] in meant)
            self.statements = tuple([portal for _, portal in both])
            for one in queue:
                if one.statements is before:
                    one.statements = self.statements
        return self.statements

    def know_of(self, portal: Statements) -> None:
        """Take the order of the portal that is run, if its Bind was answered meanwhile."""
        if len(portal) > 1 and set(portal) == set(self.statements):
            self.statements = portal

    @property
    def lease(self) -> Lease | None:
        """Return the decision that a use is counted to: what is meant, else the newest it may."""
        return self.statements[-1].lease if self.statements else None

    @property
    def rows_left(self) -> int | None:
        """Return how many rows a run may bring, None where nothing bounds them."""
        if self.kind not in (b"E", b"Q"):
            return None
        if self.lease is not None and self.lease.copies == "in":
            # There are none, and the server takes no Sync there.
            return None
        return rows_left(self.statements)

    @property
    def sql_name(self) -> str:
        """Return its name as SQL knows it."""
        return self.name.decode("utf-8", "replace")

    def settle_turn(self, *, took: bool) -> None:
        """Tell the turn of the subject, if it is one, whether the server took it."""
        if self.turn is not None:
            self.turn.took = took


class Form(msgspec.Struct, frozen=True, eq=False):
    """What a piece consists of.

    Args:
        kinds: Of its messages, in order.
        begin: What its answer begins with.
        is_described: Whether rows, or that there are none, are described in the answer.
    """

    kinds: bytes
    begin: bytes
    is_described: bool


class Sent(msgspec.Struct, eq=False):
    """A run that was sent in one piece; `sent_s` and `bind` as in Expected."""

    of: Statements
    form: Form
    sent_s: float
    bind: bytes = b""
