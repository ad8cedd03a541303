"""What is counted, and that nobody can fill the memory by it."""

import asyncio

import msgspec

from sidecar.runtime import names
from sidecar.runtime.limits import OUTAGES_TOLD_EVERY_S, VERSION_LABELS_MAX
from sidecar.runtime.metrics import Counts, Metrics, Refusals, shown
from sidecar.terms.decision import BundleStamp, Decision
from sidecar.terms.errors import RecordError
from sidecar.terms.reasons import reason
from sidecar.terms.record import SCHEMA, AdminRecord, DecisionRecord
from sidecar.terms.words import CallId, PolicyVersion
from tests.record.stand_recorder import forwarded


def stamp(version: str) -> BundleStamp:
    return BundleStamp("trial", PolicyVersion(version), "sha256:0")


def decided(version: str = "1", domain: str = "data") -> DecisionRecord:
    return msgspec.structs.replace(
        forwarded(0), domain=domain, protocol="sql", outcome="deny", policy=stamp(version)
    )


def value(metrics: Metrics, name: str, *labels: str) -> float | None:
    return metrics.counted().values.get((name, labels))


def test_a_decision_is_counted_when_it_is_durable():
    metrics = Metrics()

    metrics.written([decided()], 0.001)

    assert value(metrics, names.DECISIONS, "data", "deny", "1") == 1
    durable = metrics.counts.spreads[names.DURABLE_SECONDS, ()]
    assert (sum(durable.buckets), durable.total) == (1, 0.001)


def test_a_record_that_is_lost_is_counted_as_lost_alone():
    metrics = Metrics()

    metrics.lost(1, RecordError("no paper"))

    assert value(metrics, names.LOST) == 1
    assert not [name for name, _ in metrics.counts.values if name == names.DECISIONS]


def test_other_records_are_no_decisions():
    metrics = Metrics()

    metrics.written([AdminRecord(SCHEMA, CallId("x"), "", "start")], 0.001)

    assert not [name for name, _ in metrics.counts.values if name == names.DECISIONS]


def test_versions_beyond_the_bound_are_counted_together():
    metrics = Metrics()

    for number in range(VERSION_LABELS_MAX + 5):
        metrics.written([decided(str(number))], 0.001)

    assert value(metrics, names.DECISIONS, "data", "deny", "other") == 5


def test_words_that_a_caller_chooses_are_no_labels():
    metrics = Metrics()
    decision = Decision(CallId("x"), "deny", reason("parse.protocol"), stamp("1"))

    metrics.written([decided(domain="whatever")], 0.001)
    metrics.decided("ask", "made-up-protocol", decision)

    assert b"whatever" not in shown(metrics.counted())
    assert b"made-up-protocol" not in shown(metrics.counted())
    assert value(metrics, names.ANSWERS, "ask", "other", "deny") == 1


def test_a_refused_request_is_counted_by_listener_code_and_source():
    metrics = Metrics()

    metrics.refused("ask", "credential", "tcp")

    assert value(metrics, names.REFUSED, "ask", "credential", "tcp") == 1


def test_every_name_is_shown_before_anything_has_happened():
    text = shown(Counts()).decode()

    for name, meaning in names.NAMES.items():
        behind = "_total" if meaning.kind == "counter" else ""
        assert f"# TYPE {name}{behind} {meaning.kind}" in text


def test_numbers_of_processes_are_added():
    one, other, all_ = Metrics(), Metrics(), Counts()
    for metrics, count in ((one, 2), (other, 3)):
        for _ in range(count):
            metrics.refused("ask", "credential", "tcp")
        metrics.spent([0, 0, 0.0001 * count, 0, 0])

    for metrics in (one, other):
        all_.take(metrics.snapshot())

    assert all_.values[names.REFUSED, ("ask", "credential", "tcp")] == 5
    spread = all_.spreads[names.STAGE_SECONDS, ("decide",)]
    assert (sum(spread.buckets), round(spread.total, 6)) == (2, 0.0005)


def test_of_a_process_that_is_gone_counters_stay_and_gauges_do_not():
    gone, all_ = Metrics(), Counts()
    gone.refused("ask", "credential", "tcp")
    gone.counts.put(names.QUEUE, (), 7)

    all_.take(gone.snapshot(), is_over=True)

    assert all_.values[names.REFUSED, ("ask", "credential", "tcp")] == 1
    assert (names.QUEUE, ()) not in all_.values


def test_a_call_may_stand_for_others_of_which_the_time_was_not_taken():
    metrics = Metrics()
    metrics.spent([0.00002], 16)
    metrics.spent([0.00002])

    text = shown(metrics.counted()).decode()

    assert 'sidecar_stage_seconds_bucket{le="2.5e-05",stage="total"} 17.0' in text
    assert 'sidecar_stage_seconds_count{stage="parse"} 17.0' in text


def test_no_more_protocols_are_put_by_than_the_bound_says(monkeypatch):
    monkeypatch.setattr("sidecar.runtime.metrics.ANSWERS_MAX", 4)
    metrics = Metrics()
    decision = Decision(CallId("x"), "deny", reason("rule"), stamp("1"))
    for number in range(11):
        metrics.decided("ask", f"made-up-{number}", decision)

    assert len(metrics._answers) <= 4
    assert value(metrics, names.ANSWERS, "ask", "other", "deny") == 11


def test_buckets_are_shown_as_the_format_wants_them():
    metrics = Metrics()
    metrics.spent([0.00002])
    metrics.spent([100.0])

    text = shown(metrics.counted()).decode()

    assert 'sidecar_stage_seconds_bucket{le="1e-05",stage="parse"} 0.0' in text
    assert 'sidecar_stage_seconds_bucket{le="2.5e-05",stage="parse"} 1.0' in text
    assert 'sidecar_stage_seconds_bucket{le="+Inf",stage="parse"} 2.0' in text
    assert 'sidecar_stage_seconds_count{stage="parse"} 2.0' in text


class Notes:
    """What refusals were told to the ledger; fails while `is_full`."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.is_full = False

    async def __call__(self, detail) -> None:
        if self.is_full:
            raise RecordError("no paper")
        assert (detail["listener"], detail["source"]) == ("ask", "tcp")
        self.told.append((detail["code"], detail["count"]))


async def test_refusals_before_a_call_are_one_line_and_one_record_of_each_kind(caplog):
    metrics, notes = Metrics(), Notes()
    refusals = Refusals(metrics, notes)
    for _ in range(1000):
        metrics.refused("ask", "credential", "tcp")
    metrics.refused("ask", "identity.assert", "tcp")

    await refusals.tell()
    await refusals.tell()

    assert notes.told == [("credential", 1000), ("identity.assert", 1)]
    assert [record.getMessage() for record in caplog.records] == [
        "1000 refused before there was a call: credential, over tcp at listener ask",
        "1 refused before there was a call: identity.assert, over tcp at listener ask",
    ]


async def test_refusals_that_cannot_be_recorded_are_recorded_later_and_logged_once(caplog):
    metrics, notes = Metrics(), Notes()
    refusals = Refusals(metrics, notes)
    notes.is_full = True
    for _ in range(3):
        metrics.refused("ask", "credential", "tcp")
        await refusals.tell()
    notes.is_full = False

    await refusals.tell()

    assert notes.told == [("credential", 3)]
    assert len(caplog.records) == 3


async def test_a_record_on_its_way_at_the_end_is_not_told_twice():
    metrics, notes, gate, reached = Metrics(), Notes(), asyncio.Event(), asyncio.Event()

    async def slow(detail) -> None:
        reached.set()
        await gate.wait()
        await notes(detail)

    refusals = Refusals(metrics, slow, every_s=0.001)
    metrics.refused("ask", "credential", "tcp")
    running = asyncio.create_task(refusals.run())
    await reached.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    gate.set()

    await refusals.tell()

    assert notes.told == [("credential", 1)]


async def test_what_the_ledger_refused_itself_is_not_told_as_a_refusal():
    metrics, notes = Metrics(), Notes()
    metrics.refused("ask", RecordError.code, "tcp")

    await Refusals(metrics, notes).tell()

    assert notes.told == []


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


NO_PAPER = RecordError("no paper")


def test_an_outage_is_one_line_when_it_begins_and_one_when_it_ends(caplog):
    metrics = Metrics(Clock())
    for _ in range(5):
        metrics.lost(1, NO_PAPER)
    for _ in range(5):
        metrics.written([decided()], 0.001)

    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [
        ("ERROR", "calls are refused, their records are not durable: no paper"),
        ("WARNING", "records are durable again; 5 were refused"),
    ]


def test_a_disk_that_comes_and_goes_does_not_fill_the_log(caplog):
    clock = Clock()
    metrics = Metrics(clock)
    for _ in range(20):
        metrics.lost(1, NO_PAPER)
        metrics.written([decided()], 0.001)
    assert len(caplog.records) == 2

    clock.now_s = OUTAGES_TOLD_EVERY_S
    metrics.lost(1, NO_PAPER)

    assert len(caplog.records) == 3
