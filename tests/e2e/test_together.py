"""Many who ask the same at once: each answer is on the record once, over a recorder that dies."""

import asyncio
from contextlib import suppress

from tests.e2e.harness import DELETE, GONE, READ, Sidecar, Site, until

CLIENTS = 24
TIMES = 60
# The recorder is killed behind so many.
ANSWERS = CLIENTS * TIMES // 4


async def ask(sidecar: Sidecar, nth: int, answered: list[tuple[str, bool]]) -> None:
    """Ask the same again and again, and tell what is answered, by id."""
    envelope = DELETE if nth % 4 == 0 else READ
    client = await sidecar.client(nth=nth % 2)
    for _ in range(TIMES):
        with suppress(*GONE):
            reply = await client.decide(envelope)
            assert reply.status in {200, 503}
            if reply.status == 200:
                assert reply.json["permitted"] is (envelope is READ)
                answered.append((reply.json["id"], reply.json["permitted"]))


async def test_each_answer_of_many_that_are_equal_is_on_the_record_once(site: Site) -> None:
    answered: list[tuple[str, bool]] = []
    async with site.running() as sidecar:
        asking = [asyncio.create_task(ask(sidecar, nth, answered)) for nth in range(CLIENTS)]
        await until(lambda: len(answered) >= ANSWERS, 20)
        await sidecar.kill(sidecar.recorder)
        await asyncio.gather(*asking)
        assert await sidecar.stop() == 0
    await site.verified()

    kept = [(one["id"], one["outcome"] == "allow") for one in site.records() if "outcome" in one]
    assert len(kept) == len(set(kept))
    assert set(answered) <= set(kept)
    assert len(set(answered)) == len(answered)
