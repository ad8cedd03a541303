"""Say how far a long job is, on a terminal and after the first second alone."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import click

from sidecar.record.proof.checkpoint import Verifier
from sidecar.record.proof.merkle import Tree
from sidecar.record.segments.walk import Batch

_EVERY_S: Final = 0.2
_SILENT_S: Final = 1.0


class Progress:
    """Counts records; may watch a verification (`verify.Watch`)."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._is_shown = sys.stderr.isatty()
        self._begin_s = self._next_s = time.monotonic()
        self._next_s += _SILENT_S
        self._has_said = False

    def at(self, count: int) -> None:
        """Take in that `count` records are done."""
        if not self._is_shown or (now_s := time.monotonic()) < self._next_s:
            return
        self._next_s, self._has_said = now_s + _EVERY_S, True
        rate = round(count / (now_s - self._begin_s))
        click.echo(f"\r{self._what} {count:,} records, {rate:,}/s ", err=True, nl=False)

    def clear(self) -> None:
        """Leave an empty line."""
        if self._has_said:
            click.echo("\r\x1b[K", err=True, nl=False)

    def take(self, batch: Batch, leaves: Sequence[bytes], tree: Tree, signed: int) -> None:
        """Take in a batch."""
        self.at(tree.size)

    def end(self, size: int, keys: Sequence[Verifier]) -> None:
        """All have been seen."""


@contextmanager
def counted(what: str) -> Iterator[Progress]:
    """Show the progress of a job, and nothing once it is over."""
    progress = Progress(what)
    try:
        yield progress
    finally:
        progress.clear()
