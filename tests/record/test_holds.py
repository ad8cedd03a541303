"""What stops retention and forgetting: a legal hold, and a clock that cannot be believed."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from click.testing import CliRunner, Result

from sidecar.cli.log import command
from sidecar.record.disk import DISK
from sidecar.record.keeping.history import History
from sidecar.record.keeping.stops import holds
from sidecar.record.keeping.stops.holds import Hold
from sidecar.record.keeping.upkeep import Retention
from sidecar.record.ledger import Ledger, Settings, ledger_paths
from sidecar.terms.errors import RecordError
from tests.record import sample
from tests.record.sample import admin

DAY_S = 24 * 3600
pytestmark = pytest.mark.timeout(60)
ALICE = "user:alice"
WEEK = Retention(days=7)


def events(state: Path) -> list[str]:
    wanted = ("hold_placed", "hold_released", "ledger.clock_leapt", "pruned", "person_forgotten")
    found = [one.get("event") for one in sample.records(state)]
    return [event for event in found if event in wanted]


def lived(state: Path, clock: sample.Clock, days: int = 1, **bounds: Any) -> None:
    """Let a sidecar run for so many days, and 60 records each; each life is a day."""
    how = sample.settings(clock=clock, seals=True, **{"retention": WEEK, **bounds})
    for _ in range(days):
        clock.now_s += DAY_S
        asyncio.run(life(state, how), debug=False)


async def life(state: Path, how: Settings) -> None:
    ledger = Ledger.open(*ledger_paths(state), how)
    await asyncio.gather(*(ledger.write(admin(number)) for number in range(60)))
    await sample.until_idle(ledger)
    await ledger.close()


def hold(state: Path, *names: str) -> None:
    standing = {name: Hold("a request", sample.TIME, "ops") for name in names}
    holds.put(DISK, ledger_paths(state)[1], standing)


async def known(state: Path) -> None:
    ledger = await sample.written(state, 0)
    await ledger.handles([ALICE])
    await ledger.close()


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


# --- holds ---


def test_nothing_is_pruned_while_a_hold_stands_and_retention_goes_on_after_it(tmp_path):
    clock = sample.Clock()
    lived(tmp_path, clock)
    hold(tmp_path, "case-17", "case-18")
    lived(tmp_path, clock, 9)
    held = sample.pruned(tmp_path)
    hold(tmp_path, "case-18")
    lived(tmp_path, clock)
    still_held = sample.pruned(tmp_path)
    hold(tmp_path)
    lived(tmp_path, clock, 2)

    assert (held, still_held) == (0, 0)
    assert sample.pruned(tmp_path) > 0
    # The first life's records, and with them that it was placed, are gone by now.
    assert [one for one in events(tmp_path) if one != "pruned"][-2:] == ["hold_released"] * 2


@pytest.mark.parametrize("retention", [WEEK, Retention(bytes=1_000)])
def test_a_hold_is_of_all_that_retention_would_take(tmp_path, retention):
    clock = sample.Clock()
    lived(tmp_path, clock)
    hold(tmp_path, "case-17")
    lived(tmp_path, clock, 10, retention=retention)

    assert sample.pruned(tmp_path) == 0
    assert events(tmp_path) == ["hold_placed"]


@pytest.mark.parametrize(
    "text", [b"", b"[]", b'{"case": 1}', b'{"case": {"reason": "x"}}', b"\x00" * 100_000]
)
async def test_what_cannot_be_read_holds_everything(tmp_path, text):
    ledger = await sample.written(tmp_path, 1)
    await ledger.handles([ALICE])
    key_file = ledger_paths(tmp_path)[1]
    holds.holds_path(key_file).write_bytes(text)

    assert holds.Holds(DISK, key_file, History()).are_any()
    with pytest.raises(RecordError, match="held"):
        await ledger.forget(ALICE)
    await ledger.close()


def test_the_command_says_that_it_cannot_be_read_and_places_nothing_over_it(tmp_path):
    asyncio.run(sample.closed(tmp_path, 1), debug=False)
    path = holds.holds_path(ledger_paths(tmp_path)[1])
    path.write_bytes(b"[]")

    assert run("hold", "--state", tmp_path).output.startswith("unreadable")
    assert run("hold", "case-17", "--reason", "x", "--state", tmp_path).exit_code == 1
    assert run("release", "unreadable", "--state", tmp_path).exit_code == 1
    assert path.read_bytes() == b"[]"


def test_a_file_that_others_may_write_lifts_no_hold(tmp_path):
    lived(tmp_path, sample.Clock())
    path = holds.holds_path(ledger_paths(tmp_path)[1])
    path.write_bytes(b"{}")
    path.chmod(0o666)

    assert list(holds.standing(DISK, ledger_paths(tmp_path)[1])) == [holds.UNREADABLE]


async def test_nobody_is_forgotten_while_a_hold_stands(tmp_path):
    ledger = await sample.written(tmp_path, 1)
    handle = (await ledger.handles([ALICE]))[ALICE]
    hold(tmp_path, "case-17")

    for person in (ALICE, f"user:{handle}"):
        with pytest.raises(RecordError, match=r"is held \(case-17\)"):
            await ledger.forget(person)
    hold(tmp_path)

    assert dict(ledger.known_handles()) == {ALICE: handle}
    assert await ledger.forget(ALICE) is True
    await ledger.close()
    assert "person_forgotten" in events(tmp_path)


def test_each_hold_is_recorded_once_with_its_reason_over_all_lives(tmp_path):
    clock = sample.Clock()
    lived(tmp_path, clock)
    hold(tmp_path, "case-17")
    lived(tmp_path, clock, 3)

    (told,) = [one for one in sample.records(tmp_path) if one.get("event") == "hold_placed"]
    assert told["kind"] == "admin"
    said = {"name": "case-17", "reason": "a request", "since": sample.TIME, "by": "ops"}
    assert told["detail"] == said
    holds.holds_path(ledger_paths(tmp_path)[1]).unlink()
    lived(tmp_path, clock, 2)
    assert events(tmp_path) == ["hold_placed", "hold_released"]


async def test_a_hold_that_is_placed_while_a_ledger_runs_is_recorded_within_a_second(tmp_path):
    clock = sample.Clock()
    ledger = await sample.written(tmp_path, 1, sample.settings(clock=clock))
    hold(tmp_path, "case-17")
    clock.now_s += 1.1
    for _ in range(2):
        await ledger.write(admin(1))
        await sample.until_idle(ledger)
    await ledger.write(admin(2))
    await ledger.close()

    assert events(tmp_path) == ["hold_placed"]


def test_an_operator_holds_and_releases(tmp_path):
    asyncio.run(sample.closed(tmp_path, 3), debug=False)
    asyncio.run(known(tmp_path), debug=False)
    nothing = run("hold", "--state", tmp_path)
    placed = run("hold", "case-17", "--reason", "a request", "--state", tmp_path)
    again = run("hold", "case-17", "--reason", "another", "--state", tmp_path)
    listed = run("hold", "--json", "--state", tmp_path)
    forgotten = run("forget", "user:alice", "--state", tmp_path)
    released = run("release", "case-17", "--state", tmp_path)
    unknown = run("release", "case-17", "--state", tmp_path)

    assert nothing.output == "nothing is held\n"
    assert placed.exit_code == 0
    assert placed.output.startswith("case-17  since 2")
    assert orjson.loads(listed.output)["case-17"]["reason"] == "a request"
    assert again.exit_code == 1
    assert isinstance(forgotten.exception, RecordError)
    assert released.output == "case-17 is released\n"
    assert unknown.exit_code == 1
    assert events(tmp_path) == ["hold_placed", "hold_released"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["case-17"],
        ["case-17", "--reason", " "],
        ["case-17", "--reason", "x" * 501],
        ["../case", "--reason", "x"],
        ["unreadable", "--reason", "x"],
        ["a b", "--reason", "x"],
    ],
)
def test_a_hold_without_a_name_or_a_reason_is_none(tmp_path, arguments):
    asyncio.run(sample.closed(tmp_path, 1), debug=False)

    assert run("hold", *arguments, "--state", tmp_path).exit_code == 2
    assert holds.standing(DISK, ledger_paths(tmp_path)[1]) == {}


# --- ages ---


@pytest.mark.parametrize("leap_days", [8, 3650])
def test_a_clock_that_has_leapt_over_a_stop_prunes_nothing_for_a_week(tmp_path, leap_days):
    clock = sample.Clock()
    lived(tmp_path, clock, 3)
    clock.now_s += leap_days * DAY_S
    lived(tmp_path, clock, 6)
    first_week = sample.pruned(tmp_path)
    lived(tmp_path, clock, 2)

    assert first_week == 0
    # It has been told for a week by now, and was believed then.
    assert sample.pruned(tmp_path) > 0
    assert events(tmp_path)[0] == "ledger.clock_leapt"


async def test_a_clock_that_leaps_while_the_ledger_runs_prunes_nothing(tmp_path):
    clock, ticks = sample.Clock(), sample.Clock()
    how = sample.settings(clock=clock, seals=True, retention=WEEK, segment_bytes_max=10_000)
    outside = msgspec.structs.replace(how.outside, monotonic_s=ticks.monotonic_s)
    how = msgspec.structs.replace(how, outside=outside)
    ledger = Ledger.open(*ledger_paths(tmp_path), how)
    for _ in range(4):
        await asyncio.gather(*(ledger.write(admin(number)) for number in range(100)))
        clock.now_s += 365 * DAY_S
    await sample.until_idle(ledger)
    ticks.now_s += 1.1
    await ledger.write(admin(401))
    await sample.until_idle(ledger)
    await ledger.write(admin(402))
    await ledger.close()

    assert sample.pruned(tmp_path) == 0
    assert "ledger.clock_leapt" in events(tmp_path)


def test_a_clock_that_was_put_right_again_begins_no_other_wait(tmp_path):
    clock = sample.Clock()
    lived(tmp_path, clock, 3)
    clock.now_s += 365 * DAY_S
    lived(tmp_path, clock)
    leaps = events(tmp_path).count("ledger.clock_leapt")
    clock.now_s -= 365 * DAY_S
    lived(tmp_path, clock, 12)

    assert leaps == 1
    assert "ledger.clock_leapt" not in events(tmp_path)
    assert sample.pruned(tmp_path) > 0


def test_a_clock_that_began_in_1970_makes_nothing_old(tmp_path):
    clock = sample.Clock()
    lived(tmp_path, clock, 3)
    right_s, clock.now_s = clock.now_s, 0.0
    lived(tmp_path, clock)
    clock.now_s = right_s
    lived(tmp_path, clock, 7)
    kept = sample.pruned(tmp_path)
    lived(tmp_path, clock, 9)

    # Not a day too early, and not never.
    assert kept == 0
    assert sample.pruned(tmp_path) > 0


def test_size_needs_no_clock(tmp_path):
    clock = sample.Clock()
    lived(tmp_path, clock, 6)
    clock.now_s += 365 * DAY_S
    lived(tmp_path, clock, 1, retention=Retention(days=7, bytes=1_000))

    assert sample.pruned(tmp_path) > 0
