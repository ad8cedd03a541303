"""What stood beside a ledger and is gone is told at the next start."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sidecar.record.fold import revoke
from sidecar.record.inputs.secrets import Secrets, secrets_path
from sidecar.record.keeping.found import ABSENT
from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.persons import persons_paths
from sidecar.terms.words import CallId
from tests.record import sample
from tests.record.test_write import Paper, decision, kept, request


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        (["persons.table"], ["persons.table"]),
        (["persons.table", "keys/persons.key"], ["persons.table", "persons.key"]),
        (["keys/inputs.key"], ["inputs.key"]),
        ([], []),
    ],
)
async def test_what_is_gone_from_beside_the_ledger_is_told_once_at_the_next_start(
    tmp_path, gone, told
):
    state = tmp_path / "state"
    ledger = await asyncio.to_thread(
        Ledger.open, *ledger_paths(state), sample.settings(machine="m1")
    )
    Secrets.open(secrets_path(state))
    handles = await ledger.handles(["user:alice"])
    asked = request({"targets": []})
    said, _ = kept(asked, Paper(), decision(asked), handles=handles)
    await ledger.write(said)
    await ledger.close()
    for name in gone:
        (state / name).unlink()

    found = await events(state)

    assert found == ([{"files": told}] if told else [])


@pytest.mark.parametrize("behind", [0, 1100])
async def test_who_was_revoked_under_a_handle_is_missed_however_much_was_written_since(
    tmp_path, behind
):
    state = tmp_path / "state"
    ledger = await asyncio.to_thread(
        Ledger.open, *ledger_paths(state), sample.settings(machine="m1")
    )
    await ledger.write(revoke("user:mallory", "root", id=CallId("id-r"), time=sample.TIME))
    for first in range(0, behind, 50):
        await asyncio.gather(*(ledger.write(sample.admin(n)) for n in range(first, first + 50)))
    await ledger.close()
    for path in persons_paths(state):
        path.unlink()

    assert await events(state) == [{"files": ["persons.table", "persons.key"]}]
    assert len(await events(state)) == 1


async def test_what_was_made_anew_and_is_gone_again_is_told_again(tmp_path):
    state = tmp_path / "state"
    for number in range(2):
        ledger = await asyncio.to_thread(
            Ledger.open, *ledger_paths(state), sample.settings(machine="m1")
        )
        await ledger.handles([f"user:{number}"])
        await ledger.close()
        for path in persons_paths(state):
            path.unlink()
        assert len(await events(state)) == number + 1


async def events(state: Path) -> list[Any]:
    ledger = await asyncio.to_thread(
        Ledger.open, *ledger_paths(state), sample.settings(machine="m1")
    )
    await ledger.write(sample.admin(1))
    await ledger.close()
    return [one["detail"] for one in sample.records(state) if one.get("event") == ABSENT]
