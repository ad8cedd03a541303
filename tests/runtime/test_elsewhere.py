"""Long texts are read beside the loop: short calls are not held up, and doubt is a denial."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import pytest

from sidecar import flow
from sidecar.domains import by_protocol
from sidecar.domains.data import done_elsewhere
from sidecar.domains.data.parse import elsewhere as kept
from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.runtime.bundles import Store
from sidecar.runtime.limits import ERRANDS_OF_ONE_MAX
from sidecar.runtime.processes import elsewhere
from sidecar.runtime.processes.elsewhere import desk
from sidecar.runtime.processes.elsewhere.desk import Desk
from sidecar.runtime.processes.elsewhere.reader import Reader
from sidecar.runtime.reload import Current
from sidecar.terms.answer import Answer, Forward, Refuse
from sidecar.terms.call import Call, Identity, Json, Party
from sidecar.terms.domain import Elsewhere, nowhere
from sidecar.terms.errors import ParseError
from sidecar.terms.record import DecisionRecord
from sidecar.terms.words import CallId
from tests import toy
from tests.test_flow import Paper

CATALOG = """\
apiVersion: sidecar/v1
kind: Catalog
metadata: {name: erp}
spec:
  protocol: sql
  search_path: [public]
  schemas: {public: {tables: {notes: {columns: [note, COLUMN]}}}}
"""
TOOLS = """\
apiVersion: sidecar/v1
kind: Catalog
metadata: {name: tools}
spec:
  protocol: mcp
  servers:
    crm:
      tools:
        report:
          arguments:
            one: {protocol: sql, dialect: postgres}
            two: {protocol: sql, dialect: postgres}
"""
POLICY = """\
apiVersion: sidecar/v1
kind: Policy
metadata: {name: trial}
spec: {rules: [RULE]}
"""
OPEN = "{id: open, effect: allow}"
FILTERED = (
    "{id: own, effect: allow, match: {protocols: [sql]}, "
    "obligations: [{type: filter_rows, on: 'table:public.notes', where: note = 'mine'}]}"
)

INSIDE = FILTERED.replace("match: {protocols: [sql]}, ", "")


def bundle_of(rule: str = OPEN, column: str = "id") -> Bundle:
    files = {
        "bundle.yaml": b'{name: trial, version: "1.0"}\n',
        "erp.yaml": CATALOG.replace("COLUMN", column).encode(),
        "tools.yaml": TOOLS.encode(),
        "policy.yaml": POLICY.replace("RULE", rule).encode(),
    }
    return elsewhere.bound(compile_bundle(files, by_protocol()))


@pytest.fixture(autouse=True)
def _nothing_is_known():
    kept._kept.clear()


def long(number: int = 0, columns: str = "note") -> str:
    """Return a text that is read elsewhere, another one for each number."""
    return f"SELECT {columns} FROM notes WHERE note <> '" + "x" * (5000 + number) + "'"


def call_of(payload: Json, protocol: str = "sql", who: str = "alice") -> Call:
    if isinstance(payload, str):
        payload = {"dialect": "postgres", "text": payload}
    return Call(
        id=CallId("call-1"), time="2026-01-01T12:00:00.000000Z", listener="test",
        upstream="default", protocol=protocol, payload=payload,
        identity=Identity(Party("user", who)),
    )  # fmt: skip


class Reads:
    """Reads as the process does, when it is let; `ways` are how it ends before it does so."""

    def __init__(self, bundle: Bundle, *ways: BaseException | None) -> None:
        self._bundle = bundle
        self._ways = list(ways)
        self.may = asyncio.Event()
        self.may.set()
        self.asked = 0
        self.started = 0
        self.ended = 0

    async def start(self) -> "Reads":
        self.started += 1
        return self

    async def ask(self, bundle: str, work: bytes) -> bytes | None:
        self.asked += 1
        await self.may.wait()
        way = self._ways.pop(0) if self._ways else None
        if way is not None:
            raise way
        assert bundle == self._bundle.digest
        return done_elsewhere(work, self._bundle.catalogues["data"])

    async def end(self) -> None:
        self.ended += 1


class Stand:
    """A path whose long texts are read by `reads`."""

    def __init__(self, bundle: Bundle, start: Callable[[], Awaitable[Reads | Reader]]) -> None:
        self.paper = Paper()
        self.current = Current(bundle)
        self.desk = Desk(start)
        self._path = flow.Path(
            bundle=self.current, ledger=self.paper, facts=toy.Knows(),
            new_id=lambda: CallId("new"), now=lambda: "2026-01-01T12:00:01.000000Z",
            worked=self.desk,
        )  # fmt: skip

    async def carry(self, payload: Json, protocol: str = "sql", who: str = "alice") -> Answer:
        return await flow.carry(call_of(payload, protocol, who), self._path)

    def reasons(self) -> list[str]:
        return [one.reason for one in self.paper.records if isinstance(one, DecisionRecord)]


async def turns(count: int = 50) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_short_calls_are_answered_while_a_long_text_is_read():
    bundle = bundle_of()
    reads = Reads(bundle)
    reads.may.clear()
    stand = Stand(bundle, reads.start)

    slow = asyncio.create_task(stand.carry(long()))
    await turns()
    quick = [await stand.carry("SELECT note FROM notes") for _ in range(20)]

    assert all(isinstance(answer, Forward) for answer in quick)
    assert (reads.asked, slow.done(), len(stand.paper.records)) == (1, False, 20)
    reads.may.set()
    assert isinstance(await slow, Forward)
    assert len(stand.paper.records) == 21


async def test_a_short_text_starts_nobody():
    bundle = bundle_of()
    reads = Reads(bundle)

    await Stand(bundle, reads.start).carry("SELECT note FROM notes")

    assert reads.started == 0


async def test_a_known_text_is_not_read_again():
    bundle = bundle_of()
    reads = Reads(bundle)
    stand = Stand(bundle, reads.start)

    answers = [await stand.carry(long()) for _ in range(3)]

    assert all(isinstance(answer, Forward) for answer in answers)
    assert (reads.started, reads.asked) == (1, 1)


async def test_a_text_that_many_ask_about_is_read_once():
    bundle = bundle_of()
    reads = Reads(bundle)
    stand = Stand(bundle, reads.start)

    answers = await asyncio.gather(*(stand.carry(long()) for _ in range(10)))

    assert all(isinstance(answer, Forward) for answer in answers)
    assert reads.asked == 1
    assert len(stand.paper.records) == 10


async def test_who_no_longer_waits_takes_the_answer_from_nobody():
    bundle = bundle_of()
    reads = Reads(bundle)
    reads.may.clear()
    stand = Stand(bundle, reads.start)
    first, second = (asyncio.create_task(stand.carry(long())) for _ in range(2))
    await turns()

    first.cancel()
    await turns()
    reads.may.set()

    assert isinstance(await second, Forward)
    assert first.cancelled()


async def test_a_long_text_is_rewritten_elsewhere_too():
    bundle = bundle_of(FILTERED)
    reads = Reads(bundle)
    stand = Stand(bundle, reads.start)

    answer = await stand.carry(long())

    assert isinstance(answer, Forward)
    assert "note\" = 'mine'" in answer.payload["text"]
    assert reads.asked == 2
    await stand.carry(long())
    assert reads.asked == 2


def reported(one: str, two: str) -> Json:
    message = {
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "report", "arguments": {"one": one, "two": two}},
    }  # fmt: skip
    return {"server": "crm", "message": message}


async def test_long_texts_inside_a_tool_call_are_read_elsewhere():
    bundle = bundle_of()
    reads = Reads(bundle)
    stand = Stand(bundle, reads.start)

    answer = await stand.carry(reported(long(1), long(2)), "mcp")

    assert isinstance(answer, Forward)
    assert [part.request["sql"]["reads"] for part in answer.request.parts] == [
        {"public.notes": ["note"]}
    ] * 2
    assert reads.asked == 2


async def test_long_texts_inside_a_tool_call_are_rewritten_elsewhere():
    bundle = bundle_of(INSIDE)
    reads = Reads(bundle)
    stand = Stand(bundle, reads.start)

    answer = await stand.carry(reported(long(1), long(2)), "mcp")

    assert isinstance(answer, Forward)
    arguments = answer.payload["message"]["params"]["arguments"]
    assert ["note\" = 'mine'" in text for text in arguments.values()] == [True, True]
    assert reads.asked == 4


@pytest.mark.parametrize("way", [EOFError(), ConnectionResetError(), BrokenPipeError()])
async def test_a_process_that_dies_is_started_again(way):
    bundle = bundle_of()
    reads = Reads(bundle, way)
    stand = Stand(bundle, reads.start)

    assert isinstance(await stand.carry(long()), Forward)
    assert (reads.started, reads.ended) == (2, 1)


@pytest.mark.parametrize(
    ("ways", "reason"),
    [
        ((EOFError(), EOFError()), "internal"),
        ((TimeoutError(),), "parse.too_large"),
        ((AssertionError("ours"),), "internal"),
    ],
)
async def test_a_text_that_cannot_be_read_is_denied_and_recorded(ways, reason):
    bundle = bundle_of()
    reads = Reads(bundle, *ways)
    stand = Stand(bundle, reads.start)

    assert isinstance(await stand.carry(long()), Refuse)
    assert stand.reasons() == [reason]
    # Only that one: the next text is read by the next process.
    assert isinstance(await stand.carry(long(1)), Forward)


async def test_a_rewriting_that_cannot_be_had_is_denied_and_says_which_rule_spoke():
    bundle = bundle_of(FILTERED)
    reads = Reads(bundle, None, TimeoutError())
    stand = Stand(bundle, reads.start)

    assert isinstance(await stand.carry(long()), Refuse)
    (record,) = stand.paper.records
    assert isinstance(record, DecisionRecord)
    assert (record.effect, record.outcome, record.reason) == ("allow", "deny", "parse.too_large")
    assert [rule.id for rule in record.rules] == ["own"]


async def test_a_process_that_cannot_be_started_denies():
    async def start() -> Reads:
        raise OSError("no more processes")

    stand = Stand(bundle_of(), start)

    assert isinstance(await stand.carry(long()), Refuse)
    assert stand.reasons() == ["internal"]


async def test_what_is_no_answer_denies():
    class Talks(Reads):
        async def ask(self, bundle: str, work: bytes) -> bytes | None:
            await super().ask(bundle, work)
            return b"\xc1"

    bundle = bundle_of()
    reads = Talks(bundle)
    stand = Stand(bundle, reads.start)

    assert isinstance(await stand.carry(long()), Refuse)
    assert stand.reasons() == ["internal"]
    assert reads.ended == 1


async def test_who_comes_when_too_many_wait_is_denied():
    bundle = bundle_of()
    reads = Reads(bundle)
    reads.may.clear()
    stand = Stand(bundle, reads.start)
    # One is being read, the others wait.
    waiting = [asyncio.create_task(stand.carry(long()))]
    await turns()
    later = range(1, ERRANDS_OF_ONE_MAX + 1)
    waiting += [asyncio.create_task(stand.carry(long(number))) for number in later]
    await turns()

    late = await stand.carry(long(ERRANDS_OF_ONE_MAX + 1))

    assert isinstance(late, Refuse)
    assert stand.reasons() == ["parse.busy"]
    bob = asyncio.create_task(stand.carry(long(columns="id"), who="bob"))
    await turns()
    assert not bob.done()
    reads.may.set()
    # Nobody waits for all that somebody else asks.
    assert isinstance(await bob, Forward)
    assert sum(one.done() for one in waiting) <= 3
    assert all(isinstance(answer, Forward) for answer in await asyncio.gather(*waiting))


async def test_more_than_can_wait_at_all_is_denied(monkeypatch):
    monkeypatch.setattr(desk, "ERRANDS_WAITING_MAX", 2)
    bundle = bundle_of()
    reads = Reads(bundle)
    reads.may.clear()
    stand = Stand(bundle, reads.start)
    waiting = [asyncio.create_task(stand.carry(long(n), who=f"{n}")) for n in range(2)]
    await turns()

    assert isinstance(await stand.carry(long(2), who="2"), Refuse)
    assert stand.reasons() == ["parse.busy"]
    reads.may.set()
    await asyncio.gather(*waiting)


async def test_who_waits_at_the_end_is_denied():
    bundle = bundle_of()
    reads = Reads(bundle)
    reads.may.clear()
    stand = Stand(bundle, reads.start)
    waiting = [asyncio.create_task(stand.carry(long(number))) for number in range(2)]
    await turns()

    await stand.desk.close()

    assert all(isinstance(answer, Refuse) for answer in await asyncio.gather(*waiting))
    assert stand.reasons() == ["internal", "internal"]
    assert reads.ended == 1


# --- the process itself ---


class Killed(Reader):
    """Is killed while it reads, the first times."""

    times = 1

    async def ask(self, bundle: str, work: bytes) -> bytes | None:
        if type(self).times:
            type(self).times -= 1
            os.kill(self.pid, signal.SIGKILL)
        return await super().ask(bundle, work)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.mark.timeout(60)
async def test_the_process_reads_rewrites_and_knows_a_new_bundle(tmp_path, store):
    before, after = bundle_of(FILTERED), bundle_of(FILTERED, "other")
    store.keep(before)
    store.keep(after)
    started = []

    async def start() -> Reader:
        started.append(await Reader.started(tmp_path))
        return started[-1]

    stand = Stand(before, start)
    try:
        under_way = asyncio.create_task(stand.carry(long(columns="note, id")))
        await turns(3)
        # What began under a bundle ends under it, whatever is in force by then.
        stand.current.swap(after)
        old = await under_way
        new = await stand.carry(long(columns="note, other"))
        gone = await stand.carry(long(columns="note, id"))
    finally:
        await stand.desk.close()

    assert isinstance(old, Forward)
    assert isinstance(new, Forward)
    assert "note\" = 'mine'" in new.payload["text"]
    assert isinstance(gone, Refuse)
    assert stand.reasons() == ["permitted", "permitted", "parse.unknown_column"]
    assert [one.policy.digest for one in (old.decision, new.decision, gone.decision)] == [
        before.digest, after.digest, after.digest
    ]  # fmt: skip
    assert len(started) == 1


@pytest.mark.timeout(60)
async def test_a_process_that_is_killed_twice_is_a_recorded_denial(tmp_path, store):
    class Twice(Killed):
        times = 2

    bundle = bundle_of()
    store.keep(bundle)
    stand = Stand(bundle, lambda: Twice.started(tmp_path))
    try:
        assert isinstance(await stand.carry(long()), Refuse)
        assert stand.reasons() == ["internal"]
    finally:
        await stand.desk.close()


@pytest.mark.timeout(60)
async def test_a_bundle_that_is_not_kept_is_a_denial(tmp_path):
    stand = Stand(bundle_of(), lambda: Reader.started(tmp_path))
    try:
        assert isinstance(await stand.carry(long()), Refuse)
        assert stand.reasons() == ["internal"]
    finally:
        await stand.desk.close()


async def test_nobody_reads_where_nobody_was_told_to():
    refused = Elsewhere("sha256:x", b"", lambda _: None)

    with pytest.raises(AssertionError):
        await nowhere(call_of(long()), refused)


async def test_a_refusal_is_told_to_each_who_asked_as_its_own():
    bundle = bundle_of()
    reads = Reads(bundle, TimeoutError())
    asks = Desk(reads.start)
    call = call_of(long())
    away = Elsewhere(bundle.digest, b"work", lambda _: None)

    found = await asyncio.gather(asks(call, away), asks(call, away), return_exceptions=True)

    assert all(isinstance(one, ParseError) for one in found)
    assert found[0] is not found[1]
