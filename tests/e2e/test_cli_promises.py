"""What the command line promises, through the script that an installation puts on the PATH."""

import asyncio
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from sidecar.facts.keys import key_digest
from tests.e2e.harness import ROOT, Done, Sidecar, Site, done, short_folder
from tests.tables import Row, rows

SIDECAR = str(Path(sys.executable).with_name("sidecar"))
SALARY = (
    '{"protocol":"sql","subject":{"type":"user","id":"alice"},'
    '"actors":[{"type":"agent","id":"expense-bot"}],'
    '"call":{"dialect":"postgres","text":"SELECT salary FROM hr.compensation"}}'
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]


def sidecar(folder: Path, *arguments: str, stdin: str = "") -> Done:
    return done([SIDECAR, *arguments], folder, stdin.encode())


async def run(folder: Path, *arguments: str) -> Done:
    """Run `sidecar` beside a server whose clients live on this event loop."""
    return await asyncio.to_thread(sidecar, folder, *arguments)


@pytest.fixture(scope="module")
def written() -> Iterator[Path]:
    """What `sidecar init` writes."""
    with short_folder() as folder:
        assert sidecar(folder, "init", "shop").code == 0
        yield folder / "shop"


@pytest.fixture
def shop(written) -> Iterator[Path]:
    """A copy of it for one test."""
    with short_folder() as folder:
        shutil.copytree(written, folder / "shop")
        yield folder / "shop"


@pytest.mark.parametrize("row", rows("e2e/exit_codes.yaml"))
def test_exit_code(row: Row, shop):
    for name, text in row.given.get("files", {}).items():
        file = shop / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    arguments = shlex.split(row.given["command"])
    found = sidecar(shop, *arguments, stdin=row.given.get("stdin", ""))

    printed = found.out + found.err
    assert row.want["code"] == found.code, printed
    assert not [piece for piece in row.want.get("says", ()) if piece not in printed], printed
    assert "Traceback" not in printed


def test_a_denial_names_rule_policy_version_and_digest():
    found = sidecar(ROOT, "decide", "-b", "policies", "-", stdin=SALARY)

    decision = orjson.loads(found.out)
    shown = orjson.loads(sidecar(ROOT, "bundle", "show", "policies", "--json").out)
    assert (found.code, decision["outcome"], decision["permitted"]) == (10, "deny", False)
    assert [(rule["policy"], rule["id"]) for rule in decision["rules"]] == [
        ("sensitive-data", "compensation-is-closed")
    ]
    assert decision["message"] == "compensation data is closed to agents"
    assert decision["policy"]["digest"] == shown["digest"]
    assert decision["policy"]["version"] == shown["version"]
    assert decision["policy"]["bundle"] == shown["bundle"]


def started(folder: Path) -> Site:
    """Return the site that `sidecar init` has written, on ports that are free."""
    config = folder / "sidecar.yaml"
    config.write_text(config.read_text().replace("127.0.0.1:8282", "127.0.0.1:0"))
    return Site(folder, (folder / "secrets" / "support-agent.key").read_text().strip())


async def asked(running: Sidecar) -> str:
    """Ask what the starter's README asks; return the id of the decision."""
    text = "SELECT email FROM customers"
    envelope = {"protocol": "sql", "call": {"dialect": "postgres", "text": text}}
    reply = await (await running.client()).decide(envelope)
    assert (reply.status, reply.json["outcome"]) == (200, "deny")
    assert "personal-data-is-for-people" in {rule["id"] for rule in reply.json["rules"]}
    identity: str = reply.json["id"]
    return identity


async def test_what_init_writes_passes_serves_and_is_on_the_record(shop):
    site = started(shop)

    assert (shop / "secrets" / "support-agent.key").stat().st_mode & 0o777 == 0o600
    assert key_digest(site.key) in site.config.read_text()
    assert site.key not in site.config.read_text()
    assert (await run(shop, "test", "bundle")).code == 0
    assert (await run(shop, "lint", "--strict", "bundle")).code == 0
    async with site.running() as running:
        id = await asked(running)
        assert id in (await run(shop, "log", "tail", "-n", "3")).out
        assert await running.stop() == 0

    shown = await run(shop, "log", "show", id, "--json")
    record = orjson.loads(shown.out)["record"]
    assert record["subject"]["id"] == "sam"
    assert [actor["id"] for actor in record["actors"]] == ["support-agent"]
    assert site.key not in shown.out
    last = await run(shop, "log", "tail", "-n", "1", "--outcome", "deny", "--json")
    assert orjson.loads(last.out)["id"] == id
    assert "intact" in (await run(shop, "log", "verify")).out
    assert (await run(shop, "log", "show", "00000000-0000-7000-8000-000000000000")).code == 2
    assert (await run(shop, "doctor")).code in {0, 1}


async def test_a_byte_that_was_changed_ends_verification_with_20_and_nothing_starts(shop):
    site = started(shop)
    async with site.running() as running:
        id = await asked(running)
        assert await running.stop() == 0
    assert (await run(shop, "log", "verify")).code == 0
    (segment,) = site.ledger.glob("*.seg")
    whole = segment.read_bytes()
    at = whole.index(id.encode())

    segment.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])

    verified = await run(shop, "log", "verify")
    assert (verified.code, segment.name in verified.err) == (20, True)
    assert (await run(shop, "run")).code == 20
    segment.write_bytes(whole)
    assert (await run(shop, "log", "verify")).code == 0


async def test_a_second_sidecar_on_the_same_ledger_does_not_start(site):
    async with site.running():
        text = site.config.read_text().replace("ask.sock", "other.sock")
        (site.folder / "other.yaml").write_text(text)

        found = await site.sidecar("run", "-c", str(site.folder / "other.yaml"))

        assert (found.code, "another process writes this ledger" in found.err) == (20, True)
