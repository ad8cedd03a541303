"""At a worker: which stencils have gone over, and the records of one frame as they go."""

import msgspec

from sidecar.record.limits import STENCILS_MAX
from sidecar.record.recorder.wire import Made, Outline
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

    def __len__(self) -> int:
        """Return how many are given."""
        return len(self._numbers)

    def forget(self) -> None:
        """Forget all of them: each is given anew."""
        self._numbers.clear()

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
            number = self._numbers.pop(next(iter(self._numbers)))
        self._numbers[stencil] = number
        head, tail, opens = stencil.head, stencil.tail, stencil.listener_forwarded
        outlines.append(Outline(number, head, tail, opens, stencil.hole))
        return number
