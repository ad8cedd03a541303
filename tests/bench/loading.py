"""What a bundle costs to load: from bytes to a Bundle that has decided once.

CPU time of a process of its own, and what its memory has grown by; the code of conditions is made
when they are first asked for, so that of all but a few rules is no part of it.
"""

import gc
import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from sidecar import flow
from sidecar.decide import decide, standing_facts
from sidecar.domains import by_protocol
from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.runtime.dryrun import dry_call
from sidecar.terms.decision import Decision, Fact, FactKey
from sidecar.terms.request import Request
from tests.bench.report import table
from tests.bench.rules import SQL_CALL
from tests.e2e.harness import BUNDLE

RULES: Final = 10_000
GOAL_S: Final = 2.0
GOAL_MIB: Final = 40.0
_MIB: Final = 2**20
_HEAD: Final = """\
apiVersion: sidecar/v1
kind: Policy
metadata: {{name: load-{0}}}
spec:
  rules:
"""
# What people write: a resource or two, two or three clauses, a sentence for the one refused.
_RULE: Final = """\
    - id: rule-{0}
      effect: deny
      match:
        resources: ["table:finance_{0}.*"]
      when: {1}
      message: This is for the team of area {0} alone.
"""
_CONDITIONS: Final = (
    "\"!('team-{0}' in subject.properties.groups) && resource.type == 'table'\"",
    "\"action.name == 'select' && actor.type == 'agent' && !('ok-{0}' in resource.labels)\"",
    "\"subject.id != 'user-{0}' && context.hour >= 18 && delegated\"",
    "\"resource.labels.exists(l, l == 'pii-{0}') && subject.properties.clearance < 3\"",
)


_CALL: Final = json.dumps({"protocol": "sql", "call": SQL_CALL["call"]}).encode()


def bundle_files(rules: int, files: int) -> dict[str, bytes]:
    """Return a bundle of `rules` typical rules in so many policy files."""
    each = rules // files
    made = {}
    for file in range(files):
        numbers = range(file * each, (file + 1) * each)
        body = "".join(
            _RULE.format(number, _CONDITIONS[number % len(_CONDITIONS)].format(number))
            for number in numbers
        )
        made[f"policies/load-{file}.yaml"] = _HEAD.format(file) + body
    return {path: text.encode() for path, text in {**BUNDLE, **made}.items()}


def measure() -> None:
    """Print CPU time and memory of a bundle in one file, and of the same in a hundred."""
    rows = [
        (f"{RULES:,} rules, {files} file{'s'[: files > 1]}", *_told(files)) for files in (1, 100)
    ]
    heads = ("", "CPU s", "goal", "RSS MiB", "traced MiB", "goal")
    table("load a bundle, from bytes to its first decision", heads, rows)


def _told(files: int) -> tuple[str, ...]:
    seconds = min(float(_alone("cpu", files)) for _ in range(3))
    grown, traced = float(_alone("rss", files)), float(_alone("traced", files))
    return (
        *(f"{seconds:.2f}", f"{GOAL_S:.0f}"),
        *(f"{grown / _MIB:.1f}", f"{traced / _MIB:.1f}", f"{GOAL_MIB:.0f}"),
    )


def _alone(what: str, files: int) -> str:
    """Return a figure taken in a process that has done nothing else."""
    asked = [sys.executable, "-m", "tests.bench.loading", what, f"{files}"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout


def _load(files: Mapping[str, bytes]) -> Bundle:
    """Return the bundle, which has decided once: what waits for a first call is loading too."""
    bundle = compile_bundle(files, by_protocol())
    request = flow.understand(dry_call(_CALL), bundle)
    assert isinstance(decide(request, bundle, _facts(request)), Decision)
    return bundle


def _facts(request: Request) -> dict[FactKey, Fact]:
    return dict.fromkeys(standing_facts(request), Fact(False, "bench", "1"))


def _cpu(files: Mapping[str, bytes]) -> float:
    began = time.process_time()
    _load(files)
    return time.process_time() - began


def _rss(files: Mapping[str, bytes]) -> float:
    """Return by how much the process is larger once loading is over."""
    gc.collect()
    before = _resident()
    bundle = _load(files)
    gc.collect()
    assert bundle.rules
    return _resident() - before


def _traced(files: Mapping[str, bytes]) -> float:
    tracemalloc.start()
    bundle = _load(files)
    gc.collect()
    assert bundle.rules
    return tracemalloc.get_traced_memory()[0]


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


_FIGURES: Final[dict[str, Callable[[Mapping[str, bytes]], float]]] = {
    "cpu": _cpu,
    "rss": _rss,
    "traced": _traced,
}


def _main(what: str, files: str) -> None:
    # A first, small bundle: importing and what is made once for all bundles is not loading.
    _load(bundle_files(10, 1))
    sys.stdout.write(f"{_FIGURES[what](bundle_files(RULES, int(files)))}")


if __name__ == "__main__":
    _main(*sys.argv[1:])
