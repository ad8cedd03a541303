"""Sockets of workers, read and written by the thread that writes the log.

No loop and no second thread stands between what a worker sends and the disk: the thread that waits
for workers is the one that waits for the disk, so a batch costs no wake-up and no handing over.
Whoever else has something to say to a worker may: what is said goes out whole, one after the other.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from sidecar.record.limits import RECEIVED_BYTES, SPOOL_SIZE_S, UNTAKEN_BYTES_MAX
from sidecar.record.recorder import wire
from sidecar.record.recorder.ahead.kept import Kept
from sidecar.record.recorder.ahead.spool import hand_over
from sidecar.record.recorder.people import SUPERVISOR
from sidecar.record.recorder.sent import Turn
from sidecar.record.recorder.shape import ANY, WORKERS
from sidecar.record.recorder.stencils.outlines import Outlines

# Lets whoever else is ready run first; where there is no such call nobody is let.
give_way: Final[Callable[[], None]] = getattr(os, "sched_yield", lambda: None)
_READ: Final = select.POLLIN
_WRITE: Final = select.POLLIN | select.POLLOUT


class Line:
    """One end of a socket: what comes is cut into frames, what is said goes out when it can."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        self._socket = connected
        self._frames = wire.Frames()
        self._lock = threading.Lock()
        # What goes out with the next `flush`; for its reader alone.
        self.answers: list[bytes | bytearray] = []
        # What was said and is not taken: any thread's, under the lock.
        self.untaken = bytearray()
        self._is_cut = False
        # Whether it has put more beside than anybody may.
        self.is_outgrown = False

    @property
    def is_alive(self) -> bool:
        """Return whether anybody reads what is said, as far as is known."""
        return not self._is_cut

    @property
    def is_behind(self) -> bool:
        """Return whether something was said that the other side has not taken."""
        return bool(self.untaken)

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def read(self) -> list[bytes] | None:
        """Return the frames that are whole now, None when nobody is there any more.

        Raises:
            Garbled: It is not the language.
        """
        if self.is_outgrown and not self._is_cut:
            raise wire.Garbled("its spool is larger than any")
        try:
            data = self._socket.recv(RECEIVED_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            return None
        return self._frames.feed(data) if data else None

    def say(self, said: bytes | bytearray) -> None:
        """Send `said` behind what was said before; from any thread."""
        with self._lock:
            self.untaken += said
            is_deaf = self._is_deaf()
        if is_deaf:
            self.cut()

    def flush(self) -> None:
        """Send the answers, and what can be sent now of what was not; for its reader alone."""
        answers, self.answers = self.answers, []
        with self._lock:
            self.untaken += answers[0] if len(answers) == 1 else b"".join(answers)
            is_deaf = self._is_deaf()
        if is_deaf:
            self.cut()

    def _is_deaf(self) -> bool:
        """Send what can be sent; return whether too much was left untaken."""
        untaken = self.untaken
        if not untaken or self._is_cut:
            return False
        try:
            taken = self._socket.send(untaken)
        except BlockingIOError:
            taken = 0
        except OSError:
            taken = len(untaken)
        del untaken[:taken]
        return len(untaken) > UNTAKEN_BYTES_MAX

    def cut(self) -> None:
        """End it at once, from any thread; its reader then finds nobody there."""
        self._is_cut = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the socket; for its reader alone."""
        with self._lock:
            self._is_cut = True
            self._socket.close()


class Connection(Line):
    """One life of one worker."""

    def __init__(self, name: str, connected: socket.socket) -> None:
        super().__init__(connected)
        self.name = name
        self.says = ANY if name == SUPERVISOR else WORKERS
        self.kept = Kept(None, None)
        self.has_greeted = False
        self.took_epoch = 0
        self.outlines = Outlines()
        self.open: dict[str, None] = {}
        # Of what it has sent and is not written yet: whose callers it has refused meanwhile.
        self.refused: set[str] = set()

    def hand_over(self, kept: Kept) -> None:
        """Send its spool, before all else is said."""
        self.kept = kept
        # Who cannot be sent it is found gone.
        with suppress(OSError):
            hand_over(self._socket, kept.name, kept.lent)
        # From here on it is open where the worker has it, and nowhere else.
        kept.hand_over()

    def tell(self, said: wire.FromRecorder) -> None:
        """Send one frame; from any thread."""
        self.say(wire.frame(said))

    def acknowledge(self, number: int) -> None:
        """Acknowledge a frame, with all others of this turn; for its reader alone."""
        # Why when: a worker that was held up would take for news what has waited for it.
        at_s = 0.0 if self.kept.fd is None else time.monotonic()
        self.answers.append(wire.frame(wire.Ack(number, None, at_s)))

    def answer(self, said: wire.FromRecorder) -> None:
        """Take one frame that goes out with all others of this turn; for its reader alone."""
        self.answers.append(wire.frame(said))


class Lines:
    """All lines of one reader, and a way to wake it."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._by_fd: dict[int, Connection] = {}
        self._waker, self._woken = socket.socketpair()
        self._woken_fd = self._woken.fileno()
        self._looked_s = 0.0
        for end in (self._waker, self._woken):
            end.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        self._poll.register(self._woken, _READ)

    def __iter__(self) -> Iterator[Connection]:
        """Yield every line; from any thread."""
        return iter(tuple(self._by_fd.values()))

    @property
    def spools(self) -> set[str]:
        """Return what those are called that belong to anybody here."""
        return {name for one in self for name in one.kept.names}

    def add(self, line: Connection) -> None:
        """Read a line from now on."""
        self._by_fd[line.fileno()] = line
        self._poll.register(line.fileno(), _READ)

    def remove(self, line: Connection) -> None:
        """Let go of a line."""
        del self._by_fd[line.fileno()]
        self._poll.unregister(line.fileno())
        line.close()

    def is_strange(self, decisions: Sequence[str], who: Connection, turn: Turn[Connection]) -> bool:
        """Return whether one of these awaits its outcome from somebody else than `who`.

        Of one whose first outcome stands (a lease has many) nobody knows any more whose it was.
        """
        others = [id for id in decisions if id not in who.open]
        if not others:
            return False
        beside = turn.opened_beside(who)
        owed = [one.open for one in self._by_fd.values() if one is not who]
        return any(id in beside or any(id in ids for ids in owed) for id in others)

    def wake(self) -> None:
        """Let `wait` return; from any thread."""
        # What cannot be sent, since nobody reads it, has been sent often enough.
        with suppress(OSError):
            self._waker.send(b".")

    def flush(self) -> None:
        """Send what was answered."""
        for line in self._by_fd.values():
            if line.answers:
                line.flush()

    def wait(self, seconds: float) -> list[Connection]:
        """Return the lines from which something can be read, after so long at most."""
        for line in self._by_fd.values():
            if line.untaken:
                self._poll.modify(line.fileno(), _WRITE)
        found: list[Connection] = []
        for fd, event in self._poll.poll(seconds * 1000):
            if event == _READ and fd != self._woken_fd:
                found.append(self._by_fd[fd])
            else:
                self._look(fd, event, found)
        if (now_s := time.monotonic()) - self._looked_s > SPOOL_SIZE_S:
            self._looked_s = now_s
            self._look_at_spools(found)
        return found

    def _look_at_spools(self, found: list[Connection]) -> None:
        """Have those read, and so ended, who fill the disk by the one file that they can write."""
        for line in self._by_fd.values():
            if line.is_alive and line.kept.is_outgrown:
                line.is_outgrown = True
                found += [line] if line not in found else []

    def _look(self, fd: int, event: int, found: list[Connection]) -> None:
        """Take what is seldom: a wake-up, room for what was not taken, an end."""
        if fd == self._woken_fd:
            with suppress(BlockingIOError):
                self._woken.recv(RECEIVED_BYTES)
            return
        line = self._by_fd[fd]
        if event & select.POLLOUT:
            line.flush()
            if not line.is_behind:
                self._poll.modify(fd, _READ)
        if event & ~select.POLLOUT:
            found.append(line)

    def close(self) -> None:
        """Let go of all."""
        for line in self:
            self.remove(line)
        self._waker.close()
        self._woken.close()
