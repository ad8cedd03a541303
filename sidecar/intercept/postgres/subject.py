"""On whose behalf a connection speaks; `protocol/naming.py` has the statement that changes it.

A pooled connection serves many people and names each by a token. As with any setting, what counts
is that the statement runs, not that it is prepared: a text that a driver keeps prepared is executed
again and again, and each time the subject turns. A turn is on record before it is sent.

- What follows in the pipeline is judged for the new subject at once: the server refuses that too if
  it refuses the turn. Behind a Sync it need not, so there a statement waits for the answer.
- A turn that the server refuses or discards changes nothing.
- Without LOCAL the subject holds until it is set again; an empty token, DEFAULT, `RESET ALL` and
  `DISCARD ALL` return to the workload's own. A rollback does not.
- With LOCAL it holds until a statement ends the transaction, AND CHAIN or not, or the server says
  that none is open. Meanwhile a statement behind a Sync waits for its answer, so that none is
  judged for a person whose transaction is over. Where a subject was named behind a savepoint,
  ROLLBACK TO is refused: it may take the subject back, and which savepoint is meant is not kept.
"""

from collections import deque

import msgspec

from sidecar.intercept.postgres.protocol.naming import Boundary, TokenSet, Turn
from sidecar.intercept.postgres.settings import Workloads
from sidecar.terms.call import Identity


class Speaker:
    """Who speaks on one connection: the workload, and the subject that it has named.

    `identity` is who is judged now, the same object as long as nothing changes. `is_unsettled` says
    that an answer of the server may change it, `is_bound` that the end of a transaction may.
    """

    def __init__(self, user: str, workloads: Workloads) -> None:
        self.user = user
        self._workloads = workloads
        self._own = workloads.identity_of(user)
        self._session = self._own
        self._local: Identity | None = None
        self._turns: deque[Turn] = deque()
        self._has_savepoint = self._is_nested = False
        self.identity = self._own
        self.is_unsettled = self.is_bound = False

    def changes_with(self, asked: TokenSet) -> bool:
        """Return whether `asked` may change anything: going back to the start from there cannot."""
        return bool(asked.token) or self.is_unsettled or self._session is not self._own

    def named(self, asked: TokenSet) -> Identity | None:
        """Return who would speak, None when the token proves nobody that may be named."""
        if not asked.token:
            return self._own
        subject = self._workloads.subject_of(asked.token, self.user)
        if subject is None:
            return None
        # Somebody acts for the subject: the workload's actor, else the workload's own subject.
        actors = self._own.actors or (self._own.subject,)
        return msgspec.structs.replace(
            self._own, subject=subject, actors=actors, asserted_by=self.user
        )

    @property
    def _is_local(self) -> bool:
        """Return whether a subject hangs on the transaction, or may."""
        return self._local is not None or bool(self._turns)

    def ended_by(self, asked: Boundary) -> Turn | None:
        """Return the turn that the end of a transaction is, None where nothing hangs on it."""
        self._has_savepoint |= asked.saves
        self.is_bound |= asked.saves
        return Turn(None, is_local=True) if asked.ends and self._is_local else None

    def may_return(self, asked: Boundary) -> bool:
        """Return whether it is known who speaks behind a ROLLBACK TO."""
        return not (asked.returns and self._is_local and (self._is_nested or asked.is_mixed))

    def turn(self, turn: Turn) -> None:
        """Let another speak from here on, unless the server refuses it."""
        self._is_nested |= turn.is_local and self._has_savepoint
        self._turns.append(turn)
        self._reckon()

    def settle(self) -> None:
        """Take what the server has said of the turns."""
        if not self._turns or self._turns[0].took is None:
            return
        # In the order of the pipeline, in which the server answers.
        while self._turns and self._turns[0].took is not None:
            turn = self._turns.popleft()
            if turn.took:
                self._session, self._local = turn.after(self._session)
        self._reckon()

    def transaction_ended(self, *, is_quiet: bool) -> None:
        """Return to the session's subject; `is_quiet` says that nothing is under way."""
        if is_quiet:
            self._has_savepoint = self._is_nested = False
        self._local = None
        self._reckon()

    def _reckon(self) -> None:
        session, local = self._session, self._local
        for turn in self._turns:
            session, local = turn.after(session)
        self.is_bound = self._has_savepoint or self._is_nested or self._local is not None
        self.identity = local or session
        self.is_unsettled = local is not None or bool(self._turns)
