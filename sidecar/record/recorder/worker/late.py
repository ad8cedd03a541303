"""What is not acknowledged in time: refused, or owed, and then sent again and again."""

import asyncio
import time
from collections.abc import Callable, Mapping

from sidecar.record.limits import HEARD_S, OWED_EVERY_S
from sidecar.record.recorder.worker.link import Frame


class Late:
    """Records that somebody counts on, and frames that the recorder has refused.

    Args:
        send: Sends the frames of these numbers, in this order, once more.
    """

    def __init__(self, send: Callable[[list[int]], None]) -> None:
        self._send = send
        self._ids: dict[str, None] = {}
        self._refused: dict[int, None] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._is_stopped = False

    def __bool__(self) -> bool:
        """Return whether anything is late."""
        return bool(self._ids)

    def __contains__(self, id: str) -> bool:
        """Return whether this record is."""
        return id in self._ids

    def keep(self, sent: Frame) -> bool:
        """Take note that a frame is late; return whether that is new."""
        if sent.is_late:
            return False
        sent.is_late = True
        self._ids.update((record.id, None) for record in sent.records)
        return True

    def came(self, sent: Frame) -> None:
        """Take note that a frame is written."""
        for record in sent.records if sent.is_late else ():
            self._ids.pop(record.id, None)

    def send_again(self, number: int) -> None:
        """Send a frame once more that the recorder has refused; one that it is silent on it has."""
        self._refused[number] = None
        if self._retry is None and not self._is_stopped:
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(OWED_EVERY_S, self._send_all)

    def begin_anew(self) -> None:
        """Forget what was refused: another recorder is sent everything."""
        self._refused = {}

    def stop(self) -> None:
        """Send nothing any more."""
        self._is_stopped = True
        if self._retry is not None:
            self._retry.cancel()

    def _send_all(self) -> None:
        self._retry = None
        refused, self._refused = self._refused, {}
        self._send(sorted(refused))


class Watch:
    """One timer for all frames that are not acknowledged.

    Args:
        unacked: They, the oldest first.
        overdue: Is handed each that has waited for too long.
    """

    def __init__(self, unacked: Mapping[int, Frame], overdue: Callable[[Frame], None]) -> None:
        self._unacked = unacked
        self._overdue = overdue
        self._timeout_s = 0.0
        self._alarm: asyncio.TimerHandle | None = None

    def begin(self, timeout_s: float) -> None:
        """Watch, if nobody does, for what waits longer than so many seconds."""
        self._timeout_s = timeout_s
        if self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_later(timeout_s, self._due)

    def stop(self) -> None:
        """Watch no more."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _due(self) -> None:
        """Hear first what came while this loop was held up: that is no lateness of the recorder."""
        self._alarm = asyncio.get_running_loop().call_later(HEARD_S, self._expire)

    def _expire(self) -> None:
        self._alarm = None
        due_s = time.monotonic() - self._timeout_s
        for sent in tuple(self._unacked.values()):
            if sent.began_s > due_s:
                loop = asyncio.get_running_loop()
                self._alarm = loop.call_later(sent.began_s - due_s, self._due)
                return
            if not sent.is_late:
                self._overdue(sent)
