"""Measure the sidecar beside what it stands in front of: `python -m tests.bench [--quick]`.

Absolute figures are the machine's; only ratios within one run say something of the sidecar. It
takes some minutes, with --quick fewer and shorter rounds, and nothing is left behind.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench import (
    ask,
    engine,
    inprocess,
    ledger,
    linting,
    loading,
    postgres,
    recorder,
    replay,
    review,
)
from tests.bench.report import machine
from tests.e2e.harness import ROOT

PARTS = (
    "engine",
    "ask",
    "postgres",
    "inprocess",
    "loading",
    "ledger",
    "recorder",
    "replay",
    "review",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all")
    asked = parser.parse_args()
    wanted = asked.parts or PARTS
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    quick: bool = asked.quick
    measures: dict[str, Callable[[Path], None]] = {
        "engine": lambda _: engine.measure(5 if quick else 15),
        "ask": lambda folder: ask.measure(folder, 2 if quick else 3, quick=quick),
        "postgres": lambda folder: postgres.measure(folder, 8 if quick else 24),
        "inprocess": lambda _: inprocess.measure(1.5 if quick else 6),
        "loading": lambda _: loading.measure(),
        "lint": lambda _: linting.measure(),
        "ledger": lambda folder: ledger.measure(folder, 2 if quick else 6),
        "replay": lambda folder: replay.measure(folder, 4_000 if quick else 40_000),
        "recorder": lambda folder: recorder.measure(folder, 1.5 if quick else 5),
        "review": lambda _: review.measure(2_500 if quick else 10_000),
    }
    # In the tree, not where temporary files are: that may be memory, where a sync costs nothing.
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=ROOT) as name:
        machine(Path(name))
        for part in wanted:
            folder = Path(name) / part
            folder.mkdir(mode=0o700)
            measures[part](folder)


if __name__ == "__main__":
    main()
