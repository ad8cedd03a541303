"""A run of tests as JSON, whole: every cell, what the second evaluator said, coverage, mutants."""

import msgspec

from sidecar.review.coverage import report as coverage
from sidecar.review.coverage.report import Report
from sidecar.review.mutation.run import Mutation
from sidecar.review.second import as_json
from sidecar.review.testing.run import Outcome
from sidecar.terms.call import Json


def whole(outcome: Outcome, report: Report | None, mutation: Mutation | None) -> dict[str, Json]:
    """Return everything that a run came to; coverage and mutation where they were asked for."""
    found: dict[str, Json] = {
        "summary": {"ran": outcome.ran, "failed": outcome.failed, "skipped": outcome.skipped},
        "cells": [{**msgspec.to_builtins(cell), "passed": cell.passed} for cell in outcome.cells],
        "second_opinion": as_json(outcome.opinion),
    }
    if report is not None:
        found["coverage"] = coverage.as_json(report)
    if mutation is not None:
        found["mutation"] = {
            "killed": mutation.killed,
            "survived": len(mutation.survivors),
            "percent": int(mutation.percent * 10) / 10,
            "equal": msgspec.to_builtins(mutation.equal),
            "left_over": msgspec.to_builtins(mutation.left_over),
            "survivors": msgspec.to_builtins(mutation.survivors),
        }
    return found
