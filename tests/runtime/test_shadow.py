"""A candidate is asked about every call and obeyed in none."""

import asyncio

import pytest

from sidecar import flow
from sidecar.runtime import names
from sidecar.runtime.limits import SHADOW_QUEUE_MAX, SHADOW_RECORDS_PER_S_MAX
from sidecar.runtime.metrics import Counts
from sidecar.runtime.processes.shadow import Shadow
from sidecar.terms.call import Json
from sidecar.terms.decision import Fact, FactKey, Facts
from sidecar.terms.errors import RecordError
from tests.review import history
from tests.tables import Row, rows


class Desk:
    """A shadow, and what it has said."""

    def __init__(self, entity: Json = None, revoked: tuple[str, ...] = ()) -> None:
        self.noted: list[dict[str, Json]] = []
        self.counts = Counts()
        self.is_full = False
        self._entity = entity
        self._revoked = revoked
        self.now_s = 1000.0
        self.slow_s = 0.0
        self.shadow = Shadow(self.facts, self._note, self.counts, self._clock)

    def _clock(self) -> float:
        self.now_s += self.slow_s
        return self.now_s

    def facts(self, keys: frozenset[FactKey]) -> Facts:
        found: Facts = {}
        for key in keys:
            if key.function == "revoked":
                found[key] = Fact(key.arguments[0] in self._revoked, "test", "1")
            elif self._entity is not None:
                found[key] = Fact(self._entity, "test", "1")
        return found

    async def _note(self, event: str, detail: dict[str, Json]) -> None:
        if self.is_full:
            raise RecordError("no space is left")
        self.noted.append({"event": event, **detail})

    def seen(self, name: str) -> dict[str, float]:
        values = self.counts.values
        return {labels[0]: value for (its, labels), value in values.items() if its == name}

    async def empty(self) -> None:
        async with asyncio.timeout(5):
            while self.shadow.is_busy:  # noqa: ASYNC110 - a timer does it
                await asyncio.sleep(0)


async def asked(desk: Desk, bundle, call) -> None:
    request = flow.understand(call, bundle)

    class Source:
        async def fetch(self, keys: frozenset[FactKey]) -> Facts:
            return desk.facts(keys)

    said, facts = await flow.judge(request, bundle, Source())
    decision, _ = flow.enforce(call, request, said, bundle)
    desk.shadow(call, decision, facts)


@pytest.mark.parametrize("row", rows("runtime/shadow.yaml"))
async def test_case(row: Row) -> None:
    given = row.given
    active = history.bundle_of(given["active"])
    candidate = history.bundle_of(given["candidate"], given.get("catalog"), "2.0.0")
    desk = Desk(given.get("entity"), tuple(given.get("revoked", ())))
    desk.shadow.use(candidate)
    (call,) = history.calls([given["call"]])

    await asked(desk, active, call)
    await desk.empty()

    want = row.want
    assert desk.seen(names.SHADOW_DECISIONS) == want["results"]
    assert len(desk.noted) == want["results"].get("differs", 0)
    for noted in desk.noted:
        assert noted["event"] == "shadow_difference"
        assert noted["decision"] == call.id
        assert noted["digest"] == candidate.digest
        assert noted["change"] == want.get("change", noted["change"])
        assert noted["rules"] == want.get("rules", noted["rules"])


ALLOW = history.bundle_of([{"id": "all", "effect": "allow"}])
DENY = history.bundle_of([{"id": "none", "effect": "deny"}], version="2.0.0")
READ = {"sql": "SELECT note FROM notes"}


async def test_without_a_candidate_nothing_is_kept() -> None:
    desk = Desk()

    await asked(desk, ALLOW, history.calls([READ])[0])

    assert not desk.shadow.is_busy
    assert desk.seen(names.SHADOW_DECISIONS) == {}


async def test_what_does_not_fit_into_the_queue_is_counted_and_not_looked_at() -> None:
    desk = Desk()
    desk.shadow.use(DENY)
    (call,) = history.calls([READ])
    await asked(desk, ALLOW, call)
    seen = desk.shadow._queue[0]

    for _ in range(SHADOW_QUEUE_MAX + 4):
        desk.shadow(*seen)

    assert desk.seen(names.SHADOW_DECISIONS) == {"dropped": 5}
    await desk.shadow.close()


async def test_no_more_than_so_many_differences_are_recorded_in_a_second() -> None:
    desk = Desk()
    desk.shadow.use(DENY)
    for call in history.calls([READ] * (SHADOW_RECORDS_PER_S_MAX + 7)):
        await asked(desk, ALLOW, call)
    await desk.empty()
    assert len(desk.noted) == SHADOW_RECORDS_PER_S_MAX

    desk.now_s += 1
    await asked(desk, ALLOW, history.calls([READ])[0])
    await desk.empty()

    assert desk.noted[-1]["unrecorded_before"] == 7
    assert desk.seen(names.SHADOW_DIFFERENCES) == {"allow-to-deny": SHADOW_RECORDS_PER_S_MAX + 8}


async def test_a_difference_that_cannot_be_recorded_is_told_with_the_next() -> None:
    desk = Desk()
    desk.shadow.use(DENY)
    desk.is_full = True
    await asked(desk, ALLOW, history.calls([READ])[0])
    await desk.empty()
    assert desk.noted == []

    desk.is_full = False
    await asked(desk, ALLOW, history.calls([READ])[0])
    await desk.empty()

    assert desk.noted[-1]["unrecorded_before"] == 1


async def test_a_slow_candidate_is_asked_of_one_call_and_then_rests_nine_times_as_long() -> None:
    desk, loop = Desk(), asyncio.get_running_loop()
    desk.shadow.use(DENY)
    for call in history.calls([READ] * 3):
        await asked(desk, ALLOW, call)
    # Each look at the clock finds so much gone.
    desk.slow_s = 0.2
    began_s = desk.now_s

    async with asyncio.timeout(5):
        while len(desk.shadow._queue) == 3:  # noqa: ASYNC110 - a timer does it
            await asyncio.sleep(0)

    took_s = desk.now_s - began_s
    assert len(desk.shadow._queue) == 2
    waiting = desk.shadow._waiting
    assert waiting is not None
    assert took_s > 0.2
    assert waiting.when() - loop.time() > (took_s - 2 * desk.slow_s) * 9 - 1
    await desk.shadow.close()


async def test_a_slow_candidate_rests_also_when_nothing_waits() -> None:
    desk = Desk()
    desk.shadow.use(DENY)
    desk.slow_s = 0.2
    await asked(desk, ALLOW, history.calls([READ])[0])
    await desk.empty()

    await asked(desk, ALLOW, history.calls([READ])[0])

    waiting = desk.shadow._waiting
    assert waiting is not None
    assert waiting.when() - asyncio.get_running_loop().time() > 1
    await desk.shadow.close()


async def test_a_difference_names_its_own_call_when_what_was_decided_is_of_an_equal_one() -> None:
    desk = Desk()
    desk.shadow.use(DENY)
    first, second = history.calls([READ, READ])
    await asked(desk, ALLOW, first)
    (_, decision, facts) = desk.shadow._queue[0]

    desk.shadow(second, decision, facts)
    await desk.empty()

    assert first.id != second.id
    assert [one["decision"] for one in desk.noted] == [first.id, second.id]


async def test_what_waits_is_not_asked_of_a_candidate_that_is_gone() -> None:
    desk = Desk()
    desk.shadow.use(DENY)
    await asked(desk, ALLOW, history.calls([READ])[0])

    await desk.shadow.close()

    assert desk.noted == []
    assert not desk.shadow.is_busy


async def test_a_record_of_a_difference_names_nobody() -> None:
    desk = Desk()
    desk.shadow.use(DENY)
    (call,) = history.calls([{**READ, "subject": "user:alice", "context": {"ip": "192.0.2.7"}}])

    await asked(desk, ALLOW, call)
    await desk.empty()

    (noted,) = desk.noted
    assert "alice" not in repr(noted)
    assert "192.0.2.7" not in repr(noted)
