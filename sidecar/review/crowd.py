"""The same run on several processors: each process compiles the bundle and runs its share of cells.

Shares are consecutive, and what came of them is put together in the order of cells, so that a run
says the same however many ran it. Processes are started anew, not forked: they share nothing with
one that may have threads.
"""

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final, TypeVar

import msgspec

from sidecar.domains import by_protocol
from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.review.coverage.collect import Coverage
from sidecar.review.coverage.sites import Key
from sidecar.review.mutation.equal import settled
from sidecar.review.mutation.mutants import Mutant, mutants_of
from sidecar.review.mutation.run import Mutation, Survivor, Trial
from sidecar.review.second import SecondOpinion
from sidecar.review.testing.cells import Case, Cell, cases_of, suites_of
from sidecar.review.testing.run import Outcome, run_cases

# To start a process, which imports and compiles everything anew, costs what so many cells cost.
CELLS_EACH: Final = 8_000
# A mutant costs its loading, which is that of some cells, and then a small part of all cells.
LOADING_CELLS: Final = 4
CELLS_OF_MUTANT: Final = 1 / 50
_PROCESSES_MAX: Final = 16

Done = Callable[[int], None]
Result = TypeVar("Result")


class Chosen(msgspec.Struct, frozen=True):
    """Which cells are meant; None is all of them.

    Args:
        only: Those whose `suite/test/principal/request` holds this text.
        files: Those of the suites in these files.
    """

    only: str | None = None
    files: frozenset[str] | None = None

    def cases(self, bundle: Bundle) -> list[Case]:
        """Return the cells of a bundle that are meant."""
        suites = suites_of(bundle)
        if self.files is not None:
            suites = [suite for suite in suites if suite.document.name in self.files]
        return cases_of(suites, self.only)


class Work(msgspec.Struct, frozen=True):
    """What every process needs to know: the files of the bundle, and which cells are meant."""

    files: Mapping[str, bytes]
    chosen: Chosen
    coverage: bool = False


class Share(msgspec.Struct, frozen=True):
    """What one process found of its cells."""

    cells: tuple[Cell, ...]
    opinion: SecondOpinion
    hits: Counter[Key] | None


def processors() -> int:
    """Return how many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return min(len(affinity(0)) if affinity else os.cpu_count() or 1, _PROCESSES_MAX)


def run_spread(bundle: Bundle, chosen: Chosen, *, coverage: bool, jobs: int, done: Done) -> Outcome:
    """Return what `run_suites` returns, from as many processes as are worth starting.

    Args:
        bundle: Compiled from files; its domains are those of the package.
        chosen: The cells to run.
        coverage: As `run_suites` takes it.
        jobs: How many processes at most.
        done: Is told of how many cells came more, for whoever waits.
    """
    cases = chosen.cases(bundle)
    count = min(jobs, len(cases) // CELLS_EACH)
    counted = Coverage(bundle) if coverage else None
    if count < 2:
        return run_cases(bundle, _told(cases, done), counted)
    cells: list[Cell] = []
    opinions: list[SecondOpinion] = []
    for share in _spread(_run_share, _work(bundle, chosen, coverage=coverage), len(cases), count):
        done(len(share.cells))
        cells += share.cells
        opinions.append(share.opinion)
        if counted is not None and share.hits is not None:
            counted.hits.update(share.hits)
    opinion = SecondOpinion()
    opinion.join(opinions)
    return Outcome(tuple(cells), opinion, counted)


def mutate_spread(bundle: Bundle, chosen: Chosen, *, jobs: int, done: Done) -> Mutation:
    """Return what becomes of every mutant of a bundle."""
    mutants, cases = list(mutants_of(bundle)), chosen.cases(bundle)
    cost = len(mutants) * (LOADING_CELLS + len(cases) * CELLS_OF_MUTANT)
    # Each process runs all cells once, to see which pass.
    count = min(jobs, int(cost) // (CELLS_EACH + len(cases)))
    if count < 2:
        trial = Trial(bundle, cases)
        return settled(trial.run(mutants, lambda: done(1)), bundle)
    killed = 0
    survivors: list[Survivor] = []
    for share in _spread(_run_mutants, _work(bundle, chosen), len(mutants), count):
        killed += share.killed
        survivors += share.survivors
        done(len(mutants) // count)
    return settled(Mutation(killed, tuple(survivors)), bundle)


def _told(cases: Sequence[Case], done: Done) -> Iterator[Case]:
    for case in cases:
        yield case
        done(1)


def _work(bundle: Bundle, chosen: Chosen, *, coverage: bool = False) -> Work:
    files = {**bundle.files, **bundle.test_files, **bundle.fixture_files}
    return Work(files, chosen, coverage)


def _spread(
    run: Callable[[Work, int, int], Result], work: Work, size: int, count: int
) -> Iterator[Result]:
    """Yield what each process finds of its share, in the order of shares."""
    edges = [size * number // count for number in range(count + 1)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        waiting = [
            pool.submit(run, work, edges[number], edges[number + 1]) for number in range(count)
        ]
        for one in waiting:
            yield one.result()


def _bundle(work: Work) -> Bundle:
    return compile_bundle(work.files, by_protocol())


def _run_share(work: Work, first: int, last: int) -> Share:
    bundle = _bundle(work)
    cases = work.chosen.cases(bundle)[first:last]
    found = run_cases(bundle, cases, Coverage(bundle) if work.coverage else None)
    hits = None if found.coverage is None else found.coverage.hits
    return Share(found.cells, found.opinion, hits)


def _run_mutants(work: Work, first: int, last: int) -> Mutation:
    bundle = _bundle(work)
    trial = Trial(bundle, work.chosen.cases(bundle))
    mutants: list[Mutant] = list(mutants_of(bundle))[first:last]
    return trial.run(mutants, lambda: None)
