"""Hand durable records to the folds that look at them, and to no others.

Almost every record says nothing to any fold, so a record is not read to find that out: what folds
look for stands right before its place in the log, the kind of most records for one.

A record that cannot be understood is in the log for good: it is named, and obeyed by nobody. It
ends neither the process that finds it nor any later one.
"""

from collections.abc import Sequence

import orjson

from sidecar.record.fold import Fold


class Feeder:
    """The folds, by the marks of the records that they look at."""

    def __init__(self, folds: Sequence[Fold]) -> None:
        self.folds = tuple(folds)
        self._asked = [(mark, fold) for fold in folds for mark in fold.marks]
        self._marks = tuple(mark for mark, _ in self._asked)

    def feed(self, records: Sequence[bytes], heads: Sequence[int]) -> list[int]:
        """Feed `records`, in each of which the place begins where `heads` says.

        Returns:
            Which of them could not be understood.
        """
        marks = self._marks
        unread: list[int] = []
        for nth, (record, head) in enumerate(zip(records, heads, strict=True)):
            if record.endswith(marks, 0, head):
                try:
                    self._apply(record, head)
                except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
                    unread.append(nth)
        return unread

    def _apply(self, record: bytes, head: int) -> None:
        read = orjson.loads(record)
        for fold in dict.fromkeys(
            fold for mark, fold in self._asked if record.endswith(mark, 0, head)
        ):
            fold.apply(read)
