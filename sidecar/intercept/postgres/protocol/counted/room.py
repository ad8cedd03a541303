"""How much memory the statements of one connection may take: behind its names, and unanswered.

A name keeps what its statement means, which may be many times its text, for as long as the client
likes. What goes again is not counted as it goes: all is weighed once more where what has come may
be too much.
"""

from collections.abc import Callable

from sidecar.intercept.postgres.limits import (
    STATEMENT_BYTES,
    STATEMENT_FACTOR,
    STATEMENTS_BYTES_MAX,
    TYPES_FACTOR,
    VALUES_FACTOR,
)
from sidecar.intercept.postgres.protocol.prepared import Statement, Statements
from sidecar.record.canonical import fixed_text
from sidecar.terms.answer import Forward


class Room:
    """That of one connection; `kept` says what it keeps, some of it more than once."""

    def __init__(self, kept: Callable[[], Statements]) -> None:
        self._kept = kept
        # No less than what is kept.
        self._taken = 0
        # What was weighed last: equal texts have it in common.
        self._last: tuple[Forward, int] | None = None

    def has_for(self, statement: Statement) -> bool:
        """Return whether there is room for one more statement, and count it where there is."""
        statement.weight = self._weight(statement)
        if self._taken + statement.weight > STATEMENTS_BYTES_MAX:
            self._taken = sum(one.weight for one in set(self._kept()))
        if self._taken + statement.weight > STATEMENTS_BYTES_MAX:
            return False
        self._taken += statement.weight
        return True

    def _weight(self, statement: Statement) -> int:
        lease = statement.lease
        means = 0 if lease is None else self._size(lease.forward)
        factor = VALUES_FACTOR if statement.said else STATEMENT_FACTOR
        texts = len(statement.text) + len(statement.sent) + TYPES_FACTOR * len(statement.given)
        return STATEMENT_BYTES + texts + factor * means

    def _size(self, forward: Forward) -> int:
        if self._last is None or self._last[0] is not forward:
            self._last = forward, len(fixed_text(forward.request))
        return self._last[1]
