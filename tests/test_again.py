"""A call that is asked again is judged, recorded and answered as if it had never been asked."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import flow
from sidecar.domains import by_protocol
from sidecar.facts.sources import Revocations, Sources
from sidecar.intercept.envelope import decided
from sidecar.intercept.known import once_more, once_more_all
from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.policy.limits import BLOCK_USES_MIN
from sidecar.record.canonical import split
from sidecar.record.inputs import Secrets
from sidecar.record.inputs.again import Again
from sidecar.record.recorder.worker.link import Pending
from sidecar.terms.call import Call, Identity, Party
from sidecar.terms.decision import Decision
from sidecar.terms.record import AnyRecord, MadeRecord, Written
from sidecar.terms.words import CallId
from tests.namebook import Namebook
from tests.tables import rows

SECRETS = Secrets(b"k" * 32, bytes)
TIMES = [f"2026-01-01T12:00:0{second}.000000Z" for second in range(8)]
IDS = [CallId(f"01a20169-d800-738d-89dd-5e41b6bd51a{number}") for number in range(8)]
RULES = """\
apiVersion: sidecar/v1
kind: Policy
metadata: {name: p}
spec:
  rules:
    - {id: open, effect: allow}
    - id: late
      effect: deny
      when: context.time >= '2026-01-01T12:00:04'
      message: it is late
    - id: named
      effect: deny
      match: {protocols: [http]}
      when: request.http.path == '/closed'
      message: "closed to ${subject.id}"
    - id: erring
      effect: allow
      match: {protocols: [http], actions: [POST]}
      when: context.claimed.missing == 1
"""


def bundle(version: str = "1.0.0") -> Bundle:
    files = {"bundle.yaml": f'name: b\nversion: "{version}"\n', "policies/p.yaml": RULES}
    return compile_bundle({name: text.encode() for name, text in files.items()}, by_protocol())


BUNDLE, OTHER = bundle(), bundle("2.0.0")


class Paper(Namebook):
    """Keeps what it is told to write."""

    def __init__(self) -> None:
        self.records: list[AnyRecord] = []
        self.named: dict[str, str] = {}

    async def write(self, record: AnyRecord, side: object = ()) -> None:
        self.records.append(record)


class Gathering:
    """Takes many records at once onto the same paper, but for those that it does not."""

    def __init__(self, paper: Paper) -> None:
        self._paper = paper
        self.took: list[int] = []
        self.takes = True

    def write_all(self, records: Sequence[MadeRecord]) -> Written | None:
        if not self.takes:
            return None
        self.took.append(len(records))
        self._paper.records += records
        written = Pending()
        written.settle(None)
        return written

    def hold(self) -> None:
        raise AssertionError("the turn's beginning is not the path's")

    def flush(self) -> None:
        raise AssertionError("the turn's end is not the path's")


class List:
    """Who is revoked, by turns."""

    def __init__(self) -> None:
        self.epoch = 0
        self.parties: set[str] = set()

    def is_revoked(self, party: str) -> bool:
        return party in self.parties


class Stand:
    """A path, and what it has written and answered."""

    def __init__(self) -> None:
        self.paper = Paper()
        self.revoked = List()
        self.bundle = BUNDLE
        # Which of the records are of calls that were not begun.
        self.shortly: list[int] = []
        self.path = flow.Path(
            bundle=lambda: self.bundle,
            ledger=self.paper,
            facts=Sources({"revoked": Revocations(self.revoked)}),
            new_id=lambda: IDS[0],
            now=lambda: TIMES[0],
            secrets=SECRETS,
        )
        self.gathering = Gathering(self.paper)

    def ask_all(self, again: Again, ids: list[CallId], times: list[str]) -> list[bytes]:
        """Return the answers to the first of these calls of one turn; none: each goes alone."""
        path = msgspec.structs.replace(
            self.path,
            new_id=iter(ids).__next__,
            now=iter(times).__next__,
            gathers=self.gathering,
        )
        found = once_more_all(again, path, len(ids))
        return [] if found is None else found.answers

    async def ask(self, call: Call, again: Again | None) -> bytes:
        if again is not None:
            # Its first time it is a call like any other.
            shortly = once_more(again, self.road(call.id, call.time))
            if shortly is not None:
                self.shortly.append(len(self.paper.records))
                await shortly.written
                return shortly.outcome.answer_to(shortly.id)
        begun = flow.begin(call, self.path, again)
        answer = await flow.finish(begun)
        assert isinstance(begun, flow.Begun)
        if begun.outcome is not None:
            return begun.outcome.answer(answer.decision, decided)
        return orjson.dumps(decided(answer.decision), option=orjson.OPT_APPEND_NEWLINE)

    def road(self, id: CallId, time: str) -> flow.Path:
        return msgspec.structs.replace(self.path, new_id=lambda: id, now=lambda: time)

    @property
    def bytes(self) -> list[tuple[bytes, bytes]]:
        return [tuple(split(record)) for record in self.paper.records]  # type: ignore[misc]


def a_call(given: dict[str, Any], id: CallId, time: str) -> Call:
    subject = Party(**given.get("subject", {"type": "service", "id": "s"}))
    actors = tuple(Party(**one) for one in given.get("actors", ()))
    return Call(
        id,
        time,
        "ask",
        "default",
        given.get("protocol", "http"),
        given["call"],
        Identity(subject, actors, "key", given.get("asserted_by")),
        {"claimed": {}, **given.get("context", {})},
    )


async def both(given: dict[str, Any], turn: Callable[[Stand, int], None]) -> Stand:
    """Ask the same eight times, where it is remembered and where it is not; return the first."""
    first, other = Stand(), Stand()
    again = Again(a_call(given, IDS[0], TIMES[0]))
    for number, (id, time) in enumerate(zip(IDS, TIMES, strict=True)):
        turn(first, number)
        turn(other, number)
        asked = again.like if not number else again.call(id, time)
        assert await first.ask(asked, again) == await other.ask(a_call(given, id, time), None)
    assert first.bytes == other.bytes
    return first


async def together(given: dict[str, Any]) -> Stand:
    """Ask the same twice and then in one turn, and each by itself; return the first."""
    first, other = Stand(), Stand()
    again, number = Again(a_call(given, IDS[0], TIMES[0])), 0
    while number < len(IDS):
        came = first.ask_all(again, IDS[number:], TIMES[number:]) if number > 1 else []
        if not came:
            call = again.call(IDS[number], TIMES[number])
            came = [await first.ask(call if number else again.like, again)]
        for answer in came:
            alone = a_call(given, IDS[number], TIMES[number])
            assert answer == await other.ask(alone, None)
            number += 1
    assert first.bytes == other.bytes
    return first


def nothing(_stand: Stand, _number: int) -> None:
    """Change nothing between two calls."""


def made(stand: Stand) -> list[int]:
    return [n for n, one in enumerate(stand.paper.records) if isinstance(one, MadeRecord)]


@pytest.mark.parametrize("row", rows("flow/again.yaml"))
async def test_asked_again(row: Any) -> None:
    for _ in range(BLOCK_USES_MIN):
        # Rules have code of their own after a while only.
        await both(row.given, nothing)
    stand = await both(row.given, nothing)

    assert made(stand) == row.want["made"]
    assert stand.shortly == row.want.get("shortly", [])


@pytest.mark.parametrize("row", rows("flow/again.yaml"))
async def test_asked_again_in_one_turn(row: Any) -> None:
    for _ in range(BLOCK_USES_MIN):
        await together(row.given)
    stand = await together(row.given)

    # What goes shortly may go together, as far as it comes out alike; nothing else does.
    assert sum(stand.gathering.took) <= len(row.want.get("shortly", []))
    assert bool(stand.gathering.took) is bool(row.want.get("shortly"))


GET: dict[str, Any] = {"call": {"method": "GET", "url": "http://a.test/b"}}


async def known() -> tuple[Stand, Again]:
    """Return a stand that knows a question, and what it knows of it."""
    for _ in range(BLOCK_USES_MIN):
        await both(GET, nothing)
    stand, again = Stand(), Again(a_call(GET, IDS[0], TIMES[0]))
    for number in range(2):
        await stand.ask(again.call(IDS[number], TIMES[number]), again)
    return stand, again


async def test_calls_of_one_turn_go_together_as_far_as_they_come_out_alike() -> None:
    stand, again = await known()

    assert len(stand.ask_all(again, IDS[2:], TIMES[2:])) == 2  # then it is late
    assert stand.ask_all(again, IDS[4:], TIMES[4:]) == []  # which is not known yet
    for number in (4, 5):
        await stand.ask(again.call(IDS[number], TIMES[number]), again)
    assert len(stand.ask_all(again, IDS[6:], TIMES[6:])) == 2

    assert [b'"outcome":"deny"' in tail for _, tail in stand.bytes] == [False] * 4 + [True] * 4
    assert [one.id for one in stand.paper.records] == IDS


async def test_nothing_is_done_where_they_are_not_taken_together() -> None:
    stand, again = await known()
    stand.gathering.takes = False
    before = len(stand.paper.records)

    assert stand.ask_all(again, IDS[2:], TIMES[2:]) == []
    stand.gathering.takes, stand.bundle = True, OTHER
    assert stand.ask_all(again, IDS[2:], TIMES[2:]) == []
    stand.bundle = BUNDLE
    stand.revoked.parties.add("service:s")
    stand.revoked.epoch += 1
    assert stand.ask_all(again, IDS[2:], TIMES[2:]) == []

    assert len(stand.paper.records) == before


async def test_no_more_go_together_than_the_bound_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.intercept.known.TOGETHER_MAX", 1)
    stand, again = await known()

    assert len(stand.ask_all(again, IDS[2:], TIMES[2:])) == 1


async def test_each_of_them_is_shown_to_a_bundle_in_shadow_and_stands_in_the_times() -> None:
    stand, again = await known()
    shown: list[tuple[str, str, str]] = []
    timed: list[int] = []

    def shadow(call: Call, decision: Decision, _facts: object) -> None:
        shown.append((call.id, call.time, decision.outcome))

    stand.path = msgspec.structs.replace(
        stand.path, shadow=shadow, timed=lambda _took_s, calls: timed.append(calls)
    )
    for _ in range(20):
        assert len(stand.ask_all(again, IDS[2:4], TIMES[2:4])) == 2
    # Behind what was handed over, so that a mistake there is not one with the calls.
    await asyncio.sleep(0)

    assert shown == [(IDS[2], TIMES[2], "allow"), (IDS[3], TIMES[3], "allow")] * 20
    assert sum(timed) in range(32, 41)


async def test_who_was_revoked_meanwhile_is_refused_at_once() -> None:
    def turn(stand: Stand, number: int) -> None:
        if number == 3:
            stand.revoked.parties.add("service:s")
            stand.revoked.epoch += 1

    given = {"call": {"method": "GET", "url": "http://a.test/b"}}
    stand = await both(given, turn)

    assert [b'"outcome":"deny"' in tail for _, tail in stand.bytes] == [False] * 3 + [True] * 5


async def test_another_bundle_is_asked_what_the_call_means() -> None:
    def turn(stand: Stand, number: int) -> None:
        stand.bundle = BUNDLE if number < 3 else OTHER

    given = {"call": {"method": "GET", "url": "http://a.test/b"}}
    stand = await both(given, turn)

    assert [b'"version":"2.0.0' in tail for _, tail in stand.bytes] == [False] * 3 + [True] * 5


async def test_a_person_who_was_forgotten_has_a_new_handle() -> None:
    def turn(stand: Stand, number: int) -> None:
        if number == 3:
            stand.paper.named["user:alice"] = "p_" + "9" * 22

    given = {
        "subject": {"type": "user", "id": "alice"},
        "call": {"method": "GET", "url": "http://a.test/alice"},
    }
    await both(given, turn)


words = st.sampled_from(
    ["a", "", "alice", "é", "a@b.test", "\x00", '"', "\\", *IDS[:4], *TIMES[:4], "Bearer",
     " abcdefgh", "swk_" + "a" * 20, "eyJhbGciOi.x", "password", "***"]
)  # fmt: skip
texts = st.lists(words, max_size=3).map("".join)
values = st.recursive(
    texts | st.integers(-3, 3) | st.booleans() | st.none() | st.floats(0, 1),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=5,
)
things = st.dictionaries(texts, values, max_size=2)
parties = st.fixed_dictionaries(
    {"type": st.sampled_from(["user", "service", "agent"]), "id": texts, "properties": things}
)
calls = st.one_of(
    st.fixed_dictionaries(
        {
            "protocol": st.just("authzen"),
            "call": st.fixed_dictionaries(
                {
                    "action": st.fixed_dictionaries({"name": texts, "properties": things}),
                    "resource": st.fixed_dictionaries(
                        {"type": texts, "id": texts, "properties": things}
                    ),
                    "context": things,
                }
            ),
        }
    ),
    st.fixed_dictionaries(
        {
            "call": st.fixed_dictionaries(
                {
                    "method": st.sampled_from(["GET", "POST", "closed"]),
                    "url": texts.map(lambda text: f"http://a.test/{text}"),
                    "headers": st.just({"content-type": "application/json"}),
                    "body": values.map(lambda value: orjson.dumps(repr(value)).decode()),
                }
            )
        }
    ),
)


@given(
    calls,
    st.none() | parties,
    st.lists(parties, max_size=2),
    st.fixed_dictionaries({"claimed": things, "ip": st.sampled_from(["127.0.0.1", "192.0.2.7"])}),
    st.sampled_from([None, "w"]),
)
def test_whatever_is_asked_again(
    call: dict[str, Any],
    subject: Any,
    actors: list[Any],
    context: dict[str, Any],
    asserted_by: str | None,
) -> None:
    given = {**call, "actors": actors, "context": context, "asserted_by": asserted_by}
    if subject is not None:
        given["subject"] = subject
    asyncio.run(both(given, nothing))
    asyncio.run(together(given))
