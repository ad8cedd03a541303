"""What goes over as the values in which it differs stands in the log as if it went whole."""

from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.record.canonical import split
from sidecar.record.limits import STENCILS_MAX
from sidecar.record.recorder import wire
from sidecar.record.recorder.people import SUPERVISOR
from sidecar.record.recorder.sent import brought
from sidecar.record.recorder.shape import ends_in_escape
from sidecar.record.recorder.stencils.numbers import Numbers
from sidecar.record.recorder.stencils.outlines import Outlines
from sidecar.record.recorder.worker.client import RecorderClient
from sidecar.record.recorder.worker.link import Frame
from sidecar.syntax import json
from sidecar.terms.record import AnyRecord, Hole, MadeRecord, Stencil
from sidecar.terms.words import CallId
from tests.record import sample
from tests.record.stand_recorder import Meter, Stand, connect, forwarded, outcome, running, until
from tests.record.test_recorder_owed import raw
from tests.tables import rows

PIECES = {
    "one": '{"id":"',
    "two": '","input":{"digest":"hmac-sha256:',
    "three": '","text":"',
    "four": ' at ',
    "five": ' and ',
    "six": '"},"kind":"decision"',
    "before": '"schema":"s","time":"',
    "after": '"}',
}  # fmt: skip
COUNTED = ("application", "allow", "1")
ID, TIME = CallId("01a20169-d800-738d-89dd-5e41b6bd51a0"), "2026-01-01T12:00:00.000000Z"
_ids = count()


def stencil(mark: str = "s", *, opens: bool = False) -> Stencil:
    ends = '"},"kind":"decision","listener_forwarded":true' if opens else PIECES["six"]
    told = {**PIECES, "before": f'"schema":"{mark}","time":"', "six": ends}
    one, two, three, four, five, six, before, after = (each.encode() for each in told.values())
    return Stencil((one, two, three, four, five, six), (before, after), COUNTED, opens)


def made(of: Stencil) -> MadeRecord:
    number = next(_ids)
    id = CallId(f"01a20169-d800-738d-89dd-{number:012x}")
    return MadeRecord(id, TIME, number.to_bytes(32), of)


def outlined(given: dict) -> tuple[wire.Outline, wire.Made]:
    told = {name: str(given.get(name, piece)).encode() for name, piece in PIECES.items()}
    one, two, three, four, five, six, before, after = told.values()
    four += b" " * given.get("pad", 0)
    outline = wire.Outline(
        given.get("number", 0),
        (one, two, three, four, five, six),
        (before, after),
        given.get("opens", False),
        Hole(*given["hole"]) if "hole" in given else None,
    )
    values = {"ids": ID, "times": TIME, "digests": "d" * 32} | given
    names = ("ids", "times", "digests", "texts")
    ids, times, digests, texts = (values.get(name, "").encode() for name in names)
    return outline, wire.Made(given.get("at", 0), given.get("of", 0), ids, times, digests, texts)


@pytest.mark.parametrize("row", rows("record/outlines.yaml"))
def test_case(row):
    outline, of_it = outlined(row.given)
    outlines = Outlines()

    def take() -> list[bytes]:
        outlines.take(outline)
        found = brought(wire.Write(1, 0, [], made=[of_it]), outlines)
        return [record.placed(b',"log":{},') for record in found.records]

    if row.want == "written":
        (record,) = take()
        assert json.loads(record)["id"] == ID
        assert record.count(of_it.texts.hex().encode()) == 1 or not of_it.texts
    else:
        with pytest.raises(wire.Garbled) as refused:
            take()
        assert "garbage" not in str(refused.value)


@given(
    st.tuples(st.integers(0, 35), st.sampled_from('09afgxF"\\-:\n\0é')),
    st.tuples(st.integers(0, 26), st.sampled_from('09afd"\\-T:.Z\n\0é')),
)
def test_values_that_are_taken_come_out_as_themselves(in_id, in_time):
    def changed(text: str, at: int, letter: str) -> str:
        return text[:at] + letter + text[at + 1 :]

    id, time = changed(ID, *in_id), changed(TIME, *in_time)
    outline, of_it = outlined({"ids": id, "times": time})
    outlines = Outlines()
    outlines.take(outline)

    try:
        _, (record,), _ = outlines.filled(of_it)
    except wire.Garbled:
        assert (id, time) != (ID, TIME)
    else:
        read = json.loads(record.placed(b","))
        assert (read["id"], read["time"]) == (id, time)
        assert read["input"]["text"] == f"{id} at {time} and {time}"


@given(st.text(alphabet="\\u0dé", max_size=12))
def test_where_no_escape_is_open_a_value_comes_out_as_itself_or_nothing_does(text):
    def read(more: str) -> str | None:
        try:
            return msgspec.json.decode(f'"{text}{more}"'.encode(), type=str)
        except msgspec.DecodeError:
            return None

    found = [(more, read(more)) for more in ("0" * 36, "f" * 36, "9-9-")]

    is_itself = all(one is not None and one.endswith(more) for more, one in found)
    is_nothing = all(one is None for _, one in found)
    assert ends_in_escape(text.encode()) or is_itself or is_nothing


def test_a_record_is_the_same_whole_and_in_pieces():
    of = stencil()
    frame, record = Frame(is_outcome=False), made(of)
    frame.take_made(record)
    outlines = Outlines()

    found = carried(frame, Numbers(), outlines)

    (one,) = found.records
    head, tail = split(record)
    assert one.placed(b',"log":1,') == b'%b,"log":1,%b' % (head, tail)
    assert one.head == head
    assert one.head_size == len(head)
    assert found.size == len(head) + len(tail) + 1


def test_records_of_texts_of_one_form_are_the_same_whole_and_in_pieces():
    first, numbers, outlines = b"a" * 64, Numbers(), Outlines()
    plain = stencil()
    one, two, three, four, five, six = plain.head
    head = (one, two, three, four + first + b" ", five, six)
    of = Stencil(head, plain.tail, plain.counted).opened(first)

    for how_many in (1, 3):
        frame = Frame(is_outcome=False)
        made_of = [
            msgspec.structs.replace(made(of), text=bytes([at]) * 32) for at in range(how_many)
        ]
        for record in made_of:
            frame.take_made(record)
        found = carried(frame, numbers, outlines)

        assert len(numbers) == len(outlines) == 1
        for record, one_found in zip(made_of, found.records, strict=True):
            head_half, tail = split(record)
            assert record.text.hex().encode() in head_half
            assert one_found.head == head_half
            assert one_found.head_size == len(head_half)
            assert one_found.placed(b",") == b"%b,%b" % (head_half, tail)


def carried(frame: Frame, numbers: Numbers, outlines: Outlines):
    """Return what comes of a frame at the other end."""
    *before, last = map(wire.read_worker, wire.Frames().feed(bytes(frame.encoded(0, numbers))))
    for said in before:
        assert isinstance(said, wire.Outline)
        outlines.take(said)
    assert isinstance(last, wire.Write)
    return brought(last, outlines)


def test_records_keep_their_order_among_those_that_go_whole():
    one, two = stencil("one"), stencil("two")
    records: list[AnyRecord] = [
        made(one),
        made(one),
        forwarded(1),
        made(two),
        made(one),
        forwarded(2),
        made(one),
    ]
    frame = Frame(is_outcome=False)
    for record in records:
        if isinstance(record, MadeRecord):
            frame.take_made(record)
        else:
            frame.take(wire.Item(record.id, *split(record), opens=True), record)

    found = carried(frame, Numbers(), Outlines())

    assert found.ids == [record.id for record in records]
    placed = [json.loads(record.placed(b",")) for record in found.records]
    assert [one["id"] for one in placed] == found.ids
    assert found.opens == ["id-1", "id-2"] == frame.opened


def test_a_stencil_goes_over_once_and_again_when_its_number_was_given_to_another():
    numbers, outlines, first = Numbers(), Outlines(), stencil("first")

    def is_new(of: Stencil) -> bool:
        frame, record = Frame(is_outcome=False), made(of)
        frame.take_made(record)
        before = len(numbers)
        (found,) = carried(frame, numbers, outlines).records
        assert found.placed(b",") == b"%b,%b" % split(record)
        return len(numbers) > before

    assert [is_new(first) for _ in range(2)] == [True, False]
    for number in range(STENCILS_MAX):
        is_new(stencil(str(number)))
    assert len(outlines) == len(numbers) == STENCILS_MAX
    # Its number is another's by now.
    is_new(first)


def test_no_number_is_given_to_another_within_a_frame_that_has_it():
    numbers, outlines, all_of_them = (
        Numbers(),
        Outlines(),
        [stencil(str(n)) for n in range(STENCILS_MAX)],
    )
    for each in all_of_them:
        frame = Frame(is_outcome=False)
        frame.take_made(made(each))
        carried(frame, numbers, outlines)
    frame, oldest, new = Frame(is_outcome=False), made(all_of_them[0]), made(stencil("new"))
    frame.take_made(oldest)
    frame.take_made(new)

    found = carried(frame, numbers, outlines).records

    assert [one.placed(b",") for one in found] == [b"%b,%b" % split(one) for one in (oldest, new)]
    assert len(outlines) == STENCILS_MAX


async def test_values_alone_go_over_and_whole_records_stand_in_the_log(tmp_path):
    of, records = stencil(), []
    async with running(Stand(tmp_path)) as (_, client):
        for _ in range(3):
            together = [made(of) for _ in range(4)]
            records += together
            for written in [client.write(one) for one in together]:
                await written

    kept = {one["id"]: one for one in sample.records(tmp_path)}
    for record in records:
        assert json.loads(b"%b,%b" % split(record)) == {
            name: value for name, value in kept[record.id].items() if name not in ("log", "mark")
        }


async def test_an_id_of_another_form_goes_whole(tmp_path):
    stand = Stand(tmp_path)
    async with running(stand) as (_, client):
        await client.write(MadeRecord(CallId("short"), TIME, b"d" * 32, stencil()))

    assert stand.kinds() == [("decision", "short")]


async def test_the_next_recorder_is_told_the_stencils_of_what_is_sent_again(tmp_path):
    stand, of = Stand(tmp_path), stencil()
    client, first = RecorderClient(Meter()), stand.recorder()
    await connect(first, client)
    before, lost, after = made(of), made(of), made(of)
    await client.write(before)
    await first.close()
    writing = client.write(lost)

    second = stand.recorder()
    await connect(second, client)
    await writing
    await client.write(after)
    await client.close()
    await second.close()

    assert stand.kinds() == [("decision", one.id) for one in (before, lost, after)]


async def test_a_decision_that_is_forwarded_is_open_until_its_outcome(tmp_path):
    stand = Stand(tmp_path)
    async with running(stand) as (recorder, client):
        recorder.complete()
        one, two = made(stencil(opens=True)), made(stencil(opens=True))
        await client.write(one)
        await client.write(two)
        told = msgspec.structs.replace(outcome(1), parent=one.id)
        await client.write(told)
        for connection in recorder.connections:
            connection.cut()
        await until(lambda: bool(stand.unknown()))

    assert stand.unknown() == [two.id]


async def test_stencils_are_forgotten_with_a_person_at_both_ends(tmp_path):
    stand, of = Stand(tmp_path), stencil()
    async with running(stand) as (recorder, client):
        await client.write(made(of))
        (connection,) = recorder.connections
        assert len(connection.outlines) == 1

        operator = RecorderClient(Meter())
        await connect(recorder, operator, SUPERVISOR)
        await operator.forget("user:alice")

        assert len(connection.outlines) == 0
        await client.write(made(of))
        assert len(connection.outlines) == 1
        await operator.close()


async def test_a_worker_that_sends_what_breaks_out_is_cut_off_and_nothing_of_it_is_written(
    tmp_path,
):
    stand = Stand(tmp_path)
    recorder = stand.recorder()
    outline, good = outlined({})
    bad = msgspec.structs.replace(good, ids=b'01a20169-d800-738d-89dd-5e41b6bd51"}')

    reader, writer = await raw(recorder, "bad")
    said: tuple[wire.FromWorker, ...] = (
        wire.Hello(),
        outline,
        wire.Write(1, 0, [], made=[good, bad]),
    )
    writer.write(b"".join(map(wire.frame, said)))
    await until(lambda: stand.stuck == ["bad"])
    while await reader.read(65536):
        pass
    writer.close()
    await recorder.close()

    assert stand.kinds() == []
