"""Who is revoked, pushed to every worker: a revocation is acknowledged once all have taken it."""

from collections.abc import Callable
from typing import Final

from sidecar.record.fold import Revocations
from sidecar.record.limits import TOOK_S_MAX
from sidecar.record.recorder import wire
from sidecar.record.recorder.lines import Connection, Lines
from sidecar.record.recorder.wire import Ack, Revoked


class Taken:
    """What waits until everybody has taken the new list; used on the ledger's thread alone.

    Args:
        revocations: Who is revoked.
        lines: Everybody.
        later: Calls what it is handed after so many seconds, on the ledger's thread.
        end: Ends a worker that is of no use any more.
    """

    def __init__(
        self,
        revocations: Revocations,
        lines: Lines,
        later: Callable[[float, Callable[[], None]], None],
        end: Callable[[Connection], None],
    ) -> None:
        self._revocations: Final = revocations
        self._lines = lines
        self._later = later
        self._end = end
        self._pushed = revocations.epoch
        # What everybody has taken: who joins is told what is so by then.
        self._taken = -1
        self._held: list[tuple[int, Connection, int]] = []

    def push(self) -> None:
        """Tell everybody who is revoked, if that has changed."""
        epoch = self._revocations.epoch
        if epoch == self._pushed:
            return
        self._pushed = epoch
        said = wire.frame(Revoked(epoch, tuple(sorted(self._revocations.parties))))
        for connection in self._lines:
            connection.say(said)
        self._later(TOOK_S_MAX, lambda: self._give_up(epoch))

    def acknowledge(self, connection: Connection, number: int) -> None:
        """Acknowledge a frame, once everybody has taken what is revoked by now."""
        epoch = self._revocations.epoch
        if self._is_behind(epoch):
            self._held.append((epoch, connection, number))
        else:
            connection.acknowledge(number)

    def release(self) -> None:
        """Acknowledge what was held and is taken by now."""
        held, self._held = self._held, []
        for epoch, connection, number in held:
            if self._is_behind(epoch):
                self._held.append((epoch, connection, number))
            else:
                connection.tell(Ack(number))

    def _is_behind(self, epoch: int) -> bool:
        if epoch > self._taken:
            if any(one.took_epoch < epoch for one in self._lines):
                return True
            self._taken = epoch
        return False

    def _give_up(self, epoch: int) -> None:
        """Let go of workers that did not take a revocation: without records they permit nothing."""
        for connection in self._lines:
            if connection.took_epoch < epoch:
                self._end(connection)
