"""What is counted: numbers of one process, their sum over all, and Prometheus' text of it.

Counting is a dictionary and a list of buckets, for it is on the way of every call; names and help
stand in `runtime/names.py`. Each process answers with a snapshot of what it has counted since it
was started, the supervisor adds those of processes that are gone, so no counter ever goes back.
Labels come from closed lists or are bounded: a caller must not be able to fill the memory with
label values.

What is refused before there is a call leaves no decision, so it is told a second later: one line of
the log and one record for each listener, source and code, however many there were (`Refusals`).
"""

import asyncio
import logging
import time
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from sidecar.policy.bundle import Bundle
from sidecar.runtime import names
from sidecar.runtime.limits import (
    ANSWERS_MAX,
    OUTAGES_TOLD_EVERY_S,
    REFUSALS_TOLD_EVERY_S,
    SPENT_MAX,
    VERSION_LABELS_MAX,
)
from sidecar.runtime.names import NAMES, SECONDS
from sidecar.terms.call import Json
from sidecar.terms.decision import Decision
from sidecar.terms.errors import RecordError
from sidecar.terms.record import AnyRecord, DecisionRecord, MadeRecord
from sidecar.terms.spent import STAGES
from sidecar.terms.words import DOMAINS, OUTCOMES, PROTOCOLS

_log = logging.getLogger("sidecar.ledger")
_OTHER: Final = "other"
# Who cannot be recorded was decided: the ledger tells of its own outages.
_NOT_TOLD: Final = frozenset((RecordError.code,))
Labels = tuple[str, ...]


class Spread(msgspec.Struct, array_like=True):
    """A histogram: how many fell into each bucket, the last without an end, and their sum."""

    buckets: list[int]
    total: float = 0.0


class Snapshot(msgspec.Struct):
    """What one process has counted: (name, labels) → value."""

    values: list[tuple[str, Labels, float]] = []
    spreads: list[tuple[str, Labels, Spread]] = []


class Counts:
    """Numbers that can be added."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, Labels], float] = {}
        self.spreads: dict[tuple[str, Labels], Spread] = {}

    def add(self, name: str, labels: Labels = (), value: float = 1) -> None:
        """Add to a counter."""
        key = (name, labels)
        self.values[key] = self.values.get(key, 0) + value

    def put(self, name: str, labels: Labels, value: float) -> None:
        """Set a gauge."""
        self.values[name, labels] = value

    def clear(self, name: str) -> None:
        """Forget every label of a gauge."""
        for key in [key for key in self.values if key[0] == name]:
            del self.values[key]

    def observe(self, name: str, labels: Labels, seconds: float, count: int = 1) -> None:
        """Count a duration `count` times."""
        spread = self.spread(name, labels)
        spread.buckets[bisect_left(SECONDS, seconds)] += count
        spread.total += seconds * count

    def spread(self, name: str, labels: Labels) -> Spread:
        """Return a histogram, to be counted in directly."""
        found = self.spreads.get((name, labels))
        if found is None:
            found = self.spreads[name, labels] = Spread([0] * (len(SECONDS) + 1))
        return found

    def snapshot(self) -> Snapshot:
        """Return what was counted so far."""
        return Snapshot(
            [(name, labels, value) for (name, labels), value in self.values.items()],
            [(name, labels, spread) for (name, labels), spread in self.spreads.items()],
        )

    def take(self, counted: Snapshot, *, is_over: bool = False) -> None:
        """Add what another process has counted; of one that is over only what can only grow."""
        for name, labels, value in counted.values:
            if not (is_over and NAMES[name].kind == "gauge"):
                self.add(name, labels, value)
        for name, labels, spread in counted.spreads:
            mine = self.spreads.setdefault((name, labels), Spread([0] * (len(SECONDS) + 1)))
            mine.buckets = [a + b for a, b in zip(mine.buckets, spread.buckets, strict=True)]
            mine.total += spread.total


class _Shown(Collector):
    """Numbers as Prometheus' library wants them."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Yield every name, those that nothing was counted for as well."""
        for name, meaning in NAMES.items():
            if meaning.kind == "histogram":
                yield self._histogram(name, meaning.help, meaning.labels)
                continue
            family: CounterMetricFamily | GaugeMetricFamily
            make = CounterMetricFamily if meaning.kind == "counter" else GaugeMetricFamily
            family = make(name, meaning.help, labels=meaning.labels)
            found = {key: value for key, value in self._counts.values.items() if key[0] == name}
            if not found and not meaning.labels:
                family.add_metric((), 0)
            for (_, labels), value in sorted(found.items()):
                family.add_metric(labels, value)
            yield family

    def _histogram(self, name: str, help_: str, labelled: Labels) -> Metric:
        family = HistogramMetricFamily(name, help_, labels=labelled)
        for (its, labels), spread in sorted(self._counts.spreads.items(), key=lambda one: one[0]):
            if its != name:
                continue
            below, buckets = 0, []
            for edge, count in zip((*SECONDS, float("inf")), spread.buckets, strict=True):
                below += count
                buckets.append(("+Inf" if edge == float("inf") else str(edge), float(below)))
            family.add_metric(labels, buckets, spread.total)
        return family


def shown(counts: Counts) -> bytes:
    """Return Prometheus' text."""
    registry = CollectorRegistry()
    registry.register(_Shown(counts))
    return generate_latest(registry)


class Metrics:
    """The numbers of one process, by what happens in it."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self.counts = Counts()
        self.refusals = Tally[tuple[str, str, str]]()
        for result in ("ok", "refused"):
            # A counter that appears with its first event hides that event from who looks at rates.
            self.counts.add(names.RELOADS, (result,), 0)
        self._stages = [
            self.counts.spread(names.STAGE_SECONDS, (stage,)) for stage in (*STAGES, "total")
        ]
        self._spent: list[tuple[Sequence[float], int]] = []
        self._answers: dict[tuple[str, str, str], int] = {}
        # Domain, outcome, version.
        self._decided: dict[tuple[str, str, str], int] = {}
        self._versions: set[str] = set()
        self._outage = _Outage(now_s)

    def refused(self, listener: str, code: str, source: str) -> None:
        """Count a request that was refused before there was a Call."""
        self.counts.add(names.REFUSED, (listener, code, source))
        if code not in _NOT_TOLD:
            self.refusals[listener, source, code] += 1

    def decided(self, listener: str, protocol: str, decision: Decision, count: int = 1) -> None:
        """Count a decision that a listener answered, or so many that say the same."""
        key = (listener, protocol, decision.outcome)
        self._answers[key] = self._answers.get(key, 0) + count
        if len(self._answers) > ANSWERS_MAX:
            self._count_answers()

    def spent(self, took_s: Sequence[float], calls: int = 1) -> None:
        """Count how long the stages of one call took, in the order of STAGES, and their sum.

        Put by for now: this is on the way of every call, and many at a time are counted faster.

        Args:
            took_s: Seconds.
            calls: For how many calls it stands, itself among them.
        """
        self._spent.append((took_s, calls))
        if len(self._spent) >= SPENT_MAX:
            self._count_spent()

    def counted(self) -> Counts:
        """Return what was counted so far."""
        self._count_spent()
        self._count_answers()
        self._count_decided()
        return self.counts

    def snapshot(self) -> Snapshot:
        """Return the same, to be sent."""
        return self.counted().snapshot()

    def _count_spent(self) -> None:
        spent, self._spent = self._spent, []
        calls = [count for _, count in spent]
        by_stage = zip_longest(*(took_s for took_s, _ in spent), fillvalue=0.0)
        for spread, took in zip(self._stages, by_stage, strict=False):
            _count(spread, took, calls)
        _count(self._stages[-1], [sum(took_s) for took_s, _ in spent], calls)

    def _count_answers(self) -> None:
        answers, self._answers = self._answers, {}
        for (listener, protocol, outcome), count in answers.items():
            labels = (listener, _among(protocol, PROTOCOLS), outcome)
            self.counts.add(names.ANSWERS, labels, count)

    def _count_decided(self) -> None:
        decided, self._decided = self._decided, {}
        for (domain, outcome, version), count in decided.items():
            labels = (_among(domain, DOMAINS), _among(outcome, OUTCOMES), self._version(version))
            self.counts.add(names.DECISIONS, labels, count)

    def activated(self, bundle: Bundle, at_s: float) -> None:
        """Show `bundle` as the one in force since `at_s`, seconds since the Unix epoch."""
        self.counts.clear(names.BUNDLE_ACTIVE)
        self.counts.put(names.BUNDLE_ACTIVE, (bundle.name, bundle.version, bundle.digest), 1)
        self.counts.put(names.BUNDLE_ACTIVATED, (), at_s)

    def reloaded(self, *, ok: bool) -> None:
        """Count a reload."""
        self.counts.add(names.RELOADS, ("ok" if ok else "refused",))

    def written(self, records: Sequence[AnyRecord], seconds: float) -> None:
        """Count durable records, and the decisions among them."""
        self.counts.observe(names.DURABLE_SECONDS, (), seconds, len(records))
        decided = self._decided
        for one in records:
            if isinstance(one, MadeRecord):
                key = one.stencil.counted
            elif isinstance(one, DecisionRecord):
                key = (one.domain, one.outcome, one.policy.version)
            else:
                continue
            decided[key] = decided.get(key, 0) + 1
        if len(decided) > ANSWERS_MAX:
            self._count_decided()
        self._outage.ends()

    def lost(self, count: int, error: RecordError) -> None:
        """Count records that did not become durable."""
        self.counts.add(names.LOST, (), count)
        self._outage.goes_on(count, error)

    def _version(self, version: str) -> str:
        """Return `version`, or `other` when a worker has seen too many of them."""
        if version in self._versions or len(self._versions) < VERSION_LABELS_MAX:
            self._versions.add(version)
            return version
        return _OTHER


class _Outage:
    """That the ledger refuses, and that it no longer does, is one line of the log each."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._lost = 0
        self._told_s: float | None = None
        self._is_told = False

    def goes_on(self, count: int, error: RecordError) -> None:
        """Say once that an outage begins; a disk that comes and goes does not fill the log."""
        is_new, now_s = not self._lost, self._now_s()
        self._lost += count
        if is_new and (self._told_s is None or now_s - self._told_s >= OUTAGES_TOLD_EVERY_S):
            self._told_s, self._is_told = now_s, True
            _log.error("calls are refused, their records are not durable: %s", error)

    def ends(self) -> None:
        """Say that it is over."""
        if not self._lost:
            return
        lost, self._lost = self._lost, 0
        if self._is_told:
            self._is_told = False
            _log.warning("records are durable again; %d were refused", lost)


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


def _count(spread: Spread, took_s: Iterable[float], calls: Iterable[int]) -> None:
    for seconds, count in zip(took_s, calls, strict=True):
        spread.buckets[bisect_left(SECONDS, seconds)] += count
        spread.total += seconds * count


def _among(word: str, words: tuple[str, ...]) -> str:
    return word if word in words else _OTHER
