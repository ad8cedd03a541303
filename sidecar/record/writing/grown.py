"""What is known of the log, as it grows: by what is durable, and before anybody reads it.

Whoever waits for a record waits for the disk. The tree, and what most records say to the folds, is
nobody's business before the next batch or checkpoint: so records are taken here, and looked at when
what is known is asked for, or at the end of the turn, once those who wait were told.
"""

from sidecar.record import recovery
from sidecar.record.keeping.feed import Feeder
from sidecar.record.keeping.told import News
from sidecar.record.recovery import Known
from sidecar.record.writing.window import Synced


class Grown:
    """What is known of the log, with all that is durable."""

    def __init__(self, known: Known, feeder: Feeder) -> None:
        self._known = known
        self._feeder = feeder
        self._taken: list[Synced] = []
        self._news: list[News] = []
        self.size = known.tree.size

    @property
    def known(self) -> Known:
        """Return what is known now."""
        if self._taken:
            self._look()
        return self._known

    def take(self, synced: Synced) -> None:
        """Take records that are durable, behind those of before."""
        self._taken.append(synced)
        self.size += len(synced.records)

    def news(self) -> list[News]:
        """Return what there is to tell of the records: of each, once."""
        if self._taken:
            self._look()
        found, self._news = self._news, []
        return found

    def _look(self) -> None:
        taken, self._taken = self._taken, []
        for records, heads, leaves in taken:
            first_seq = self._known.tree.size
            self._known.tree.extend(leaves)
            self._known.leaves.extend(b"".join(leaves))
            unread = self._feeder.feed(records, heads)
            self._news += recovery.unread_news([first_seq + nth for nth in unread])
