"""A recorded decision comes out as it did, or otherwise, or it is said what is missing."""

import json
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest

from sidecar.record.audit.export import Asked as Wanted
from sidecar.record.audit.export import Lines, export
from sidecar.record.disk import DISK
from sidecar.record.ledger import ledger_paths
from sidecar.record.proof import identity
from sidecar.record.segments.segment import HEADER_BYTES, chunks, framed, segment_names
from sidecar.record.verify import CHECKPOINT
from sidecar.review.replay import Again, Differs, Same, read_recorded
from sidecar.review.replay.beside import Beside
from sidecar.review.replay.counts import Counts
from sidecar.review.replay.lines import lines, shares
from sidecar.review.replay.run import Asked, replay
from sidecar.terms.errors import LedgerBroken
from tests.record import sample
from tests.review import history
from tests.review.history import ALL, CALLS
from tests.tables import Row, rows

BESIDE = {
    "names": ("persons.table",),
    "keys": ("keys/inputs.key",),
    "inputs": ("inputs",),
    "entities": ("entities",),
    "bundles": ("bundles",),
}


def lose(state: Path, what: str) -> None:
    for name in BESIDE[what]:
        path = state / name
        assert path.exists(), f"the row loses what was never there: {what}"
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def counted(asked: Asked, bundle, base=None) -> Counts:
    return replay(asked, bundle, base, lambda _: None)


@pytest.mark.parametrize("row", rows("review/replay.yaml"))
def test_case(row: Row, tmp_path) -> None:
    given: dict[str, Any] = row.given
    then = history.bundle_of(given["then"])
    now = history.bundle_of(given["now"], given.get("catalog"), "2.0.0")
    entities = given["entities"].encode() if "entities" in given else None
    state = history.record(
        tmp_path / "state",
        then,
        history.calls(given["calls"]),
        revoked=given.get("revoked", ()),
        entities=entities,
    )
    for what in given.get("lost", ()):
        lose(state, what)

    own = counted(Asked(state), then)
    counts = counted(Asked(state, as_read=given.get("as_read", False)), now)

    want = row.want
    said = (counts.same, dict(counts.differs), counts.gone)
    assert said == (want.get("same", 0), want.get("differs", {}), want.get("gone", 0))
    assert (own.same, dict(own.differs)) == (len(given["calls"]) - want.get("own", 0), {})
    assert own.gone == want.get("own", 0)
    assert sorted(counts.missing) == sorted(want.get("missing", []))
    for name, tables in (("rules", counts.rules), ("subjects", counts.subjects)):
        found = {key for table in tables.values() for key in table}
        assert name not in want or found == set(want[name])
    assert "told" not in want or dict(counts.told) == want["told"]


@pytest.fixture
def state(tmp_path) -> Path:
    return history.recorded(tmp_path / "state")


def ids(path: Path, beside: Path | None = None) -> list[str]:
    return [one.record.id[-1] for one in read_recorded(path, beside)]


def test_records_are_read_from_wherever_they_stand(state, tmp_path, exported_to) -> None:
    ledger, _ = ledger_paths(state)
    (segment,) = segment_names(DISK.names(ledger))
    file = tmp_path / "some.jsonl"
    file.write_bytes(b"".join(line + b"\n" for one in shares(state) for line in lines(one)))

    found = [ids(path) for path in (state, ledger, ledger / segment, file, exported_to(state))]

    assert found == [["0", "1", "2", "3"]] * 5


@pytest.fixture
def exported_to(tmp_path):
    def exported(state: Path) -> Path:
        ledger, key = ledger_paths(state)
        trusted = identity.load(DISK, key).verifier
        out = tmp_path / "export"
        export(
            ledger, trusted, out, Wanted("jsonl", lambda folder, _: Lines(folder / "records.jsonl"))
        )
        return Path(out)

    return exported


def test_a_file_of_lines_is_shared_out_without_losing_or_doubling_a_line(
    tmp_path, monkeypatch
) -> None:
    file = tmp_path / "x.jsonl"
    said = [f'{{"n":{number},"x":"{"y" * (number % 17)}"}}'.encode() for number in range(200)]
    file.write_bytes(b"\n".join(said))

    for size in (1, 7, 20, 21, 300, 100_000):
        monkeypatch.setattr("sidecar.review.replay.lines.SHARE_BYTES", size)
        assert [line for share in shares(file) for line in lines(share)] == said


def test_names_are_joined_from_a_state_folder_that_is_told(state, tmp_path) -> None:
    copy = shutil.copytree(ledger_paths(state)[0], tmp_path / "copy")

    (mine, *_), (other, *_) = list(read_recorded(copy, state)), list(read_recorded(copy))

    assert mine.subject == "user:alice"
    assert other.subject.startswith("user:p_")


def test_a_damaged_record_ends_the_replay(tmp_path) -> None:
    calls = history.calls([{"sql": "SELECT note FROM notes"}] * 30)
    how = sample.settings(segment_bytes_max=20_000)
    state = history.record(tmp_path / "s", history.bundle_of(ALL), calls, how=how)
    first, *rest = sample.segments(state)
    assert rest
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)

    with pytest.raises(LedgerBroken, match="cannot be read"):
        counted(Asked(state), history.bundle_of(ALL))


def test_a_missing_segment_ends_the_replay(tmp_path) -> None:
    calls = history.calls([{"sql": "SELECT note FROM notes"}] * 60)
    how = sample.settings(segment_bytes_max=20_000)
    state = history.record(tmp_path / "s", history.bundle_of(ALL), calls, how=how)
    found = sample.segments(state)
    assert len(found) > 2
    found[1].unlink()

    with pytest.raises(LedgerBroken, match="are missing"):
        counted(Asked(state), history.bundle_of(ALL))


def test_a_record_that_is_still_written_is_left_for_later(state) -> None:
    (segment,) = sample.segments(state)
    torn = framed([b'{"kind":"decision"}'])[:-3]
    segment.write_bytes(segment.read_bytes() + torn)

    assert ids(state) == ["0", "1", "2", "3"]


def test_a_record_that_is_promised_is_no_torn_one(state) -> None:
    (segment,) = sample.segments(state)
    whole = segment.read_bytes()
    (last,) = [chunk.offsets[-1] for chunk in chunks(lambda n, at: whole[at : at + n], len(whole))]

    for end in (len(whole) - 1, len(whole) - 100, last):
        segment.write_bytes(whole[:end])
        for path in (state, segment):
            with pytest.raises(LedgerBroken, match=r"cannot be read|are missing"):
                ids(path)


def test_a_damaged_record_of_the_last_segment_ends_the_replay(state) -> None:
    (segment,) = sample.segments(state)
    whole = segment.read_bytes()
    (offsets,) = [chunk.offsets for chunk in chunks(lambda n, at: whole[at : at + n], len(whole))]

    for at in offsets:
        data = bytearray(whole)
        data[at + 40] ^= 1
        segment.write_bytes(data)
        with pytest.raises(LedgerBroken, match="cannot be read"):
            ids(state)


def test_a_damaged_record_with_a_batch_behind_it_was_durable(state) -> None:
    (segment,) = sample.segments(state)
    (segment.parent / CHECKPOINT).unlink()
    data = bytearray(segment.read_bytes())
    data[HEADER_BYTES + 40] ^= 1
    segment.write_bytes(data)

    with pytest.raises(LedgerBroken, match="cannot be read"):
        ids(state)


def test_a_checkpoint_that_is_none_ends_the_replay(state) -> None:
    (ledger_paths(state)[0] / CHECKPOINT).write_bytes(b"x\n")

    with pytest.raises(LedgerBroken, match="checkpoint"):
        ids(state)


def test_entities_that_were_changed_are_gone(tmp_path) -> None:
    said = {"when": "entity('service', subject.id).level == 2"}
    rules = [{"id": "trusted", "effect": "allow", **said}]
    state = history.record(
        tmp_path / "s",
        history.bundle_of(rules),
        history.calls([{"sql": "SELECT note FROM notes"}]),
        entities=b"{service: {batch: {level: 2}}}",
    )
    lose(state, "keys")
    assert counted(Asked(state), history.bundle_of(rules)).same == 1
    (file,) = (state / "entities").iterdir()
    file.chmod(0o600)
    file.write_bytes(b"{service: {batch: {level: 3}}}")

    counts = counted(Asked(state), history.bundle_of(rules))

    assert (counts.same, counts.gone) == (0, 1)
    assert list(counts.missing) == ["the fact entity(service, …)"]


def test_what_entities_say_of_somebody_whom_nobody_knows_is_gone(tmp_path) -> None:
    rules = [{"id": "few", "effect": "allow", "when": "entity('user', subject.id).level == 2"}]
    state = history.record(
        tmp_path / "s",
        history.bundle_of(rules),
        history.calls([{"sql": "SELECT note FROM notes", "subject": "user:alice"}]),
        entities=b"{user: {alice: {level: 2}}}",
    )
    lose(state, "keys")
    lose(state, "names")

    assert counted(Asked(state), history.bundle_of(rules)).gone == 1


def test_a_decision_in_a_file_of_lines_may_be_spaced_otherwise(state, tmp_path) -> None:
    file = tmp_path / "x.jsonl"
    told = [orjson.loads(line) for one in shares(state) for line in lines(one)]
    file.write_text("".join(json.dumps(one, indent=None) + "\n" for one in told))
    assert '"kind": "decision"' in file.read_text()

    assert ids(file) == ["0", "1", "2", "3"]


def test_an_obligation_that_may_not_be_carried_out_fails_what_asks_for_it(state) -> None:
    cut = {"id": "cut", "effect": "modify", "obligations": [{"type": "limit_rows", "max": 5}]}
    counts = counted(Asked(state), history.bundle_of([*ALL, cut]))

    assert [counts.has(one) for one in ("obligations", "allow-to-deny", "any")] == [True] * 3
    assert not counts.has("deny-to-allow")


def test_sealed_segments_are_read_like_others(tmp_path) -> None:
    calls = history.calls([{"sql": "SELECT note FROM notes"}] * 30)
    how = sample.settings(segment_bytes_max=20_000, seals=True)
    state = history.record(tmp_path / "s", history.bundle_of(ALL), calls, how=how)
    assert any(one.name.endswith(".zst") for one in sample.segments(state))

    counts = counted(Asked(state), history.bundle_of(ALL))

    assert (counts.records, counts.same) == (30, 30)


def test_records_of_a_time_are_chosen(state) -> None:
    since, until = "2026-09-21T14:13:21.000000Z", "2026-09-21T14:13:22.000000Z"

    counts = counted(Asked(state, since=since, until=until), history.bundle_of(ALL))

    assert counts.records == 2


def test_a_base_stands_for_a_bundle_that_is_not_kept(state) -> None:
    lose(state, "bundles")
    now = history.bundle_of([{"id": "none", "effect": "deny"}], version="2.0.0")

    assert counted(Asked(state), now).gone == 4
    assert counted(Asked(state), now, history.bundle_of(ALL)).differs == {"allow-to-deny": 4}


def test_many_processes_count_what_one_does(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("sidecar.review.replay.run.PARALLEL_BYTES_MIN", 1)
    calls = history.calls(CALLS * 12)
    how = sample.settings(segment_bytes_max=40_000)
    state = history.record(tmp_path / "s", history.bundle_of(ALL), calls, how=how)
    assert len(sample.segments(state)) > 1
    now = history.bundle_of([{"id": "http", "effect": "allow", "match": {"protocols": ["http"]}}])

    one, two = (counted(Asked(state, processes=number), now) for number in (1, 2))

    assert one.json() == two.json()
    assert one.records == 48


def test_a_question_that_was_asked_before_is_not_decided_again(state) -> None:
    beside = Beside(state)
    again = Again(history.bundle_of(ALL), beside)
    (first, *_) = read_recorded(state)

    one, two = again(first), again(first)
    assert isinstance(one, Same | Differs)
    assert isinstance(two, Same | Differs)
    assert one.now is two.now


def test_who_writes_the_time_of_a_call_into_it_is_asked_alone(tmp_path) -> None:
    at = "2026-09-21T14:13:20.000000Z"
    calls = history.calls(
        [{"http": f"GET http://api.test/{at}"}, {"http": "GET http://api.test/x"}]
    )
    rules = [{"id": "x", "effect": "allow", "when": f"request.http.path == '/{at}'"}]
    state = history.record(tmp_path / "s", history.bundle_of(rules), calls)

    assert counted(Asked(state), history.bundle_of(rules)).same == 2


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"nothing",
        b"7",
        b"{}",
        b'{"kind":7}',
        b'{"kind":"decision"}',
        b'{"kind": "decision"}',
        b'{"kind":"decisi\\u006fn"}',
        b'x"kind":"decision"',
    ],
)
def test_a_line_that_is_no_record_is_told(tmp_path, line) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(line + b"\n")

    with pytest.raises(LedgerBroken):
        counted(Asked(file), history.bundle_of(ALL))
