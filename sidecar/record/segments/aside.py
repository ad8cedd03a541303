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


class Doing(Protocol):
    """Something that was begun."""

    @property
    def is_over(self) -> bool:
        """Return whether it need not be waited for."""
        ...

    def end(self) -> None:
        """Return when it is over; raise what it raised."""
        ...


Begin: TypeAlias = Callable[[Callable[[], None]], Doing]


class InThread:
    """Does `work` in a thread of its own."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._failed: OSError | None = None
        self._is_well = False
        # A daemon: a disk that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Return whether it need not be waited for."""
        return not self._thread.is_alive()

    def end(self) -> None:
        """Return when it is over; raise what it raised."""
        self._thread.join()
        if self._failed is not None:
            raise self._failed
        # A mistake of ours is told by the thread itself, and must not pass for success.
        assert self._is_well

    def _run(self) -> None:
        try:
            self._work()
            self._is_well = True
        except OSError as error:
            self._failed = error


class Aside:
    """The one thing that is done beside, if there is one.

    Args:
        begin: Begins something; None where nothing is done beside.
    """

    def __init__(self, begin: Begin | None) -> None:
        self._begin = begin
        self._doing: tuple[Doing, Callable[[], None]] | None = None

    @property
    def is_there(self) -> bool:
        """Return whether things can be done beside at all."""
        return self._begin is not None

    @property
    def is_free(self) -> bool:
        """Return whether something can be begun: nothing is there whose end was not noted."""
        return self._begin is not None and self._doing is None

    def begin(self, work: Callable[[], None], then: Callable[[], None]) -> None:
        """Begin `work`; `then` is called, by who settles it, once it has gone well."""
        assert self._begin is not None
        assert self._doing is None
        self._doing = (self._begin(work), then)

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
