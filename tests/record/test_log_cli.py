"""`sidecar log` shows what was recorded, and says by its exit code whether it can be believed."""

import asyncio
import shutil
import stat
import sys
from pathlib import Path
from typing import Literal

import msgspec
import orjson
import pytest
from click.testing import CliRunner, Result

from sidecar.cli.log import command
from sidecar.cli.log.people import People
from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.persons import Persons, persons_paths
from sidecar.record.read import Reader
from sidecar.terms.decision import Obligation, RuleSpoke
from sidecar.terms.errors import ConfigError, LedgerBroken
from sidecar.terms.record import SCHEMA, ApprovalRecord, OutcomeRecord, PartyRecord
from sidecar.terms.words import CallId, Effect, PolicyName, RuleId
from tests.record import sample, tampering
from tests.record.sample import admin
from tests.record.test_recovery import all_segments_gone
from tests.record.test_write import Paper, decision, kept, recorded, request

# Each of many records is synced, and a disk may be slow.
pytestmark = pytest.mark.timeout(60)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """A ledger of one decision to deny, one to allow, and its outcome."""
    state = tmp_path / "state"
    ledger = await sample.written(state, 0)
    handles = await ledger.handles(["user:alice"])
    asked = request({"targets": [{"id": "hr.compensation"}]})
    denied, _ = kept(asked, Paper(), decision(asked, message="closed"), handles=handles)
    await ledger.write(denied)
    asked = request({"targets": [{"id": "finance.x\x1b[2J\u202e"}]})
    allowed, _ = kept(asked, Paper(), handles=handles)
    allowed = msgspec.structs.replace(allowed, id=CallId("id-2"), outcome="allow", rules=[])
    await ledger.write(allowed)
    await ledger.write(
        OutcomeRecord(
            SCHEMA, CallId("id-3"), CallId("id-2"), sample.TIME, "forwarded", "SELECT 5", rows=5
        )
    )
    await ledger.close()
    return state


def test_tail_shows_who_did_what_and_why(state):
    shown = run("tail", "--state", state)

    assert shown.exit_code == 0
    first, second, third = shown.output.splitlines()
    for word in (
        "deny",
        "agent:expense-bot for user:alice",
        "table:hr.compensation",
        "p/r",
        "id-1",
    ):
        assert word in first
    assert "allow" in second
    assert "forwarded" in third
    assert "outcome of id-2" in third


def test_tail_sends_nothing_to_the_terminal_that_it_would_act_upon(state):
    for shown in (run("tail", "--state", state), run("show", "id-2", "--state", state)):
        assert "\x1b" not in shown.output
        assert "\u202e" not in shown.output
        assert "finance.x\\u001b[2J\\u202e" in shown.output


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (["-n", "1"], ["id-3"]),
        (["-n", "0"], []),
        (["--outcome", "deny"], ["id-1"]),
        (["--outcome", "deny", "-n", "1"], ["id-1"]),
        (["--subject", "user:alice"], ["id-1", "id-2"]),
        (["--subject", "user:al"], []),
        (["--actor", "agent:*"], ["id-1", "id-2"]),
        (["--resource", "table:hr.*"], ["id-1"]),
        (["--rule", "r"], ["id-1"]),
        (["--rule", "p/r"], ["id-1"]),
        (["--rule", "p/r", "--outcome", "allow"], []),
        (["--kind", "outcome"], ["id-3"]),
        (["--outcome", "forwarded"], ["id-3"]),
        (["--outcome", "*e*"], ["id-1", "id-3"]),
        (["--kind", "d*"], ["id-1", "id-2"]),
        (["--since", "2026-11-21T10:00"], ["id-1", "id-2", "id-3"]),
        (["--since", "2026-11-21T10:00:00.000001Z"], []),
        (["--since", "2026-11-21T11:00+01:00", "--kind", "outcome"], ["id-3"]),
        (["--until", "2026-11-21"], []),
        (["--until", "2026-11-21T10:00:00Z", "-n", "2"], ["id-2", "id-3"]),
    ],
    ids=" ".join,
)
def test_tail_shows_what_is_asked_for(state, wanted, ids):
    shown = run("tail", "--state", state, "--json", *wanted)

    assert [orjson.loads(line)["id"] for line in shown.output.splitlines()] == ids


@pytest.mark.parametrize("text", ["yesterday", "5", "5y", "2026-13-01", ""])
def test_a_time_that_is_none_is_a_usage_error(state, text):
    assert run("tail", "--state", state, "--since", text).exit_code == 2


def test_how_long_ago_is_a_time(state):
    assert len(run("tail", "--state", state, "--since", "99999d").output.splitlines()) == 3
    assert run("tail", "--state", state, "--until", "99999d").output == ""


@pytest.mark.parametrize(("how", "coloured"), [("always", True), ("never", False), ("auto", False)])
def test_tail_is_coloured_where_that_is_wanted(state, how, coloured):
    assert ("\x1b[" in run("tail", "--state", state, "--color", how).output) is coloured


async def test_the_last_records_are_found_without_reading_older_segments(tmp_path):
    ledger = await sample.written(tmp_path, 20, sample.settings(segment_bytes_max=500))
    await ledger.close()
    everything = list(Reader(tmp_path / "ledger").new())
    for count in (0, 1, 3, 7, 99):
        reader = Reader(tmp_path / "ledger")

        assert reader.last(count, lambda record: True) == (everything[-count:] if count else [])

        assert list(reader.new()) == []
    reader = Reader(tmp_path / "ledger")
    sample.segments(tmp_path)[0].unlink()
    assert reader.last(1, lambda record: b"id-19" in record)


async def test_tail_goes_on_with_what_is_written(tmp_path):
    ledger = await sample.written(tmp_path, 1)
    shown = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from sidecar.cli import main; main()",
        "log", "tail", "-f", "-n", "1", "--json", "--kind", "admin", "--state", str(tmp_path),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert shown.stdout is not None
    try:
        first = orjson.loads(await shown.stdout.readline())
        await ledger.write(admin(1))
        second = orjson.loads(await shown.stdout.readline())
    finally:
        shown.terminate()
        await shown.wait()
        await ledger.close()

    assert (first["id"], second["id"]) == ("id-0", "id-1")


async def test_what_is_new_is_read_once_and_half_a_record_not_yet(tmp_path):
    ledger = await sample.written(tmp_path, 2, sample.settings(segment_bytes_max=500))
    reader = Reader(tmp_path / "ledger")
    assert len(list(reader.new())) == 2
    assert list(reader.new()) == []
    for number in range(2, 9):
        await ledger.write(admin(number))
    assert [orjson.loads(line)["id"] for line in reader.new()] == [f"id-{n}" for n in range(2, 9)]
    await ledger.close()
    segment = sample.segments(tmp_path)[-1]
    data = segment.read_bytes()
    with segment.open("ab") as file:
        file.write(data[64:150])

    assert list(reader.new()) == []


async def test_a_long_detail_is_cut_in_a_line_and_whole_in_show(tmp_path):
    ledger = await sample.written(tmp_path, 0)
    await ledger.write(admin(1, text="x" * 5000))
    await ledger.close()

    assert len(run("tail", "--state", tmp_path).output) < 400
    assert "x" * 5000 in run("show", "id-1", "--state", tmp_path).output


def test_show_prints_a_decision_and_its_outcomes(state):
    shown = run("show", "id-2", "--state", state)

    assert shown.exit_code == 0
    assert "decision id-2" in shown.output
    assert "outcome id-3" not in shown.output
    assert "forwarded, SELECT 5, 5 rows" in shown.output
    whole = run("show", "id-2", "--state", state, "--full").output
    assert whole.startswith(shown.output.rpartition("  whole")[0])
    assert "outcome id-3" in whole


def test_show_as_json_has_both(state):
    shown = orjson.loads(run("show", "id-2", "--state", state, "--json").output)

    assert shown["record"]["id"] == "id-2"
    assert [linked["id"] for linked in shown["linked"]] == ["id-3"]


async def test_show_tells_the_text_of_the_rules_by_which_it_was_decided(tmp_path):
    await tampering.made(tmp_path / "state")

    shown = run("show", "id-0", "--state", tmp_path / "state").output
    told = orjson.loads(run("show", "id-0", "--state", tmp_path / "state", "--json").output)

    assert "rule p/r" in shown
    assert "# Salaries are closed." in shown
    assert "when: \"'pii' in resource.labels\"" in shown
    assert "id: other" not in shown
    assert told["rules"]["p/r"].startswith("id: r\neffect: deny\n")
    assert f"proven by the signed checkpoint of {tampering.RECORDS} records" in shown
    assert told["proof"].startswith("proven by")


async def test_show_says_that_a_bundle_is_not_the_one_that_was_recorded(tmp_path):
    await tampering.made(tmp_path / "state")
    changed = tampering.of_file("bundles/*.tar", lambda tar: tar.replace(b"deny", b"none"))
    changed(tmp_path / "state")

    assert "NOT AS RECORDED" in run("show", "id-0", "--state", tmp_path / "state").output


async def test_show_tells_of_parts_approvals_and_what_had_to_be_done(tmp_path):
    ledger = await sample.written(tmp_path, 0)
    whole = recorded(request({}), Paper())
    handles = await ledger.handles(["user:bob"])
    part = msgspec.structs.replace(whole, id=CallId("id-2"), parent=CallId("id-1"))
    duty = Obligation("redact", "table:hr.x", {"fields": ["salary"]}, ("p/r",))
    await ledger.write(msgspec.structs.replace(whole, obligations=[duty]))
    await ledger.write(part)
    bob = PartyRecord("user", handles["user:bob"])
    await ledger.write(
        ApprovalRecord(
            SCHEMA, CallId("id-3"), CallId("id-1"), sample.TIME, "approved", "b", bob, "cli"
        )
    )
    await ledger.close()

    shown = run("show", "id-1", "--state", tmp_path).output

    assert "parts      deny  id-2" in shown
    assert f"approval   approved by user:bob, cli, {sample.TIME}" in shown
    assert "obliged    " in shown
    assert "salary" in shown
    assert "part of    id-1" in run("show", "id-2", "--state", tmp_path).output
    assert "parent     id-1" in run("show", "id-3", "--state", tmp_path).output


async def test_show_says_that_a_record_is_not_signed_yet_or_not_what_was_signed(tmp_path):
    how = sample.settings(checkpoint_every_s=3600.0)
    ledger = await sample.written(tmp_path, 1, how)
    shown = run("show", "id-0", "--state", tmp_path).output
    await ledger.close()
    tampering.of_segment(-1, lambda r: [r[0].replace(b"reload", b"relief"), *r[1:]])(tmp_path)

    assert "not signed yet" in shown
    assert "NOT PROVEN" in run("show", "id-0", "--state", tmp_path).output


def test_verify_counts_decisions_without_an_outcome(state):
    told = orjson.loads(run("verify", "--state", state, "--json").output)

    assert told["checked"]["without_outcome"] == 0
    assert told["checked"]["bundles"] is None
    assert "no bundles at hand" in run("verify", "--state", state).output


async def test_a_decision_that_was_forwarded_and_has_no_outcome_is_counted(tmp_path):
    ledger = await sample.written(tmp_path, 0)
    record = recorded(request({}), Paper())
    await ledger.write(msgspec.structs.replace(record, listener_forwarded=True))
    await ledger.close()

    shown = run("verify", "--state", tmp_path)

    assert shown.exit_code == 0
    assert "1 decision without an outcome" in shown.output


def test_show_of_what_is_not_there_is_a_usage_error(state):
    assert run("show", "id-9", "--state", state).exit_code == 2


def test_verify_of_an_intact_ledger_exits_0(state):
    shown = run("verify", state)

    assert shown.exit_code == 0
    assert shown.output.startswith("intact  3 records")
    assert run("verify", state / "ledger").exit_code == 0
    assert run("verify", "--state", state).exit_code == 0


def test_verify_of_a_changed_byte_exits_20_and_says_where(state):
    (segment,) = sample.segments(state)
    data = bytearray(segment.read_bytes())
    data[200] ^= 1
    segment.write_bytes(data)

    shown = run("verify", state)
    as_json = run("verify", state, "--json")

    assert shown.exit_code == as_json.exit_code == 20
    assert f"{segment.name}:128: record 0: a record is damaged" in shown.stderr
    problem = orjson.loads(as_json.stdout)["problem"]
    assert (problem["file"], problem["offset"], problem["seq"]) == (segment.name, 128, 0)


@pytest.mark.parametrize(
    "attack",
    [
        lambda state: shutil.rmtree(state / "ledger"),
        lambda state: (state / "ledger" / "checkpoint").unlink(),
        all_segments_gone,
    ],
    ids=["folder", "checkpoint", "segments"],
)
def test_verify_of_what_was_removed_exits_20(state, attack):
    attack(state)

    assert run("verify", state).exit_code == 20


def test_verify_takes_the_key_that_was_handed_over(state, tmp_path):
    vkey = run("key", "--state", state).output.strip()
    shutil.copytree(state / "ledger", tmp_path / "export")

    assert run("verify", tmp_path / "export", "--key", vkey).exit_code == 0


async def test_verify_with_another_logs_key_exits_20(state, tmp_path):
    other = await sample.written(tmp_path / "other", 1)
    await other.close()

    assert run("verify", state, "--key", other.verifier.text()).exit_code == 20


def test_verify_takes_a_checkpoint_that_is_held_elsewhere(state, tmp_path):
    held = tmp_path / "held.note"
    shutil.copy(state / "ledger" / "checkpoint", held)

    shown = run("verify", state, "--checkpoint", held)

    assert shown.exit_code == 0
    assert f"it begins with the records that {held} signs" in shown.output


async def test_verify_takes_an_older_checkpoint_of_the_same_log(state, tmp_path):
    held = tmp_path / "held.note"
    shutil.copy(state / "ledger" / "checkpoint", held)
    ledger = await sample.written(state, 4)
    await ledger.close()

    assert run("verify", state, "--checkpoint", held).exit_code == 0


async def test_verify_of_a_log_rolled_back_whole_exits_20_by_what_is_held(state, tmp_path):
    shutil.copytree(state, tmp_path / "old")
    ledger = await sample.written(state, 4)
    await ledger.close()
    held = tmp_path / "held.note"
    shutil.copy(state / "ledger" / "checkpoint", held)

    shown = run("verify", tmp_path / "old", "--checkpoint", held)

    assert run("verify", tmp_path / "old").exit_code == 0
    assert shown.exit_code == 20
    assert f"{held}: record 3: 7 records were signed and 3 are there" in shown.stderr


async def test_verify_of_another_history_under_the_same_key_exits_20(state, tmp_path):
    shutil.copytree(state, tmp_path / "other")
    for where, text in ((state, "what was"), (tmp_path / "other", "what is told")):
        ledger = await sample.written(where, 0)
        await ledger.write(admin(9, text=text))
        await ledger.close()
    held = state / "ledger" / "checkpoint"

    shown = run("verify", tmp_path / "other", "--checkpoint", held)
    as_json = run("verify", tmp_path / "other", "--checkpoint", held, "--json")

    assert run("verify", tmp_path / "other").exit_code == 0
    assert shown.exit_code == as_json.exit_code == 20
    assert f"{held}: the first 4 records are not those that were signed" in shown.stderr
    assert orjson.loads(as_json.stdout)["problem"]["file"] == str(held)


@pytest.mark.parametrize(
    "note",
    [b"", b"\xff\xfe\n\n\xff\n", b"nonsense\n\nmore\n", b"x" * 100_000, "of another log"],
    ids=["empty", "binary", "nonsense", "large", "of another log"],
)
async def test_verify_with_a_checkpoint_that_is_none_of_this_log_exits_20(state, tmp_path, note):
    held = tmp_path / "held.note"
    other = await sample.written(tmp_path / "other", 1)
    await other.close()
    of_other = (tmp_path / "other" / "ledger" / "checkpoint").read_bytes()
    held.write_bytes(note if isinstance(note, bytes) else of_other)

    shown = run("verify", state, "--checkpoint", held)

    assert shown.exit_code == 20
    assert f"{held}: " in shown.stderr
    assert "checkpoint" in shown.stderr


def test_verify_with_a_checkpoint_that_is_not_there_is_a_usage_error(state):
    assert run("verify", state, "--checkpoint", "nowhere.note").exit_code == 2


async def test_verify_before_the_first_checkpoint_says_so(tmp_path):
    how = sample.settings(checkpoint_every_s=3600.0)
    ledger = await sample.written(tmp_path, 2, how)
    shown = run("verify", tmp_path)
    await ledger.close()
    signed = run("verify", tmp_path)

    assert shown.exit_code == 0
    assert "root    no checkpoint yet" in shown.output
    assert "0 of them under the signed checkpoint" in shown.output
    assert "no checkpoint yet" not in signed.output


def test_verify_without_any_key_says_so_and_believes_nothing(state, tmp_path):
    shutil.copytree(state / "ledger", tmp_path / "export")

    shown = run("verify", tmp_path / "export")

    assert shown.exit_code == 2
    assert "--key" in shown.stderr


def test_verify_names_a_mirror_that_is_none_by_its_own_path(state, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)

    shown = run("verify", state, "--mirror", "empty")

    assert shown.exit_code == 20
    assert f"NOT INTACT  {tmp_path / 'empty'}: the mirror: " in shown.stderr


def test_prove_makes_the_folder_that_it_writes_into(state, tmp_path):
    out = tmp_path / "for" / "the-auditor"

    assert run("prove", "id-1", state, "--out", out).exit_code == 0
    assert {path.name for path in out.iterdir()} == {"id-1.json", "id-1.tlog-proof"}


def test_prove_says_where_it_cannot_write(state, tmp_path):
    (tmp_path / "file").touch()

    shown = run("prove", "id-1", state, "--out", tmp_path / "file" / "folder")

    assert isinstance(shown.exception, ConfigError)
    assert "cannot be made" in str(shown.exception)


def test_verify_of_a_malformed_key_is_a_usage_error(state):
    assert run("verify", state, "--key", "nonsense").exit_code == 2
    shown = run("verify", state, "--key", "a+b+ü")
    assert shown.exit_code == 2
    assert "not canonical base64" in shown.stderr


async def test_the_key_is_printed_before_the_first_record_and_stays(tmp_path):
    state = tmp_path / "state"
    state.mkdir(mode=0o700)

    printed = run("key", "--state", state, "--name", "test").output.strip()
    ledger = Ledger.open(*ledger_paths(state), sample.settings())
    await ledger.write(admin(1))
    await ledger.close()

    assert ledger.verifier.text() == printed
    assert run("key", "--state", state).output.strip() == printed
    assert run("verify", state, "--key", printed).exit_code == 0


def test_the_state_is_that_of_the_configuration(state):
    config = state.parent / "sidecar.yaml"
    config.write_text("state: ./state\nlisteners: {this: {is: not well}}\n")

    assert run("verify", "-c", config).exit_code == 0
    assert len(run("tail", "--json", "-c", config).output.splitlines()) == 3


@pytest.mark.parametrize("asked", [["tail"], ["show", "id-1"], ["verify"]], ids=lambda a: a[0])
@pytest.mark.parametrize("has_key", [False, True], ids=["nothing", "a key"])
def test_no_ledger_yet_is_said_and_is_no_damage(tmp_path, asked, has_key):
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    if has_key:
        run("key", "--state", state)

    shown = run(*asked, "--state", state)

    assert shown.exit_code == 1
    assert f"no ledger yet at {state / 'ledger'}" in shown.stderr


def test_a_ledger_that_is_gone_is_not_one_that_is_not_there_yet(state):
    shutil.rmtree(state / "ledger")

    shown = run("tail", "--state", state)

    assert isinstance(shown.exception, LedgerBroken)
    assert "is gone" in str(shown.exception)


def test_the_key_is_made_in_a_state_folder_of_our_own(tmp_path):
    state = tmp_path / "new" / "state"
    (tmp_path / "sidecar.yaml").write_text("state: ./new/state\n")

    assert run("key", "-c", tmp_path / "sidecar.yaml").exit_code == 0
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE((state / "keys").stat().st_mode) == 0o700


def test_no_key_is_made_where_others_look(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o755)

    shown = run("key", "--state", tmp_path / "state")

    assert isinstance(shown.exception, ConfigError)
    assert "chmod 700" in str(shown.exception)
    assert list((tmp_path / "state").iterdir()) == []


def test_tail_and_show_read_a_copy_of_the_ledgers_folder(state, tmp_path):
    shutil.copytree(state / "ledger", tmp_path / "export")

    assert len(run("tail", tmp_path / "export").output.splitlines()) == 3
    assert "decision id-2" in run("show", "id-2", tmp_path / "export").output


@pytest.mark.parametrize(("count", "said"), [(1, "1 record is newer"), (2, "2 records are newer")])
async def test_verify_says_how_many_are_newer_than_the_checkpoint(tmp_path, count, said):
    ledger = await sample.written(tmp_path, count, sample.settings(checkpoint_every_s=3600.0))
    shown = run("verify", tmp_path)
    await ledger.close()

    assert f"{said} than the signed checkpoint" in shown.output
    assert "newer" not in run("verify", tmp_path).output


def spoke(effect: Effect, status: Literal["held", "error", "satisfied"] = "held") -> RuleSpoke:
    return RuleSpoke(RuleId(f"{effect}-{status}"), PolicyName("p"), effect, "org", "d", status)


@pytest.mark.parametrize(
    ("outcome", "reason", "rules", "told"),
    [
        ("deny", "rule", [spoke("allow"), spoke("deny")], "by p/deny-held  "),
        ("deny", "rule", [spoke("deny"), spoke("allow", "error")], "by p/deny-held  "),
        ("deny", "rule.error", [spoke("allow"), spoke("deny", "error")],
         "by rule.error: p/deny-error (erred)  "),
        ("deny", "no_rule", [], "by no_rule  "),
        ("deny", "no_rule", [spoke("allow", "error")], "by no_rule: p/allow-error (erred)  "),
        ("deny", "obligation.unknown", [spoke("allow")], "by obligation.unknown  "),
        ("allow", "permitted", [spoke("allow"), spoke("allow", "error")], "by p/allow-held  "),
        ("allow", "permitted", [spoke("step_up", "satisfied"), spoke("allow")],
         "by p/allow-held  "),
        ("modify", "permitted", [spoke("allow"), spoke("modify")],
         "by p/allow-held, p/modify-held  "),
        ("step_up", "approval.required", [spoke("allow"), spoke("step_up")],
         "by approval.required: p/step_up-held  "),
    ],
)  # fmt: skip
async def test_tail_names_the_rules_that_decided(tmp_path, outcome, reason, rules, told):
    ledger = await sample.written(tmp_path, 0)
    record = recorded(request({}), Paper())
    await ledger.write(msgspec.structs.replace(record, outcome=outcome, reason=reason, rules=rules))
    await ledger.close()

    assert told in run("tail", "--state", tmp_path).output


async def test_tail_and_show_say_by_which_policy_and_on_whose_word(tmp_path):
    ledger = await sample.written(tmp_path, 0)
    record, _ = kept(request({}), Paper(), handles=await ledger.handles(["user:alice"]))
    proven = msgspec.structs.replace(record, asserted_by=None, verified="scram")
    said = msgspec.structs.replace(record, asserted_by="records-app", id=CallId("id-2"))
    for one in (proven, said):
        await ledger.write(one)
    await ledger.close()

    first, second = run("tail", "--state", tmp_path).output.splitlines()

    assert record.policy.version in first
    assert "says" not in first
    assert "user:alice (says records-app)" in second
    assert "user:alice, verified by scram" in run("show", "id-1", "--state", tmp_path).output
    shown = run("show", "id-2", "--state", tmp_path).output
    assert "user:alice, as records-app says, which is verified by key" in shown
    assert f"of {record.policy.bundle} {record.policy.version}" in shown


def test_show_tells_a_story_of_at_most_a_dozen_lines(state):
    shown = run("show", "id-1", "--state", state).output

    names = [line[2:12].strip() for line in shown.splitlines()[1:]]
    assert [name for name in names if name] == [
        "who", "asked", "targets", "decided by", "message", "facts", "upstream", "log", "whole",
    ]  # fmt: skip
    assert len(names) <= 12
    assert "nothing was forwarded" in shown


def test_handles_are_kept_when_asked_for(state):
    told = run("tail", "--state", state, "--handles").output

    assert "alice" not in told
    assert "user:p_" in told


def test_as_json_with_handles_is_the_ledger_to_the_byte(state):
    folder, _ = ledger_paths(state)

    told = run("tail", "--state", state, "--json", "--handles").output.encode().splitlines()

    assert told == list(Reader(folder).new())


def test_a_name_is_joined_inside_of_the_input_as_well(state):
    shown = orjson.loads(run("show", "id-1", "--state", state, "--json").output)

    asked = orjson.loads(shown["record"]["input"]["text"])
    assert asked["subject"]["id"] == "alice"
    assert shown["record"]["subject"]["id"] == "alice"


def test_a_name_with_quotes_is_joined_as_json(tmp_path):
    name = 'a"b\\c\u00e9'
    Persons.open(*persons_paths(tmp_path)).handle_of(f"user:{name}")
    (handle,) = Persons.read(*persons_paths(tmp_path)).known.values()
    record = {"input": {"text": orjson.dumps({"id": handle}).decode()}, "subject": {"id": handle}}

    told = orjson.loads(People(tmp_path).line(orjson.dumps(record)))

    assert told["subject"]["id"] == name
    assert orjson.loads(told["input"]["text"]) == {"id": name}


def test_forgotten_is_a_handle_to_every_reader_and_the_ledger_is_intact(state):
    assert "alice" in run("tail", "--state", state).output

    gone = run("forget", "user:alice", "--state", state)

    assert (gone.exit_code, run("verify", "--state", state).exit_code) == (0, 0)
    for verb in (["tail"], ["tail", "--json"], ["show", "id-1"], ["show", "id-1", "--json"]):
        told = run(*verb, "--state", state).output
        assert "alice" not in told
        assert "p_" in told
    files = [file for file in state.rglob("*") if file.is_file()]
    assert all(b"alice" not in file.read_bytes() for file in files)
    assert "person_forgotten" in run("tail", "--state", state, "-n", "3").output


def test_who_is_not_known_is_not_forgotten(state):
    gone = run("forget", "mallory", "--state", state)

    assert gone.exit_code == 1
    assert "nobody of that name" in gone.output


async def test_nobody_is_forgotten_under_a_sidecar_that_runs(state):
    ledger = Ledger.open(*ledger_paths(state))

    gone = run("forget", "user:alice", "--state", state)

    assert isinstance(gone.exception, LedgerBroken)
    assert "stop it first" in str(gone.exception)
    await ledger.close()
    assert "alice" in run("tail", "--state", state).output


def test_a_machine_that_calls_itself_by_a_handle_is_not_that_person(tmp_path):
    handle = Persons.open(*persons_paths(tmp_path)).handle_of("user:alice")
    record = {
        "subject": {"type": "user", "id": handle},
        "actors": [{"type": "agent", "id": handle}],
    }

    told = People(tmp_path).record(record)

    assert told["subject"]["id"] == "alice"
    assert told["actors"][0]["id"] == handle
