"""What is counted: one registry, a ledger that counts what it writes, and what listeners count.

Decisions are counted where all of them pass, at the ledger: no listener can forget to. A call takes
its bundle once, at its start, and its decision record is written at its end, so the time between
is the decision's (`begun` notes the first in the call's own context). Labels come from closed lists
or are bounded: a caller must not be able to fill the memory with label values.

What is refused before there is a call leaves no decision, so it is told a second later: one line of
the log and one record for each listener, source and code, however many there were (`Refusals`).
"""

import asyncio
import logging
import time
from collections import Counter as Tally
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from sidecar.flow import Ledger
from sidecar.policy.bundle import Bundle
from sidecar.runtime.limits import OUTAGES_TOLD_EVERY_S, REFUSALS_TOLD_EVERY_S, VERSION_LABELS_MAX
from sidecar.terms.call import Json
from sidecar.terms.decision import Decision
from sidecar.terms.errors import RecordError
from sidecar.terms.record import AnyRecord, DecisionRecord
from sidecar.terms.words import DOMAINS, OUTCOMES, PROTOCOLS

_log = logging.getLogger("sidecar.ledger")
_OTHER: Final = "other"
# Who cannot be recorded was decided: the ledger tells of its own outages.
_NOT_TOLD: Final = frozenset((RecordError.code,))
_SECONDS: Final = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5,
)  # fmt: skip

_begun: ContextVar[float] = ContextVar("when the call under way began")


def begun() -> None:
    """Note that a call begins here, in this task."""
    _begun.set(time.perf_counter())


class Metrics:
    """Every number of one worker; the names stand in this room's README."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._versions: set[str] = set()
        self._decisions = Counter(
            "sidecar_decisions",
            "Decisions that became durable.",
            ("domain", "outcome", "bundle_version"),
            registry=registry,
        )
        self._seconds = Histogram(
            "sidecar_decision_seconds",
            "From the start of a call to its durable record.",
            ("domain",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._answers = Counter(
            "sidecar_answers",
            "Decisions answered, by listener.",
            ("listener", "protocol", "outcome"),
            registry=registry,
        )
        self._refused = Counter(
            "sidecar_refused_requests",
            "Requests refused before there was a call, the unauthenticated among them.",
            ("listener", "code", "source"),
            registry=registry,
        )
        self._records = Counter(
            "sidecar_ledger_records", "Records that became durable.", ("kind",), registry=registry
        )
        self._lost = Counter(
            "sidecar_ledger_refusals",
            "Records that could not be made durable: the call was refused.",
            registry=registry,
        )
        self._write_seconds = Histogram(
            "sidecar_ledger_write_seconds",
            "From handing over a record to its being durable.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._reloads = Counter(
            "sidecar_bundle_reloads",
            "Reloads, by result: ok, refused.",
            ("result",),
            registry=registry,
        )
        self.refusals = Tally[tuple[str, str, str]]()
        self._active = Gauge(
            "sidecar_bundle_active", "1 for the bundle in force.", ("name", "version", "digest"),
            registry=registry,
        )  # fmt: skip
        self._activated = Gauge(
            "sidecar_bundle_activated_timestamp_seconds",
            "When the bundle in force was activated.",
            registry=registry,
        )
        for result in ("ok", "refused"):
            self._reloads.labels(result)

    def refused(self, listener: str, code: str, source: str) -> None:
        """Count a request that was refused before there was a Call."""
        self._refused.labels(listener, code, source).inc()
        if code not in _NOT_TOLD:
            self.refusals[listener, source, code] += 1

    def decided(self, listener: str, protocol: str, decision: Decision) -> None:
        """Count a decision that a listener answered."""
        self._answers.labels(listener, _among(protocol, PROTOCOLS), decision.outcome).inc()

    def activated(self, bundle: Bundle) -> None:
        """Show `bundle` as the one in force."""
        self._active.clear()
        self._active.labels(bundle.name, bundle.version, bundle.digest).set(1)
        self._activated.set_to_current_time()

    def reloaded(self, *, ok: bool) -> None:
        """Count a reload."""
        self._reloads.labels("ok" if ok else "refused").inc()

    def recorded(self, record: AnyRecord, seconds: float) -> None:
        """Count a durable record, and the decision that it is."""
        self._records.labels(str(record.__struct_config__.tag)).inc()
        self._write_seconds.observe(seconds)
        if isinstance(record, DecisionRecord):
            domain = _among(record.domain, DOMAINS)
            outcome = _among(record.outcome, OUTCOMES)
            self._decisions.labels(domain, outcome, self._version(record.policy.version)).inc()
            started = _begun.get(None)
            if started is not None:
                self._seconds.labels(domain).observe(time.perf_counter() - started)

    def lost(self) -> None:
        """Count a record that did not become durable."""
        self._lost.inc()

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def _version(self, version: str) -> str:
        """Return `version`, or `other` when a worker has seen too many of them."""
        if version in self._versions or len(self._versions) < VERSION_LABELS_MAX:
            self._versions.add(version)
            return version
        return _OTHER


class Refusals:
    """Tells the log and the ledger, now and then, what was refused before there was a call.

    No answer waits for it. What cannot be recorded now is recorded with what comes later.
    """

    def __init__(
        self,
        metrics: Metrics,
        note: Callable[[dict[str, Json]], Awaitable[None]],
        every_s: float = REFUSALS_TOLD_EVERY_S,
    ) -> None:
        self._metrics = metrics
        self._every_s = every_s
        self._note = note
        self._owed = Tally[tuple[str, str, str]]()
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Tell for ever."""
        while True:
            await asyncio.sleep(self._every_s)
            # Why shielded: a record that is on its way at the end must not be told twice.
            await asyncio.shield(self.tell())

    async def tell(self) -> None:
        """Tell what has come since the last time."""
        async with self._lock:
            found, self._metrics.refusals = self._metrics.refusals, Tally()
            for (listener, source, code), count in sorted(found.items()):
                text = "%d refused before there was a call: %s, over %s at listener %s"
                _log.warning(text, count, code, source, listener)
            self._owed += found
            for key in sorted(self._owed):
                if not await self._recorded(key):
                    return

    async def _recorded(self, key: tuple[str, str, str]) -> bool:
        listener, source, code = key
        count = self._owed[key]
        try:
            await self._note({"listener": listener, "source": source, "code": code, "count": count})
        except RecordError:
            # The ledger has told of its outage.
            return False
        del self._owed[key]
        return True


class MeteredLedger:
    """The ledger, counted; that it refuses, and that it no longer does, is one line of the log."""

    def __init__(
        self, ledger: Ledger, metrics: Metrics, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._now_s = now_s
        self._lost = 0
        self._told_s: float | None = None
        self._is_told = False

    async def write(self, record: AnyRecord) -> None:
        """Return when `record` is durable. Raises RecordError."""
        started = time.perf_counter()
        try:
            await self._ledger.write(record)
        except RecordError as error:
            self._metrics.lost()
            self._tell_lost(error)
            raise
        self._metrics.recorded(record, time.perf_counter() - started)
        if self._lost:
            self._tell_well()

    def _tell_lost(self, error: RecordError) -> None:
        """Say once that an outage begins; a disk that comes and goes does not fill the log."""
        self._lost += 1
        now_s = self._now_s()
        is_new = self._lost == 1
        if is_new and (self._told_s is None or now_s - self._told_s >= OUTAGES_TOLD_EVERY_S):
            self._told_s, self._is_told = now_s, True
            _log.error("calls are refused, their records are not durable: %s", error)

    def _tell_well(self) -> None:
        lost, self._lost = self._lost, 0
        if self._is_told:
            self._is_told = False
            _log.warning("records are durable again; %d were refused", lost)


def _among(word: str, words: tuple[str, ...]) -> str:
    return word if word in words else _OTHER
