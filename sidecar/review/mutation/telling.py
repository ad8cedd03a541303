"""What became of mutants, as lines: each survivor with its place and what it changed."""

from collections.abc import Iterator

from sidecar.review.mutation.run import Mutation


def lines(mutation: Mutation) -> Iterator[str]:
    """Yield the numbers, then each survivor as a person would see it in a diff."""
    count = mutation.killed + len(mutation.survivors)
    yield (
        f"mutants {mutation.percent:.1f} %: {mutation.killed} of {count} noticed, "
        f"{len(mutation.survivors)} survived"
        + (f", {len(mutation.equal)} are no mistakes" if mutation.equal else "")
    )
    for one in mutation.survivors:
        cells = "1 cell" if one.reached == 1 else f"{one.reached or 'no'} cells"
        yield f"  {one.where}: {one.rule}: {one.what}; {cells} reached it"
        yield f"    - {one.before}"
        yield f"    + {one.after}"
    yield from (f"  {one.where}: {one.text}" for one in mutation.left_over)
