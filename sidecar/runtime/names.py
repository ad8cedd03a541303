"""The names of what is counted: a promise to whoever has built a dashboard or an alarm upon them.

`runtime/README.md` shows this table, and a test holds the two and a running sidecar together.
"""

from typing import Final, Literal

import msgspec

DECISIONS: Final = "sidecar_decisions"
STAGE_SECONDS: Final = "sidecar_stage_seconds"
ANSWERS: Final = "sidecar_answers"
REFUSED: Final = "sidecar_refused_requests"
RECORDS: Final = "sidecar_ledger_records"
LOST: Final = "sidecar_ledger_refusals"
GAPS: Final = "sidecar_ledger_gaps"
SIZE: Final = "sidecar_ledger_size_records"
DURABLE_SECONDS: Final = "sidecar_ledger_durable_seconds"
COMMIT_SECONDS: Final = "sidecar_ledger_commit_seconds"
QUEUE: Final = "sidecar_ledger_queue_records"
OPEN: Final = "sidecar_ledger_open_decisions"
RELOADS: Final = "sidecar_bundle_reloads"
BUNDLE_ACTIVE: Final = "sidecar_bundle_active"
BUNDLE_ACTIVATED: Final = "sidecar_bundle_activated_timestamp_seconds"
WORKERS: Final = "sidecar_workers"
WORKERS_UP: Final = "sidecar_workers_up"
WORKER_RESTARTS: Final = "sidecar_worker_restarts"
RECORDER_UP: Final = "sidecar_recorder_up"
RECORDER_RESTARTS: Final = "sidecar_recorder_restarts"
CATALOGUE_DRIFT: Final = "sidecar_catalogue_drift"

SHADOW_DECISIONS: Final = "sidecar_shadow_decisions"
SHADOW_DIFFERENCES: Final = "sidecar_shadow_differences"
SHADOW_RELOADS: Final = "sidecar_shadow_reloads"

# Upper ends of the buckets of every histogram.
SECONDS: Final = (
    0.000005, 0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
    0.025, 0.05, 0.1, 0.25, 1.0, 2.5,
)  # fmt: skip


class Meaning(msgspec.Struct, frozen=True):
    """What a name stands for. Counters are shown with `_total` behind their name."""

    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


NAMES: Final[dict[str, Meaning]] = {
    DECISIONS: Meaning(
        "counter", "Decisions that became durable.", ("domain", "outcome", "bundle_version")
    ),
    STAGE_SECONDS: Meaning(
        "histogram",
        "Stages of the path, and their sum; without the wait for the disk. Of calls that are "
        "asked again one in 16 is timed, for all of them.",
        ("stage",),
    ),
    ANSWERS: Meaning(
        "counter", "Decisions answered, by listener.", ("listener", "protocol", "outcome")
    ),
    REFUSED: Meaning(
        "counter",
        "Requests refused before there was a call, the unauthenticated among them.",
        ("listener", "code", "source"),
    ),
    RECORDS: Meaning("counter", "Records that became durable, counted by the recorder."),
    LOST: Meaning("counter", "Records that could not be made durable: the call was refused."),
    GAPS: Meaning("counter", "Gaps in the log that it tells of itself."),
    SIZE: Meaning("gauge", "Records in the log."),
    DURABLE_SECONDS: Meaning("histogram", "From handing over a record to its being durable."),
    COMMIT_SECONDS: Meaning("histogram", "What of that passed in the recorder."),
    QUEUE: Meaning("gauge", "Records on their way, in workers and in the recorder."),
    OPEN: Meaning("gauge", "Forwarded calls whose outcome is not recorded yet."),
    RELOADS: Meaning("counter", "Reloads, by result: ok, refused.", ("result",)),
    BUNDLE_ACTIVE: Meaning("gauge", "1 for the bundle in force.", ("name", "version", "digest")),
    BUNDLE_ACTIVATED: Meaning("gauge", "When the bundle in force was activated."),
    WORKERS: Meaning("gauge", "Workers that were asked for."),
    WORKERS_UP: Meaning("gauge", "Workers that serve the bundle in force."),
    WORKER_RESTARTS: Meaning("counter", "Workers that were started again."),
    RECORDER_UP: Meaning("gauge", "1 while a recorder takes records."),
    RECORDER_RESTARTS: Meaning("counter", "How often the recorder was started again."),
    CATALOGUE_DRIFT: Meaning(
        "gauge", "Relations of a database that are not as the catalogue says.", ("upstream",)
    ),
    SHADOW_DECISIONS: Meaning(
        "counter",
        "Calls that a candidate was asked about: same, differs, undecided, dropped.",
        ("result",),
    ),
    SHADOW_DIFFERENCES: Meaning(
        "counter", "Calls that a candidate decides otherwise, by change.", ("change",)
    ),
    SHADOW_RELOADS: Meaning("counter", "Candidates that were read: ok, refused.", ("result",)),
}
