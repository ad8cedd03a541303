"""How fast tests of policies run: a large matrix with the second evaluator and coverage, mutants.

The matrix is of a shape that people write: as many requests of four protocols as principals of
several departments, and rules that look at both sides. CPU is that of all processes together.
"""

import json
import os
import time
from collections.abc import Callable
from typing import Any

from sidecar.domains import by_protocol
from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.review import crowd
from sidecar.review.mutation.mutants import mutants_of
from sidecar.review.testing.run import run_suites
from tests.bench.report import say, table

POLICY = """\
apiVersion: sidecar/v1
kind: Policy
metadata: {name: desk}
spec:
  variables:
    staff: "subject.properties.department in ['sales', 'finance', 'support']"
    lead: "subject.properties.department == 'finance' && subject.properties.level >= 5"
    reads: "subject.properties.level >= 3 || 'reader' in subject.properties.groups"
  rules:
    - id: people-read
      effect: allow
      match: {classes: [read, list, connect]}
      when: subject.type == 'user' && variables.staff
    - id: agents-read
      effect: allow
      match: {classes: [read]}
      when: actor.type == 'agent' && variables.reads
    - id: leads-write
      effect: allow
      match: {classes: [write, execute]}
      when: subject.properties.level > 4 && !delegated
    - {id: nobody-deletes, effect: deny, match: {classes: [delete]}, message: nothing is deleted}
    - id: salaries-are-closed
      effect: deny
      match: {resources: ["table:hr.*", "column:hr.*"]}
      when: "!variables.lead"
      message: closed
    - id: small-answers
      effect: modify
      match: {protocols: [sql], classes: [read]}
      when: delegated
      obligations: [{type: limit_rows, max: 100}]
    - id: by-day
      effect: deny
      when: context.time < '2026-01-01T06:00:00Z'
      message: at night nothing is done
"""
DEPARTMENTS = ("sales", "finance", "support", "legal")


def passing(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return a bundle whose suite expects what comes, as one that people keep does."""
    found = run_suites(compile_bundle(files, by_protocol()))
    outcomes: dict[tuple[str, str], list[str]] = {}
    for cell in found.cells:
        if cell.outcome != "deny":
            outcomes.setdefault((cell.principal, cell.outcome), []).append(cell.request)
    suite = json.loads(files["desk_test.yaml"])
    suite["spec"]["tests"][0]["expected"] = [
        {"principal": principal, "outcome": outcome, "requests": requests}
        for (principal, outcome), requests in outcomes.items()
    ]
    return {**files, "desk_test.yaml": json.dumps(suite).encode()}


def files_of(cells: int) -> dict[str, bytes]:
    """Return a bundle whose suite is a matrix of about so many cells, and expects denials."""
    side = round(cells**0.5)
    principals = {f"p{number}": _principal(number) for number in range(side)}
    requests = {f"r{number}": _request(number) for number in range(side)}
    sent = {"principals": list(principals), "requests": list(requests)}
    spec = {
        "options": {"now": "2026-01-01T12:00:00Z"},
        "principals": principals,
        "requests": requests,
        "tests": [{"name": "matrix", "input": sent}],
    }
    suite = {"apiVersion": "sidecar/v1", "kind": "Test", "metadata": {"name": "m"}, "spec": spec}
    return {
        "bundle.yaml": b'name: bench\nversion: "1.0.0"\n',
        "desk.yaml": POLICY.encode(),
        "desk_test.yaml": json.dumps(suite).encode(),
    }


def _principal(number: int) -> dict[str, Any]:
    groups = ["reader"] if number % 3 else []
    properties = {
        "department": DEPARTMENTS[number % 4],
        "level": number % 7,
        "groups": groups,
    }
    actors = [{"type": "agent", "id": f"bot-{number}"}] if number % 2 else []
    return {
        "subject": {"type": "user", "id": f"u{number}", "properties": properties},
        "actors": actors,
    }


def _request(number: int) -> dict[str, Any]:
    schema = "hr" if number % 5 == 0 else "crm"
    statements = (
        f"SELECT a, b FROM {schema}.t{number} WHERE a > {number}",
        f"UPDATE {schema}.t{number} SET a = {number}",
        f"DELETE FROM {schema}.t{number} WHERE a = {number}",
    )
    if number % 2:
        catalog = {f"{schema}.t{number}": ["a", "b"]}
        text = statements[number % 3]
        return {
            "protocol": "sql",
            "call": {"dialect": "postgres", "text": text, "catalog": catalog},
        }
    methods = ("GET", "POST", "DELETE")
    url = f"http://api.test/things/{number}"
    return {"protocol": "http", "call": {"method": methods[number % 3], "url": url}}


def measure(cells: int) -> None:
    """Print how many cells and mutants are done a second, in this process and in all there are."""
    say(
        "\nTests of policies: a matrix with the second evaluator once per rule and branch, coverage"
    )
    bundle = compile_bundle(passing(files_of(cells)), by_protocol())
    large = compile_bundle(passing(files_of(2 * cells)), by_protocol())
    mutants = len(list(mutants_of(bundle)))
    many = crowd.processors()
    rows = [
        _row("cells, --jobs 1", cells, _cells(bundle, 1)),
        _row(f"cells, --jobs {many}", 2 * cells, _cells(large, many)),
    ]
    rows.append(_row("mutants, --jobs 1", mutants, _mutants(bundle)))
    table("", ("of", "how many", "wall s", "CPU s", "per CPU s"), rows)


def _cells(bundle: Bundle, jobs: int) -> Callable[[], object]:
    return lambda: crowd.run_spread(
        bundle, crowd.Chosen(), coverage=True, jobs=jobs, done=lambda _: None
    )


def _mutants(bundle: Bundle) -> Callable[[], object]:
    return lambda: crowd.mutate_spread(bundle, crowd.Chosen(), jobs=1, done=lambda _: None)


def _row(name: str, count: int, what: Callable[[], object]) -> tuple[str, ...]:
    began_s, before = time.perf_counter(), os.times()
    what()
    took_s, after = time.perf_counter() - began_s, os.times()
    cpu_s = sum(after[:4]) - sum(before[:4])
    return name, f"{count:,}", f"{took_s:.1f}", f"{cpu_s:.1f}", f"{count / cpu_s:,.0f}"
