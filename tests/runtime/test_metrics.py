"""What is counted, and that nobody can fill the memory by it."""

import pytest

from sidecar.runtime.limits import VERSION_LABELS_MAX
from sidecar.runtime.metrics import MeteredLedger, Metrics
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
