"""What waits for the disk beside the thread that writes, one thing at a time.

What is accepted and not yet synced (`group`), and the checkpoint of each second, wait for the disk
for milliseconds, in which every worker would wait as well. So a thread of its own asks the disk,
and the thread that writes goes on; it alone takes note of what came of it, when it looks.

INVARIANT: whoever lets go of a descriptor, or writes what is being written here, waits for it to be
over first.
"""

import threading
from collections.abc import Callable
from typing import Protocol, TypeAlias

Work: TypeAlias = Callable[[], None]


class Doing(Protocol):
    """Something that was begun."""

    @property
    def is_over(self) -> bool:
        """Return whether it need not be waited for."""
        ...

    def end(self) -> None:
        """Return when it is over; raise what it raised."""
        ...


class Hand(Protocol):
    """Who does things beside, one after the other."""

    def begin(self, work: Work) -> Doing:
        """Begin `work`; what was begun before is over."""
        ...

    def leave(self) -> None:
        """Let go: nothing is under way, and nothing is begun any more."""
        ...


Hire: TypeAlias = Callable[[], Hand]


class _Job:
    """Something that a thread does."""

    def __init__(self, work: Work) -> None:
        self.is_over = False
        self._work = work
        self._failed: OSError | None = None
        self._is_well = False
        self._lasts = threading.Lock()
        self._lasts.acquire()

    def do(self) -> None:
        """Do it, in that thread."""
        try:
            self._work()
            self._is_well = True
        except OSError as error:
            self._failed = error
        finally:
            self.is_over = True
            self._lasts.release()

    def end(self) -> None:
        """Return when it is over; raise what it raised."""
        if not self.is_over:
            with self._lasts:
                pass
        if self._failed is not None:
            raise self._failed
        # A mistake of ours is told by the thread itself, and must not pass for success.
        assert self._is_well


class InThread:
    """A thread that stands ready: handing over to it costs a lock, and no thread is made for it."""

    def __init__(self) -> None:
        self._job: _Job | None = None
        self._rests = threading.Lock()
        self._rests.acquire()
        # A daemon: a disk that hangs must not keep the process from ending.
        threading.Thread(target=self._run, name="disk", daemon=True).start()

    def begin(self, work: Work) -> Doing:
        """Begin `work`; what was begun before is over."""
        self._job = job = _Job(work)
        self._rests.release()
        return job

    def leave(self) -> None:
        """Let the thread end."""
        self._job = None
        self._rests.release()

    def _run(self) -> None:
        while True:
            self._rests.acquire()
            job = self._job
            if job is None:
                return
            job.do()


class Aside:
    """The one thing that is done beside, if there is one.

    Args:
        hire: Returns who does it; None where nothing is done beside.
    """

    def __init__(self, hire: Hire | None) -> None:
        self._hand = None if hire is None else hire()
        self._doing: tuple[Doing, Work] | None = None

    @property
    def is_there(self) -> bool:
        """Return whether things can be done beside at all."""
        return self._hand is not None

    @property
    def is_free(self) -> bool:
        """Return whether something can be begun: nothing is there whose end was not noted."""
        return self._hand is not None and self._doing is None

    @property
    def is_over(self) -> bool:
        """Return whether something is there whose end can be noted."""
        return self._doing is not None and self._doing[0].is_over

    def begin(self, work: Work, then: Work) -> None:
        """Begin `work`; `then` is called, by who settles it, once it has gone well."""
        assert self._hand is not None
        assert self._doing is None
        self._doing = (self._hand.begin(work), then)

    def settle(self, *, waits: bool) -> None:
        """Take note of what is over; raise what it raised.

        Args:
            waits: Until it is over.
        """
        if self._doing is None:
            return
        doing, then = self._doing
        if waits or doing.is_over:
            self._doing = None
            doing.end()
            then()

    def forget(self) -> None:
        """Wait until it is over, and count it as if it had not been."""
        if self._doing is not None:
            doing, self._doing = self._doing[0], None
            try:
                doing.end()
            except OSError:
                # Whoever forgets it has seen the disk fail already.
                return

    def leave(self) -> None:
        """Begin nothing more; what is under way is forgotten."""
        self.forget()
        if self._hand is not None:
            self._hand.leave()
            self._hand = None
