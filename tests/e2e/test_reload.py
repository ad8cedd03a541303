"""A reload under load: no call fails, and none is stamped with a bundle that did not judge it."""

import asyncio
import os
import re
import signal
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from sidecar.domains import by_protocol
from sidecar.policy.bundle import compile_bundle
from tests.e2e.harness import BUNDLE, READ, Client, Sidecar, Site, eventually

CONNECTIONS = 6
# (small, full) reloads by each way of telling.
RELOADS = (4, 40)
# Files are looked at each second, and must have stood still for a look.
NOTICED_S_MAX = 15
FILE = "policies/trial.yaml"
POLICIES = {
    "a": """\
apiVersion: sidecar/v1
kind: Policy
metadata: {name: trial-a}
spec:
  rules:
    - {id: a, effect: allow}
""",
    "b": """\
apiVersion: sidecar/v1
kind: Policy
metadata: {name: trial-b}
spec:
  rules:
    - {id: b, effect: deny, message: b says no}
""",
}
BROKEN = {
    "not YAML": "spec: {rules: [",
    "an unknown word": POLICIES["a"].replace("effect", "affect"),
    "an expression that does not compile": POLICIES["a"].replace("allow}", 'allow, when: "no ("}'),
    "nothing at all": "",
}


def digest(policy: str) -> str:
    files = {**BUNDLE, FILE: policy}
    return compile_bundle({k: v.encode() for k, v in files.items()}, by_protocol()).digest


@dataclass(frozen=True)
class Said:
    """What an answer or a record says of how it came to be."""

    digest: str
    outcome: str
    rules: tuple[tuple[str, str], ...]
    message: str | None

    @classmethod
    def of(cls, decision: dict[str, Any]) -> "Said":
        rules = tuple((rule["policy"], rule["id"]) for rule in decision["rules"])
        stamp = decision["policy"]["digest"]
        return cls(stamp, decision["outcome"], rules, decision.get("message"))


A = Said(digest(POLICIES["a"]), "allow", (("trial-a", "a"),), None)
B = Said(digest(POLICIES["b"]), "deny", (("trial-b", "b"),), "b says no")


@dataclass
class Hammer:
    """Connections that ask without a pause for as long as the block lasts."""

    sidecar: Sidecar
    said: Counter[Said] = field(default_factory=Counter)

    async def __aenter__(self) -> Self:
        clients = [await self.sidecar.client(nth=nth % 2) for nth in range(CONNECTIONS)]
        self._stop = asyncio.Event()
        self._asking = [asyncio.create_task(self._ask(client)) for client in clients]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        # A connection that was closed, or an answer that is not 200, fails the test here.
        await asyncio.gather(*self._asking)

    async def _ask(self, client: Client) -> None:
        while not self._stop.is_set():
            reply = await client.decide(READ)
            assert reply.status == 200, reply
            self.said[Said.of(reply.json)] += 1


async def in_force(client: Client, expected: Said) -> None:
    """Return when the bundle that says so decides."""

    async def decides() -> bool:
        return Said.of((await client.decide(READ)).json) == expected

    await eventually(decides, NOTICED_S_MAX)


async def refusals(client: Client) -> int:
    """Return how many reloads were refused."""
    text = (await client.ask("GET", "/metrics")).body.decode()
    found = re.search(r'reloads_total\{result="refused"\} (\d+)', text)
    assert found is not None
    return int(found[1])


async def refused_again(client: Client, before: int) -> None:
    """Return when one more reload was refused."""

    async def is_refused() -> bool:
        return await refusals(client) > before

    await eventually(is_refused, NOTICED_S_MAX)


def tell(sidecar: Sidecar, by: str) -> None:
    if by == "SIGHUP":
        os.kill(sidecar.supervisor, signal.SIGHUP)


def stamped(site: Site) -> set[Said]:
    """Return what the decision records say."""
    return {Said.of(one) for one in site.records() if one["kind"] == "decision"}


@pytest.mark.e2e
@pytest.mark.timeout(300)
@pytest.mark.parametrize("by", ["SIGHUP", "a change of the file"])
async def test_every_decision_is_stamped_with_the_bundle_that_judged_it(site, scaled, by):
    site.put(FILE, POLICIES["b"])
    async with site.running() as sidecar:
        looking = await sidecar.client()
        async with Hammer(sidecar) as hammer:
            for turn in range(scaled(*RELOADS)):
                name, expected = (("a", A), ("b", B))[turn % 2]
                site.put(FILE, POLICIES[name])
                tell(sidecar, by)
                await in_force(looking, expected)
        assert await sidecar.stop() == 0

    assert set(hammer.said) == {A, B}
    assert stamped(site) == {A, B}
    await site.verified()


@pytest.mark.e2e
@pytest.mark.timeout(120)
@pytest.mark.parametrize("by", ["SIGHUP", "a change of the file"])
async def test_a_bundle_that_does_not_load_leaves_the_last_good_one(site, by):
    site.put(FILE, POLICIES["a"])
    async with site.running() as sidecar:
        looking = await sidecar.client()
        async with Hammer(sidecar) as hammer:
            for text in BROKEN.values():
                before = await refusals(looking)
                site.put(FILE, text)
                tell(sidecar, by)
                await refused_again(looking, before)
            assert set(hammer.said) == {A}
            site.put(FILE, POLICIES["b"])
            tell(sidecar, by)
            await in_force(looking, B)

    assert set(hammer.said) == {A, B}
    refused = [one for one in site.records() if one.get("event") == "bundle_refused"]
    assert len(refused) >= len(BROKEN)
    assert all(one["detail"]["problems"] >= 1 and one["detail"]["first"] for one in refused)
