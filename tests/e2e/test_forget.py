"""A person is forgotten while the sidecar serves: everywhere at once, and not a byte is left."""

import asyncio

import pytest

from tests.e2e.harness import READ, Site

ASKED = {**READ, "subject": {"type": "user", "id": "alice@example.test"}}


def holders(site: Site, text: bytes) -> list[str]:
    """Return the files of the state folder that hold `text`."""
    files = [file for file in site.state.rglob("*") if file.is_file()]
    return [file.name for file in files if text in file.read_bytes()]


@pytest.mark.e2e
@pytest.mark.timeout(60)
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_person_is_forgotten_by_a_sidecar_that_serves(site, workers):
    text = site.config.read_text()
    site.config.write_text(
        text.replace("id: client", "id: client\n  may_assert: {subjects: [user]}", 1)
    )
    async with site.running("--workers", workers) as sidecar:
        clients = [await sidecar.client(nth=nth % 2) for nth in range(6)]
        replies = await asyncio.gather(*(client.decide(ASKED) for client in clients))
        assert {reply.status for reply in replies} == {200}
        before = {one["subject"]["id"] for one in site.records() if one["kind"] == "decision"}

        done = await site.sidecar(
            "log", "forget", "user:alice@example.test", "--state", str(site.state)
        )

        assert done.code == 0, done.err
        for client in clients:
            assert (await client.decide(ASKED)).status == 200
        after = [one["subject"]["id"] for one in site.records() if one["kind"] == "decision"]
        again = await site.sidecar("log", "forget", "user:nobody", "--state", str(site.state))
        assert again.code == 1
        assert await sidecar.stop() == 0

    assert len(before) == 1
    assert len(set(after) - before) == 1
    assert set(after[len(clients) :]).isdisjoint(before)
    assert holders(site, b"alice@example.test") == []
    (told,) = [one for one in site.records() if one.get("event") == "person_forgotten"]
    assert told["detail"]["handle"].removeprefix("user:") in before
    await site.verified()
