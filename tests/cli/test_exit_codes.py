"""Exit codes are a promise: scripts and pipelines read them."""

import json
import shutil

import pytest

from sidecar.runtime import exits
from sidecar.terms import errors
from tests.tables import Row, rows

PENDING = """\
apiVersion: sidecar/v1
kind: Policy
metadata: {name: pending}
spec:
  rules:
    - {id: a-person-decides, effect: step_up, when: "true", message: wait}
"""
SUPPORT = {
    "subject": {"type": "user", "id": "sam", "properties": {"groups": ["support"]}},
    "actors": [{"type": "agent", "id": "support-agent"}],
}


def envelope(text: str) -> str:
    return json.dumps({"protocol": "sql", **SUPPORT, "call": {"dialect": "postgres", "text": text}})


@pytest.mark.parametrize("row", rows("cli/exit_codes.yaml"))
def test_case(row: Row, sidecar, shop, monkeypatch):
    monkeypatch.chdir(shop)
    (shop / "broken").mkdir()
    shutil.copytree(shop / "bundle", shop / "pending")
    (shop / "pending" / "pending.yaml").write_text(PENDING)
    (shop / "not.yaml").write_text("a: [")
    # Whoever runs the tests may run a sidecar as well.
    config = shop / "sidecar.yaml"
    config.write_text(config.read_text().replace("127.0.0.1:8282", "127.0.0.1:0"))
    stdin = envelope(row.given["sql"]) if "sql" in row.given else row.given.get("stdin", "")

    said = sidecar(*row.given["args"], stdin=stdin)

    assert said.code == row.want["code"], said
    assert row.want.get("out", "") in said.out
    assert row.want.get("err", "") in said.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.PolicyError("x"), 3),
        (errors.ConfigError("x"), 2),
        (errors.EnvelopeError("x"), 2),
        (errors.LedgerBroken("x"), 20),
        (errors.LedgerUnwritable("x"), 21),
        (errors.RecordError("x"), 1),
        (errors.FactUnavailable("x"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_has_its_code(error, code):
    assert exits.exit_code(error) == code


def test_codes_never_change():
    codes = {name: value for name, value in vars(exits).items() if isinstance(value, int)}

    assert codes == {
        "OK": 0,
        "UNEXPECTED": 1,
        "USAGE": 2,
        "BUNDLE": 3,
        "FAILED": 4,
        "COVERAGE": 5,
        "EMPTY": 6,
        "DENIED": 10,
        "PENDING": 11,
        "LEDGER": 20,
        "UNWRITABLE": 21,
    }
