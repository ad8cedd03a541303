"""What it costs to lint and to compare bundles that are as large as bundles get."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from sidecar.domains import by_protocol
from sidecar.policy.bundle import compile_bundle
from sidecar.review.diff import compare
from sidecar.review.linting import Looked, inspect
from sidecar.review.second import differing, rehearse
from tests.bench.loading import bundle_files
from tests.bench.report import table

RULES: Final = 10_000
GOAL_S: Final = 20.0
T = TypeVar("T")


def measure() -> None:
    """Print the CPU seconds of lint, and of a difference by one rule, for 10,000 rules."""
    files = bundle_files(RULES, 10)
    bundle = compile_bundle(files, by_protocol())
    name, text = next(item for item in sorted(files.items()) if b"user-" in item[1])
    changed = compile_bundle(
        {**files, name: text.replace(b"'user-", b"'person-", 1)}, by_protocol()
    )
    looked, looked_s = _timed(lambda: Looked(bundle))
    found, found_s = _timed(lambda: inspect(looked))
    heard, heard_s = _timed(lambda: list(differing(rehearse(bundle))))
    differs, differs_s = _timed(lambda: compare(bundle, changed))
    lint_s = looked_s + found_s + heard_s
    table(
        f"{RULES:,} rules (CPU s; lint: goal {GOAL_S:.0f})",
        ("", "CPU s", "came to"),
        [
            ("lint, every check", f"{looked_s + found_s:.1f}", f"{len(found)} findings"),
            ("lint, second evaluator", f"{heard_s:.1f}", f"{len(heard)} disagree"),
            ("lint", f"{lint_s:.1f}", "kept" if lint_s <= GOAL_S else "MISSED"),
            ("bundle diff, one rule", f"{differs_s:.1f}", f"{differs.asked} asked"),
        ],
    )


def _timed(run: Callable[[], T]) -> tuple[T, float]:
    begun = time.process_time()
    done = run()
    return done, time.process_time() - begun
