"""What a worker may bring: one that brings anything else is cut off, and the log goes on."""

import msgspec
import pytest

from sidecar.record.fold import OpenDecisions, Revocations
from sidecar.record.keeping.feed import Feeder
from sidecar.record.keeping.history import History
from sidecar.record.recorder import wire
from sidecar.record.recorder.shape import ANY, WORKERS, check
from sidecar.record.recorder.worker.client import RecorderClient
from sidecar.record.recorder.worker.link import item_of
from sidecar.terms.decision import Obligation
from tests.record import sample
from tests.record.sample import TIME
from tests.record.stand_recorder import Meter, Stand, connect, forwarded, outcome
from tests.record.stand_recorder import until as until_it_is
from tests.record.test_commit import batch, events, is_intact, kill, opened
from tests.record.test_recorder_owed import raw
from tests.record.test_stencils import outlined
from tests.tables import rows


def brought(given: dict) -> wire.Item:
    tail = given["tail"].replace('"t"', '"' + "t" * (1 + given.get("more", 0)) + '"')
    head, tail = given["head"].encode(), tail.encode()
    opens, closes = given.get("opens", False), given.get("closes")
    return wire.Item("i1", head, tail, opens, closes, given.get("strict", False))


@pytest.mark.parametrize("row", rows("record/brought.yaml"))
def test_case(row):
    item, says = brought(row.given), ANY if row.given.get("by") == "supervisor" else WORKERS

    if row.want == "written":
        check(item, says)
    else:
        with pytest.raises(wire.Garbled) as refused:
            check(item, says)
        assert "garbage" not in str(refused.value)


def test_bytes_that_are_no_text_are_refused():
    item = wire.Item("i1", b'{"event":"\xff","id":"i1","kind":"ops"', b'"time":"t"}', strict=True)

    with pytest.raises(wire.Garbled):
        check(item)


@pytest.mark.parametrize("depth", [300, 1200, 5000])
def test_what_is_nested_deeper_than_readers_go_is_refused(depth):
    deep = b"[" * depth + b"]" * depth
    item = wire.Item("i1", b'{"a":%b,"id":"i1","kind":"decision"' % deep, b'"time":"t"}')

    with pytest.raises(wire.Garbled):
        check(item)


LIKE_A_PLACE = {"a": 1, "log": {"epoch": "e", "origin": "o", "seq": 7}, "z": 1}
DUE = Obligation("limit", "table:t", {"rows": [{"values": [LIKE_A_PLACE]}]})


@pytest.mark.parametrize(
    "record",
    [
        msgspec.structs.replace(forwarded(1), obligations=[DUE]),
        msgspec.structs.replace(outcome(1), applied=(DUE,)),
        sample.admin(1, "subject_set", n=LIKE_A_PLACE),
    ],
)
def test_a_value_that_is_like_a_place_is_written_as_text(record):
    item = item_of(record)

    check(item)
    assert b""""log":"{'epoch': 'e', """ in item.head + item.tail


def test_values_that_are_like_places_within_each_other_stay_small():
    value: dict[str, object] = {"epoch": 2**60}
    for _ in range(60):
        value = {"epoch": "e", "log": value}

    item = item_of(sample.admin(1, "subject_set", n={"log": value}))

    check(item)
    assert len(item.head) < 4000


@pytest.mark.parametrize("record", [forwarded(1), outcome(1), sample.admin(1, "subject_set")])
def test_what_workers_write_is_taken(record):
    check(item_of(record))


DEEP = b"[" * 5000 + b"]" * 5000
GARBAGE = wire.Item("i1", b'{"id":"i1","kind":"outcome"', b"garbage}", closes="d")
NESTED = wire.Item("i1", b'{"a":%b,"id":"i1","kind":"decision"' % DEEP, b'"time":"t"}')
OUTLINE, _ = outlined({"two": f'","a":{DEEP.decode()},"input":{{"digest":"hmac-sha256:'})
# A frame of its own, with more behind its members than there is.
REST = b"\x93\xa5hello\x90" + b"\x91" * 20_000 + b"\xc0"


@pytest.mark.parametrize(
    "bad",
    [
        wire.frame(wire.Write(1, 0, [item_of(forwarded(7)), GARBAGE])),
        wire.frame(wire.Write(1, 0, [item_of(forwarded(7)), NESTED])),
        wire.frame(OUTLINE),
        len(REST).to_bytes(4, "little") + REST,
    ],
    ids=["garbage", "nested", "nested stencil", "nested frame"],
)
async def test_a_worker_that_brings_what_is_no_record_is_cut_off_and_the_others_go_on(
    tmp_path, bad
):
    stand = Stand(tmp_path)
    recorder, client = stand.recorder(), RecorderClient(Meter())
    await connect(recorder, client)
    recorder.complete()

    reader, writer = await raw(recorder, "bad")
    writer.write(wire.frame(wire.Hello()) + bad)
    await until_it_is(lambda: stand.stuck == ["bad"])
    await client.write(forwarded(1))
    while await reader.read(65536):
        pass
    writer.close()
    await client.close()
    await recorder.close()

    assert [id for kind, id in stand.kinds() if kind == "decision"] == ["id-1"]
    await stand.recorder().close()
    assert is_intact(tmp_path)


# --- what stands in a log already ---

BAD = {
    "no JSON": (b'{"id":"x","kind":"outcome"', b"garbage}"),
    "no parent": (b'{"id":"x","kind":"outcome"', b'"time":"x"}'),
    "no event": (b'{"detail":{},"id":"x","kind":"admin"', b'"time":"x"}'),
    "no detail": (b'{"detail":[],"event":"revoke","id":"x","kind":"admin"', b'"time":"x"}'),
    "no list": (b"[1", b"2]"),
    "pruned nothing": (b'{"detail":{},"event":"pruned","id":"x","kind":"admin"', b'"time":"x"}'),
    "no rotation": (b'{"detail":{},"event":"key_rotated","id":"x","kind":"admin"', b'"time":"x"}'),
}


@pytest.mark.parametrize("what", BAD)
async def test_a_record_that_nobody_understands_ends_no_start_and_is_obeyed_by_nobody(
    tmp_path, what
):
    head, tail = BAD[what]
    item = wire.Item("x", head, tail)
    revocations, decisions = Revocations(), OpenDecisions()
    committer = opened(tmp_path, folds=(revocations, decisions))
    committer.commit([*batch(0), item])
    committer.commit(batch(1))
    kill(committer)

    for _ in range(2):
        committer = opened(tmp_path, folds=(revocations, decisions))
        committer.commit([])
        committer.close()
    stand = Stand(tmp_path)
    await stand.recorder().close()

    assert is_intact(tmp_path)
    assert (revocations.parties, decisions.ids) == (frozenset(), {})


def test_a_record_that_nobody_understands_is_named(tmp_path):
    committer = opened(tmp_path)
    committer.commit([*batch(0), wire.Item("x", *BAD["pruned nothing"])])
    committer.commit(batch(1))
    kill(committer)

    opened(tmp_path).close()

    told = [one["detail"] for one in sample.records(tmp_path) if one.get("kind") == "ops"]
    assert told == [{"seqs": [1]}]
    assert events(tmp_path) == ["ledger.record_unread"]


def test_a_record_that_nobody_understands_keeps_no_other_from_being_heard():
    history = History()
    place = b'"log":{"epoch":"e","origin":"o","seq":0},'
    head, tail = b'{"event":"ledger.closed","id":"c","kind":"ops",', b'"time":"%b"}' % TIME.encode()
    bad = b'{"id":"x","kind":"ops",' + place + b"garbage}"
    history.open_window = {"records_max": 1}

    unread = Feeder([history]).feed(
        [bad, head + place + tail], [len(b'{"id":"x","kind":"ops"'), len(head) - 1]
    )

    assert unread == [0]
    assert history.open_window is None
