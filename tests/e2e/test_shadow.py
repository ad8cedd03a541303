"""`sidecar run` with a candidate: differences are on the record, and nobody is refused by it."""

import os
import re
import signal

import pytest

from sidecar.runtime import names
from tests.e2e.harness import READ, Site, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

CANDIDATE = """\
apiVersion: sidecar/v1
kind: Policy
metadata: {name: trial}
spec:
  rules:
    - {id: open, effect: allow}
    - {id: nothing-is-read, effect: deny, match: {classes: [read]}, message: closed}
"""


def told(site: Site, event: str) -> list[dict]:
    return [one["detail"] for one in site.records() if one.get("event") == event]


async def test_a_candidate_is_asked_recorded_and_never_obeyed(site: Site) -> None:
    candidate = site.folder / "candidate"
    candidate.mkdir()
    (candidate / "bundle.yaml").write_text('name: trial\nversion: "2.0.0"\n')
    policy = candidate / "trial.yaml"
    policy.write_text("kind: Nothing\n")
    async with site.running("--shadow", str(candidate)) as sidecar:
        client = await sidecar.client()

        # One that does not load is on the record, and everything is served.
        assert (await client.decide(READ)).json["permitted"] is True
        assert len(told(site, "shadow_refused")) == 1

        policy.write_text(CANDIDATE)
        os.kill(sidecar.supervisor, signal.SIGHUP)
        await until(lambda: bool(told(site, "shadow_activated")), 20)
        decided = []

        async def differs() -> bool:
            decided.append((await client.decide(READ)).json)
            return bool(told(site, "shadow_difference"))

        for _ in range(200):
            if await differs():
                break
        metrics = (await client.ask("GET", "/metrics")).body.decode()
        assert all(one["permitted"] for one in decided)
        await sidecar.stop()
    found = told(site, "shadow_difference")
    assert {one["change"] for one in found} == {"allow-to-deny"}
    assert {tuple(one["rules"]) for one in found} == {("trial/nothing-is-read",)}
    assert {one["decision"] for one in found} <= {one["id"] for one in decided}
    assert len({one["decision"] for one in found}) == len(found)
    name = re.escape(names.SHADOW_DIFFERENCES)
    assert re.search(rf'^{name}_total{{change="allow-to-deny"}} [1-9]', metrics, re.MULTILINE)
    assert await site.verified()
