"""A text that is asked over and over is decided and recorded each time, by a shorter way."""

import asyncio
import gc
import tracemalloc
from types import SimpleNamespace

import pytest

from examples.postgres_local import LocalPostgres
from sidecar.intercept.postgres.limits import ALL_KNOWN_BYTES_MAX, KNOWN_BYTES_MAX
from sidecar.intercept.postgres.protocol import wire
from sidecar.intercept.postgres.texts import Text, Texts
from sidecar.terms.record import MadeRecord
from tests.intercept.postgres.stand import (
    MALLORY,
    Raw,
    Stand,
    bind,
    bundle,
    execute,
    parse,
    query,
)

TEXT = "select id from finance.expenses where id < 4"
OFTEN = 60
CLOSED = """
apiVersion: sidecar/v1
kind: Policy
metadata: {name: trial}
spec:
  rules:
    - {id: none, effect: deny, when: "true"}
"""


def decided(stand: Stand) -> list[str]:
    return [one.id for one in stand.ledger.all_decisions]


async def asked(client: Raw, *, is_parsed: bool = False) -> str:
    if is_parsed:
        client.send(parse(TEXT), bind(), execute(), wire.SYNC)
    else:
        client.send(query(TEXT))
    return await client.kinds()


async def familiar(stand: Stand) -> Raw:
    """Return a client whose text is answered by the shorter way."""
    client = await Raw.logged_in(stand)
    for _ in range(OFTEN):
        assert await asked(client) == "TDDDCZ"
    assert isinstance(stand.ledger.all_decisions[-1], MadeRecord)
    return client


@pytest.mark.parametrize("is_parsed", [False, True])
async def test_each_has_a_record_and_an_outcome_of_its_own(stand: Stand, is_parsed: bool) -> None:
    client = await Raw.logged_in(stand)
    for _ in range(OFTEN):
        assert await asked(client, is_parsed=is_parsed) == ("12DDDCZ" if is_parsed else "TDDDCZ")
    await client.close()

    outcomes = await stand.outcomes(OFTEN)
    ids = decided(stand)
    assert len(ids) == len(set(ids)) == OFTEN
    assert sorted(one.parent for one in outcomes) == sorted(ids)
    assert {(one.uses, one.rows) for one in outcomes} == {(1, 3)}
    made = [one for one in stand.ledger.records if isinstance(one, MadeRecord)]
    assert all(one.stencil.listener_forwarded for one in made)
    assert len(made) > OFTEN // 2


async def test_who_is_revoked_is_refused_at_once(stand: Stand) -> None:
    client = await familiar(stand)

    stand.revoked.parties.add("user:bob")
    stand.revoked.epoch += 1

    assert await asked(client) == "EZ"
    stand.revoked.parties.clear()
    stand.revoked.epoch += 1
    assert await asked(client) == "TDDDCZ"


async def test_another_bundle_is_asked_at_once(stand: Stand) -> None:
    client = await familiar(stand)

    stand.bundle = bundle(CLOSED)

    assert await asked(client) == "EZ"


async def test_what_cannot_be_recorded_is_not_sent(stand: Stand) -> None:
    client = await familiar(stand)

    stand.ledger.is_full = True
    client.send(query(TEXT))
    kind, body = (await client.until(b"E"))[-1]

    assert (kind, wire.fields(body)["C"]) == (b"E", "58030")


def known_of(stand: Stand) -> Texts:
    (session,) = stand.listener._sessions
    return session._judge.texts


def weighing(size: int) -> Text:
    return Text(SimpleNamespace(weight=size))  # type: ignore[arg-type]


def test_what_a_connection_remembers_is_bounded_in_bytes() -> None:
    texts = Texts()

    texts.weigh(weighing(KNOWN_BYTES_MAX - 1))
    assert texts.weight == KNOWN_BYTES_MAX - 1
    texts.weigh(weighing(2))

    assert texts.weight == 0


def test_what_all_connections_remember_is_bounded_and_who_has_the_most_gives_it_up() -> None:
    modest, greedy = Texts(), [Texts() for _ in range(100)]
    modest.weigh(weighing(1024))

    for nth, one in enumerate(greedy):
        one.weigh(weighing(KNOWN_BYTES_MAX - nth))
        assert sum(each.weight for each in greedy) <= ALL_KNOWN_BYTES_MAX

    assert modest.weight == 1024
    assert greedy[-1].weight > 0


def test_a_text_that_weighs_other_than_before_is_counted_once() -> None:
    texts, text = Texts(), weighing(100)

    texts.weigh(text)
    texts.weigh(text)
    text.again.weight = 30  # type: ignore[misc]
    texts.weigh(text)

    assert texts.weight == 30


async def test_a_short_text_of_a_wide_table_weighs_at_least_what_it_takes(
    postgres: LocalPostgres,
) -> None:
    stand = Stand(postgres)
    columns = ", ".join(f"column_{number}" for number in range(400))
    stand.bundle = bundle(public=f"public: {{tables: {{wide: {{columns: [{columns}]}}}}}}")
    await stand.start()
    client = await Raw.logged_in(stand)
    tracemalloc.start()
    try:
        for number in range(5):
            for _ in range(3):
                # There is no such table, so nothing but the text and its meaning is there.
                client.send(query("select * from wide" + " " * number))
                assert await client.kinds() == "EZ"
        texts = known_of(stand)
        stand.ledger.records.clear()
        weight, before = texts.weight, tracemalloc.get_traced_memory()[0]
        texts.forget()
        gc.collect()
        taken = before - tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        await stand.stop()

    assert 400 * 100 * 5 < taken < weight


@pytest.mark.parametrize("before", [0, OFTEN])
async def test_draining_waits_for_what_is_being_decided(stand: Stand, before: int) -> None:
    client = await Raw.logged_in(stand)
    for _ in range(before):
        await asked(client)
    await stand.outcomes(before)
    stand.ledger.is_stuck = True
    client.send(query(TEXT))
    await stand.ledger.until(lambda: stand.ledger.held == 1)

    draining = asyncio.ensure_future(stand.listener.drain(0))
    assert (await client.last_words())["C"] == "57P01"
    for _ in range(20):
        await asyncio.sleep(0)
    assert not draining.done()
    stand.ledger.catch_up()
    await draining

    assert len(stand.ledger.outcomes) == len(decided(stand)) == before + 1
    assert stand.ledger.outcomes[-1].result == "failed"


async def test_uses_behind_a_text_that_is_not_answered_are_its_own(stand: Stand) -> None:
    client = await familiar(stand)
    for _ in range(OFTEN):
        await asked(client, is_parsed=True)
    slow = "select count(*) from finance.expenses a, finance.expenses b where a.id < b.id"
    for _ in range(OFTEN):
        client.send(parse(slow), bind(), execute(), wire.SYNC)
        assert await client.kinds() == "12DCZ"
    await asked(client, is_parsed=True)
    *_, before = decided(stand)

    client.send(parse(slow), bind(), execute(), wire.SYNC)
    await client.drained()
    await stand.ledger.until(lambda: decided(stand)[-1] != before)
    client.send(bind(), execute(), wire.SYNC)
    assert (await client.kinds(), await client.kinds()) == ("12DCZ", "2DCZ")
    await client.close()

    *_, last = decided(stand)
    await stand.ledger.until(lambda: uses_of(stand, last) == 2)
    assert uses_of(stand, before) == 1


def uses_of(stand: Stand, decision: str) -> int:
    return sum(one.uses or 0 for one in stand.ledger.outcomes if one.parent == decision)


async def test_a_text_is_read_anew_where_the_catalogue_is_found_to_lag(
    postgres: LocalPostgres,
) -> None:
    found: dict[str, list[str]] = {}
    stand = Stand(postgres, drift=lambda: found)
    await stand.start()
    client = await familiar(stand)

    found["finance.expenses"] = ["id"]
    answer = await asked(client)
    await stand.stop()

    assert answer == "EZ"
    assert stand.ledger.decisions[-1].reason == "catalogue.drift"


async def test_a_statement_that_copies_passes_as_often_as_it_is_asked(stand: Stand) -> None:
    client = await Raw.logged_in(stand)
    for _ in range(OFTEN // 4):
        client.send(query("copy finance.expenses to stdout"))
        kinds = await client.kinds()
        assert (kinds[0], kinds.count("d"), kinds[-3:]) == ("H", 100, "cCZ")
    await client.close()

    outcomes = await stand.outcomes(OFTEN // 4)
    assert {(one.uses, one.upstream_status) for one in outcomes} == {(1, "COPY")}


async def test_a_text_is_known_whatever_types_its_parameters_are_given(stand: Stand) -> None:
    client = await Raw.logged_in(stand)
    text = b"select id from finance.expenses where id = $1"
    value = wire.message(b"B", b"\0\0", b"\0\0\0\1\0\0\0\1", b"7", b"\0\0")
    found = []
    for number in range(OFTEN // 4):
        # An int4, and a bool, which cannot be compared with one.
        types = b"\0\1" + (23 if number % 4 else 16).to_bytes(4, "big")
        client.send(wire.parse(b"", text, types), value, execute(), wire.SYNC)
        found.append(await client.kinds())

    assert found == ["12DCZ" if number % 4 else "EZ" for number in range(OFTEN // 4)]
    assert len(decided(stand)) == OFTEN // 4


async def test_what_is_known_is_not_known_to_another_connection(stand: Stand) -> None:
    await familiar(stand)
    other = await Raw.logged_in(stand, "mallory", MALLORY)

    assert await asked(other) == "EZ"
