"""A fold hears of every record that it looks at, whatever the shape of the record."""

import itertools
from collections.abc import Mapping

import orjson
import pytest

from sidecar.record.canonical import Halves, split
from sidecar.record.keeping.feed import Feeder
from sidecar.record.segments.walk import walk
from sidecar.terms.call import Json
from sidecar.terms.record import (
    SCHEMA,
    AdminRecord,
    AnyRecord,
    ApprovalRecord,
    GapRecord,
    OpsRecord,
    OutcomeRecord,
)
from sidecar.terms.words import CallId
from tests.record.sample import TIME

ID = CallId("0192f0c1-7a3e-7c4b-9d2e-0f6a5b4c3d2e")
PLACE = b'"log":{"epoch":"0123456789abcdef","origin":"test","seq":7}'
RECORDS: dict[str, list[AnyRecord]] = {
    "admin": [AdminRecord(SCHEMA, ID, TIME, "stop"), AdminRecord(SCHEMA, ID, TIME, "x", {"z": 1})],
    "ops": [OpsRecord(SCHEMA, ID, TIME, "ledger.recovered", {"kind": "admin", "log": {"a": "b"}})],
    "gap": [GapRecord(SCHEMA, ID, TIME, "group"), GapRecord(SCHEMA, ID, TIME, "group", 5, 50)],
    "outcome": [
        OutcomeRecord(SCHEMA, ID, ID, TIME, "forwarded"),
        OutcomeRecord(SCHEMA, ID, ID, TIME, "failed", "503", 1, 2, "sha256:00", uses=3),
    ],
    "approval": [ApprovalRecord(SCHEMA, ID, ID, TIME, "asked", "sha256:00")],
}


class Hearing:
    """Remembers what it was fed."""

    name = "hearing"

    def __init__(self, *kinds: str) -> None:
        self.marks = tuple(f'"kind":"{kind}"'.encode() for kind in kinds)
        self.heard: list[Mapping[str, Json]] = []

    def apply(self, record: Mapping[str, Json]) -> None:
        self.heard.append(record)

    def state(self) -> Json:
        return None

    def restore(self, state: Json) -> None:
        raise AssertionError(state)


def placed(halves: Halves) -> tuple[bytes, int]:
    return halves.at(PLACE), len(halves.head)


@pytest.mark.parametrize("kind", RECORDS)
def test_every_kind_is_heard_by_those_who_look_at_it_and_by_nobody_else(kind):
    ours, others = Hearing(kind), Hearing(*(other for other in RECORDS if other != kind))
    feeder = Feeder([ours, others])
    for record in RECORDS[kind]:
        data, head = placed(split(record))

        feeder.feed([data], [head])

        assert ours.heard.pop()["kind"] == kind
    assert not ours.heard
    assert not others.heard


def test_a_record_is_heard_once_by_a_fold_with_two_marks():
    fold = Hearing("admin", "ops")
    fold.marks = (*fold.marks, b'"event"', b'"time"')
    data, head = placed(split(RECORDS["admin"][0]))

    Feeder([fold]).feed([data, data], [head, head])

    assert len(fold.heard) == 2


async def test_where_a_record_says_its_place_is_found_behind_words_like_it(tmp_path):
    from sidecar.record.disk import DISK
    from sidecar.record.ledger import Ledger, ledger_paths
    from tests.record import sample

    ledger = Ledger.open(*ledger_paths(tmp_path), sample.settings())
    details: list[dict[str, Json]] = [
        {"a": 1, "log": {"epoch": "x"}},
        {"log": [], "x": ',"log":{"epoch"'},
        {"x": {}},
    ]
    for number, detail in itertools.product(range(3), details):
        await ledger.write(AdminRecord(SCHEMA, CallId(f"id-{number}"), TIME, "reload", detail))
    await ledger.close()

    found = list(walk(DISK, ledger_paths(tmp_path)[0], ledger.verifier.name))

    assert [orjson.loads(entry.record)["log"]["seq"] for entry in found] == list(range(9))
