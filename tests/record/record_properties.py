"""Every decision record is RFC 8785 to the byte and of its schema, whatever stands in the call.

The oracle is somebody else's: the `rfc8785` package reads the bytes and writes them anew. At full
scale 100,000 records are compared.
"""

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from sidecar.record.canonical import encode, place_of, read_halves, split
from sidecar.record.limits import RECORD_BYTES_MAX
from sidecar.terms.decision import Fact, FactKey, Obligation, RuleError, RuleSpoke
from sidecar.terms.record import DecisionRecord
from sidecar.terms.words import PolicyName, RuleId
from tests.record.test_write import Paper, decision, kept, request

SCHEMA = Path(__file__).parents[2] / "schemas" / "record.schema.json"
TEXTS = (
    "",
    "a",
    "alice",
    "é",
    "😀",
    "\x00\x1f\x7f",
    '"\\/',
    "\u2028\u2029",
    "p_",
    "x" * 300,
    "\ufffe",
)
LONE = ("\ud800", "\udfffx")
NUMBERS = (0, -1, 2**53 - 1, 2**53, -(2**70), 1.5, 1e300, -0.0, float("inf"), True, None)
WORDS = Paper("request.sql.params", "resource.properties.owner", needs=("request.sql.params",))


class Wild:
    """Makes values of any shape from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def text(self) -> str:
        pool = LONE if self.random.random() < 0.02 else TEXTS
        return "".join(self.random.choice(pool) for _ in range(self.random.randrange(3)))

    def value(self, depth: int = 3) -> Any:
        kind = self.random.randrange(6 if depth else 3)
        if kind < 2:
            return self.text()
        if kind == 2:
            return self.random.choice(NUMBERS)
        if kind == 3:
            return [self.value(depth - 1) for _ in range(self.random.randrange(4))]
        return self.object(depth - 1)

    def object(self, depth: int = 2) -> dict[str, Any]:
        return {self.text() or "k": self.value(depth) for _ in range(self.random.randrange(4))}

    def record(self) -> DecisionRecord:
        pick = self.random.choice
        asked = request(
            {
                "type": pick(("user", "service", "agent")),
                "subject_id": self.text() or "alice",
                "subject": self.object(),
                "context": {"claimed": self.object(), "ip": pick(("192.0.2.7", "127.0.0.1"))},
                "targets": [
                    {"id": self.text(), "type": pick(("table", "user")), "resource": self.object()}
                    for _ in range(self.random.randrange(3))
                ],
                "request": {"sql": {"params": self.value(), "other": self.value()}},
            }
        )
        rules = tuple(
            RuleSpoke(RuleId(self.text()), PolicyName(self.text()), "deny", "org", self.text())
            for _ in range(self.random.randrange(3))
        )
        said = decision(
            asked,
            rules=rules,
            message=pick((None, self.text())),
            obligations=tuple(
                Obligation(self.text(), f"table:{self.text()}", self.object())
                for _ in range(self.random.randrange(2))
            ),
            errors=tuple(
                RuleError("p/r", f"table:{self.text()}", self.text())
                for _ in range(self.random.randrange(2))
            ),
        )
        facts = {
            FactKey("f", (self.text(), "user:bob")): Fact(self.value(), self.text(), self.text())
            for _ in range(self.random.randrange(3))
        }
        return kept(asked, WORDS, said, facts=facts)[0]


def whole(record: DecisionRecord) -> bytes:
    placed = split(record).at(place_of("test", "00", 7))
    assert read_halves(split(record)) is not None
    said: dict[str, Any] = orjson.loads(placed)
    del said["log"]
    # The place is where sorting puts it, and without it the halves are the record.
    assert orjson.dumps(said, option=orjson.OPT_SORT_KEYS) == encode(record)
    return placed


def test_a_record_is_what_rfc_8785_says_of_it(scaled):
    for seed in range(scaled(500, 100_000)):
        placed = whole(Wild(seed).record())

        assert placed == rfc8785.dumps(json.loads(placed)), f"seed {seed}"


def test_a_record_is_of_its_schema_and_says_the_same_when_it_is_read(scaled):
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    for seed in range(scaled(50, 2_000)):
        record = Wild(seed).record()

        encoded = bytes(encode(record))

        assert [error.message for error in validator.iter_errors(json.loads(encoded))] == []
        read = msgspec.json.decode(encoded, type=DecisionRecord)
        assert encode(read) == encoded
        assert len(encoded) <= RECORD_BYTES_MAX


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_text_can_pass_for_the_place_of_the_cut(message, other):
    marks = (',"obligations":[', ',"message":', ',"log":{')
    for mark in marks:
        asked = request({"request": {"sql": {mark + other: mark}}, "targets": [{"id": mark}]})
        record, _ = kept(asked, Paper(), decision(asked, message=message + mark))

        placed = whole(record)

        assert placed == rfc8785.dumps(json.loads(placed))


@pytest.mark.parametrize("number", [2**53, -(2**53), 1.5, 2**200])
def test_numbers_off_the_profile_are_texts_in_a_record(number):
    asked = request({})
    planned = Obligation("limit_rows", "table:x", {"max": number})

    record, _ = kept(asked, Paper(), decision(asked, obligations=(planned,)))

    assert orjson.loads(encode(record))["obligations"][0]["values"] == {"max": str(number)}
