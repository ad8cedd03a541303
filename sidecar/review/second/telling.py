"""A second opinion, told: as a line, as findings, and whole as JSON."""

from collections import Counter
from collections.abc import Iterator

import msgspec

from sidecar.review.finding import Finding
from sidecar.review.second.divergences import DIVERGENCES
from sidecar.review.second.opinion import SecondOpinion
from sidecar.terms.call import Json


def summary(opinion: SecondOpinion) -> str:
    """Return how many branches were compared, and what came of it."""
    known = f"{opinion.known.total()} as known, " if opinion.known else ""
    return (
        f"{opinion.compared} compared, {len(opinion.disagreements)} disagree, "
        f"{known}{len(opinion.not_comparable)} not comparable"
    )


def differing(opinion: SecondOpinion) -> Iterator[Finding]:
    """Yield a finding for each part on which the two evaluators differ."""
    for one in opinion.disagreements:
        text = f"`{one.rule}`: `{one.part}`: ours {one.ours}, cel-python {one.theirs}"
        yield Finding("second-opinion", "error", one.where, text)


def as_json(opinion: SecondOpinion) -> dict[str, Json]:
    """Return everything: known divergences with their clauses, and why branches were not heard."""
    rows = (row for row in DIVERGENCES if opinion.known[row.id])
    return {
        "compared": opinion.compared,
        "disagreements": msgspec.to_builtins(opinion.disagreements),
        "known": [
            {"id": row.id, "times": opinion.known[row.id], "says": row.says, "clause": row.clause}
            for row in rows
        ],
        "not_comparable": opinion.not_comparable,
        "not_comparable_because": dict(Counter(opinion.not_comparable.values())),
    }
