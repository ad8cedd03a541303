"""Write a log of this version for all to come: `python -m tests.record.golden_log VERSION`.

A log that is there is never written again: what was released stays as it is, and every later
version reads and verifies it (`test_released_logs.py`).
"""

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.read import Reader
from sidecar.record.verify import CHECKPOINT
from sidecar.terms.decision import Fact, FactKey, Obligation, RuleError
from sidecar.terms.record import (
    SCHEMA,
    AdminRecord,
    AnyRecord,
    ApprovalRecord,
    GapRecord,
    OpsRecord,
    OutcomeRecord,
    PartyRecord,
    SideObject,
)
from sidecar.terms.words import CallId
from tests.record import sample
from tests.record.sample import TIME
from tests.record.test_write import ALICES, Paper, decision, kept, request

FOLDER = Path(__file__).parents[1] / "golden" / "records"


def records() -> Iterator[tuple[AnyRecord, tuple[SideObject, ...]]]:
    """Yield one record of each kind, with every member that it may have."""
    detail = {"bundle": "demo", "version": "1.0.0", "digest": "sha256:00"}
    yield AdminRecord(SCHEMA, CallId("id-start"), TIME, "start", {"version": "0.1.0"}), ()
    yield AdminRecord(SCHEMA, CallId("id-active"), TIME, "bundle_activated", detail), ()
    asked = request({"targets": [{"id": "hr.compensation"}], "context": {"ip": "192.0.2.7"}})
    yield kept(asked, Paper(), decision(asked, message="closed to agents"))
    words = ("request.sql.params",)
    asked = request({"request": {"sql": {"params": [42], "note": "é😀\x7f"}}})
    filter_ = {"where": [{"text": "department = ${0}", "values": ["sales"]}], "max": 1.5}
    said = decision(
        asked,
        "modify",
        obligations=(Obligation("filter_rows", "table:hr.x", filter_, ("p/r",)),),
        errors=(RuleError("p/e", "table:hr.x", "no such key"),),
    )
    facts = {FactKey("revoked", ("user:alice",)): Fact(value=False, source="ledger", revision="3")}
    yield kept(asked, Paper(*words, needs=words), said, facts=facts)
    yield (
        OutcomeRecord(
            SCHEMA, CallId("id-out"), asked.id, TIME, "rewritten", "SELECT 5", 5, 320, "sha256:00",
            applied=(Obligation("limit_rows", "table:hr.x", {"max": 5}, ("p/r",)),),
            timings_us={"upstream": 900}, uses=1,
        ),
        (),
    )  # fmt: skip
    yield OutcomeRecord(SCHEMA, CallId("id-lost"), asked.id, TIME, "unknown"), ()
    approver = PartyRecord("user", ALICES)
    yield (
        ApprovalRecord(
            SCHEMA, CallId("id-ok"), asked.id, TIME, "approved", "sha256:00", approver, "cli",
            ("p/r",), {"n_of_m": "1/1"},
        ),
        (),
    )  # fmt: skip
    yield OpsRecord(SCHEMA, CallId("id-ops"), TIME, "refusals", {"count": 3, "source": "ask"}), ()
    yield GapRecord(SCHEMA, CallId("id-gap"), TIME, "group", 12, 50, {"process": "recorder"}), ()
    revoked = {"party": f"user:{ALICES}", "by": "file:revoked.yaml"}
    yield AdminRecord(SCHEMA, CallId("id-revoke"), TIME, "revoke", revoked), ()
    forgotten = {"handle": f"user:{ALICES}"}
    yield AdminRecord(SCHEMA, CallId("id-forgot"), TIME, "person_forgotten", forgotten), ()


async def recorded(state: Path) -> str:
    """Write the records into a ledger; return its key."""
    ledger = Ledger.open(*ledger_paths(state), sample.settings())
    for record, side in records():
        await ledger.write(record, side)
    await ledger.close()
    return ledger.verifier.text()


def write(state: Path, folder: Path) -> None:
    """Write the log, its checkpoint and its key into `folder`."""
    key = asyncio.run(recorded(state))
    log, _ = ledger_paths(state)
    folder.mkdir(parents=True)
    (folder / "records.jsonl").write_bytes(b"".join(line + b"\n" for line in Reader(log).new()))
    (folder / "checkpoint").write_bytes((log / CHECKPOINT).read_bytes())
    (folder / "ledger.vkey").write_text(f"{key}\n")


def main(version: str) -> None:
    folder = FOLDER / version
    if folder.exists():
        sys.exit(f"{folder} is there, and is never written again")
    with tempfile.TemporaryDirectory() as state:
        write(Path(state), folder)


if __name__ == "__main__":
    main(sys.argv[1])
