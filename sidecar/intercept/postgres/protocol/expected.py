"""A message that was sent, as long as the server has not answered it."""

from dataclasses import dataclass

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

    @property
    def lease(self) -> Lease | None:
        """Return the decision that a use is counted to: the newest that may be meant."""
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
