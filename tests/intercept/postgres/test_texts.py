"""A text that is asked over and over is decided and recorded each time, by a shorter way."""

import pytest

from sidecar.intercept.postgres.protocol import wire
from sidecar.terms.record import DecisionRecord, MadeRecord
from tests.intercept.postgres.stand import (
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
    kinds = (DecisionRecord, MadeRecord)
    return [one.id for one in stand.ledger.records if isinstance(one, kinds)]


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
    assert isinstance(stand.ledger.records[-2], MadeRecord | DecisionRecord)
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
    assert all(one.listener_forwarded for one in made)
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
