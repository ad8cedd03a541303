"""At a worker: which stencils have gone over, and the records of one frame as they go."""

import msgspec

from sidecar.record.limits import STENCILS_MAX
from sidecar.record.recorder.wire import Made, Outline, frame
from sidecar.terms.record import MadeRecord, Stencil


class Run(msgspec.Struct, gc=False):
    """Records of one stencil that were written one behind the other.

    Args:
        at: Before which of the frame's items they stand.
        stencil: Theirs.
        records: They.
    """

    at: int
    stencil: Stencil
    records: list[MadeRecord]


class Numbers:
    """The numbers that stencils have on one connection."""

    def __init__(self) -> None:
        self._numbers: dict[Stencil, int] = {}
        self._framed: dict[Stencil, bytes] = {}

    def __len__(self) -> int:
        """Return how many are given."""
        return len(self._numbers)

    def forget(self) -> None:
        """Forget all of them: each is given anew."""
        self._numbers.clear()
        self._framed.clear()

    def made(self, runs: list[Run]) -> tuple[list[Outline], list[Made]]:
        """Return records as they go over, and before them the stencils that have not gone yet.

        They are those of one frame, which has fewer than there are numbers.
        """
        outlines: list[Outline] = []
        return outlines, [self._made(run, outlines) for run in runs]

    def _made(self, run: Run, outlines: list[Outline]) -> Made:
        number = self._number(run.stencil, outlines)
        if len(run.records) == 1:
            # Who asks alone waits for it.
            (one,) = run.records
            return Made(run.at, number, one.id.encode(), one.time.encode(), one.digest, one.text)
        return Made(
            run.at,
            number,
            "".join([one.id for one in run.records]).encode(),
            "".join([one.time for one in run.records]).encode(),
            b"".join([one.digest for one in run.records]),
            b"".join([one.text for one in run.records]),
        )

    def _number(self, stencil: Stencil, outlines: list[Outline]) -> int:
        """Return the number of a stencil; one that is new goes to `outlines`."""
        found = self._numbers.pop(stencil, None)
        if found is not None:
            # INVARIANT: the last to be asked for is the last to go, so none of this frame does.
            self._numbers[stencil] = found
            return found
        number = len(self._numbers)
        if number >= STENCILS_MAX:
            oldest = next(iter(self._numbers))
            self._framed.pop(oldest, None)
            number = self._numbers.pop(oldest)
        self._numbers[stencil] = number
        outlines.append(_outline(number, stencil))
        return number

    def framed_all(self, runs: list[Run]) -> list[bytes]:
        """Return what was said of the stencils of these, to be said again elsewhere."""
        return [self._framed_one(run.stencil) for run in runs]

    def _framed_one(self, stencil: Stencil) -> bytes:
        found = self._framed.get(stencil)
        if found is None:
            found = self._framed[stencil] = bytes(frame(_outline(self._numbers[stencil], stencil)))
        return found


def _outline(number: int, stencil: Stencil) -> Outline:
    head, tail, opens = stencil.head, stencil.tail, stencil.listener_forwarded
    return Outline(number, head, tail, opens, stencil.hole)
