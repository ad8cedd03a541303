"""What is counted, and that nobody can fill the memory by it."""

import asyncio

import pytest

from sidecar.runtime.limits import OUTAGES_TOLD_EVERY_S, VERSION_LABELS_MAX
from sidecar.runtime.metrics import MeteredLedger, Metrics, Refusals
from sidecar.terms.decision import BundleStamp, Decision
from sidecar.terms.errors import RecordError
from sidecar.terms.reasons import reason
from sidecar.terms.record import SCHEMA, AdminRecord, DecisionRecord, InputRecord, PartyRecord
from sidecar.terms.words import CallId, PolicyVersion


class Paper:
    def __init__(self, *, is_full: bool = False) -> None:
        self.is_full = is_full

    async def write(self, record) -> None:
        if self.is_full:
            raise RecordError("no paper")


def stamp(version: str) -> BundleStamp:
    return BundleStamp("trial", PolicyVersion(version), "sha256:0")


def decided(version: str = "1", domain: str = "data") -> DecisionRecord:
    return DecisionRecord(
        schema=SCHEMA,
        id=CallId("x"),
        time="",
        listener="ask",
        upstream="default",
        domain=domain,
        protocol="sql",
        phase="call",
        subject=PartyRecord("user", "a"),
        actors=[],
        verified="key",
        effect="deny",
        outcome="deny",
        reason="rule",
        policy=stamp(version),
        engine="e",
        targets=[],
        rules=[],
        obligations=[],
        facts=[],
        errors=[],
        input=InputRecord("sha256:0", "none"),
    )


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


async def test_a_decision_is_counted_when_it_is_durable():
    metrics = Metrics()

    await MeteredLedger(Paper(), metrics).write(decided())

    labels = {"domain": "data", "outcome": "deny", "bundle_version": "1"}
    assert value(metrics, "sidecar_decisions_total", **labels) == 1
    assert value(metrics, "sidecar_ledger_records_total", kind="decision") == 1


async def test_a_record_that_is_lost_is_counted_as_lost_alone():
    metrics = Metrics()

    with pytest.raises(RecordError):
        await MeteredLedger(Paper(is_full=True), metrics).write(decided())

    assert value(metrics, "sidecar_ledger_refusals_total") == 1
    assert b"sidecar_decisions_total{" not in metrics.text()


async def test_other_records_are_no_decisions():
    metrics = Metrics()

    await MeteredLedger(Paper(), metrics).write(AdminRecord(SCHEMA, CallId("x"), "", "start"))

    assert value(metrics, "sidecar_ledger_records_total", kind="admin") == 1
    assert b"sidecar_decisions_total{" not in metrics.text()


async def test_versions_beyond_the_bound_are_counted_together():
    metrics = Metrics()
    ledger = MeteredLedger(Paper(), metrics)

    for number in range(VERSION_LABELS_MAX + 5):
        await ledger.write(decided(str(number)))

    labels = {"domain": "data", "outcome": "deny", "bundle_version": "other"}
    assert value(metrics, "sidecar_decisions_total", **labels) == 5


async def test_words_that_a_caller_chooses_are_no_labels():
    metrics = Metrics()
    decision = Decision(CallId("x"), "deny", reason("parse.protocol"), stamp("1"))

    await MeteredLedger(Paper(), metrics).write(decided(domain="whatever"))
    metrics.decided("ask", "made-up-protocol", decision)

    assert b"whatever" not in metrics.text()
    assert b"made-up-protocol" not in metrics.text()
    labels = {"listener": "ask", "protocol": "other", "outcome": "deny"}
    assert value(metrics, "sidecar_answers_total", **labels) == 1


def test_a_refused_request_is_counted_by_listener_code_and_source():
    metrics = Metrics()

    metrics.refused("ask", "credential", "tcp")

    labels = {"listener": "ask", "code": "credential", "source": "tcp"}
    assert value(metrics, "sidecar_refused_requests_total", **labels) == 1


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


async def lose(ledger: MeteredLedger) -> None:
    with pytest.raises(RecordError):
        await ledger.write(decided())


async def test_an_outage_is_one_line_when_it_begins_and_one_when_it_ends(caplog):
    paper = Paper(is_full=True)
    ledger = MeteredLedger(paper, Metrics(), Clock())
    for _ in range(5):
        await lose(ledger)
    paper.is_full = False
    for _ in range(5):
        await ledger.write(decided())

    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [
        ("ERROR", "calls are refused, their records are not durable: no paper"),
        ("WARNING", "records are durable again; 5 were refused"),
    ]


async def test_a_disk_that_comes_and_goes_does_not_fill_the_log(caplog):
    paper, clock = Paper(), Clock()
    ledger = MeteredLedger(paper, Metrics(), clock)
    for _ in range(20):
        for paper.is_full in (True, False):
            if paper.is_full:
                await lose(ledger)
            else:
                await ledger.write(decided())
    assert len(caplog.records) == 2

    clock.now_s = OUTAGES_TOLD_EVERY_S
    paper.is_full = True
    await lose(ledger)

    assert len(caplog.records) == 3
