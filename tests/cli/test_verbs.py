"""`init`, `key`, `bundle`, `doctor`, and how verbs are found."""

import base64
import hashlib
import json
import shutil
import subprocess
import sys

import pytest

from sidecar.cli import VERBS
from sidecar.facts.identity import Workloads
from sidecar.runtime.config import load_config
from sidecar.syntax.yaml12 import load_documents
from tests.golden import MADE

SERVING = (
    "sidecar.cli, sidecar.cli.run, sidecar.runtime.supervisor, sidecar.runtime.processes.worker"
)


def test_a_serving_process_loads_no_second_evaluator_and_no_tools():
    code = (
        f"import sys, {SERVING}\n"
        "from sidecar.domains import found; found()\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('celpy', 'hypothesis', 'pytest')\n"
        "       or m.startswith('sidecar.review')])"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout == "[]\n"


def test_the_supervisor_loads_no_engine_and_no_domain():
    code = (
        "import sys, sidecar.cli.run\n"
        "print([m for m in sys.modules if m in ('cel_expr_python', 'sqlglot', 'aiohttp')])"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout == "[]\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_teaches_with_an_example(verb):
    told = MADE[f"tests/golden/help/{verb}.txt"]().decode()

    assert f"  sidecar {verb}" in told
    # A mark of click's that was left in the text would be shown.
    assert "\\b" not in told


def test_a_verb_that_is_absent_does_not_break_the_others(sidecar, monkeypatch):
    monkeypatch.setitem(VERBS, "absent", "Not built.")

    said = sidecar("absent")

    assert said.code == 1
    assert "not part of this build" in said.err
    assert sidecar("--help").code == 0


def test_a_starter_holds_a_key_that_is_its_users_alone(shop):
    key = shop / "secrets" / "support-agent.key"

    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700
    workload = Workloads(load_config(shop / "sidecar.yaml").workloads).identify_bearer(
        key.read_text().strip()
    )
    assert workload is not None
    assert workload.id == "support-agent"


def test_a_starters_configuration_does_not_hold_the_key(shop):
    key = (shop / "secrets" / "support-agent.key").read_text().strip()

    assert key not in (shop / "sidecar.yaml").read_text()
    assert "secrets/" in (shop / ".gitignore").read_text().splitlines()


def test_two_starters_have_two_keys(sidecar, tmp_path, shop):
    sidecar("init", tmp_path / "other")

    keys = {(tmp_path / n / "secrets" / "support-agent.key").read_text() for n in ("shop", "other")}
    assert len(keys) == 2


def test_a_starters_tests_pass_and_cover_every_rule(sidecar, shop):
    tested = json.loads(sidecar("test", shop / "bundle", "--format", "json").out)
    linted = json.loads(sidecar("lint", shop / "bundle", "--format", "json").out)

    assert tested["summary"]["failed"] == 0
    assert tested["summary"]["ran"] > 10
    assert (linted["findings"], linted["second_opinion"]["disagreements"]) == ([], [])


def test_what_a_starter_says_to_run_is_there(shop):
    told = (shop / "README.md").read_text()

    for file in ("sidecar.yaml", "bundle/catalog", "bundle/policies", "secrets/support-agent.key"):
        assert file in told
        assert (shop / file).exists()


def test_a_key_is_shown_once_and_its_entry_verifies_it(sidecar):
    said = sidecar("key", "issue", "bot", "--actor", "agent:bot", "--subject", "user:a", "--json")

    told = json.loads(said.out)
    digest = hashlib.sha256(told["key"].encode()).hexdigest()
    assert told["workload"]["key"] == f"sha256:{digest}"
    assert told["key"] not in json.dumps(told["workload"])
    assert told["workload"]["actor"] == {"type": "agent", "id": "bot"}
    assert len(base64.urlsafe_b64decode(told["key"].removeprefix("swk_") + "=")) == 32


def test_the_entry_to_paste_is_what_the_configuration_takes(sidecar):
    said = sidecar("key", "issue", "bot", "--actor", "agent:bot")

    pasted = said.out.partition("sidecar.yaml:\n\n")[2]
    (document,) = load_documents("pasted", pasted.encode())
    assert [entry["id"] for entry in document.value] == ["bot"]


@pytest.mark.parametrize("party", ["bot", ":bot", "agent:", "a b:c", "agent:\x07"])
def test_a_party_that_could_not_stand_in_a_record_is_refused(sidecar, party):
    assert sidecar("key", "issue", "bot", "--subject", party).code == 2


def test_an_archive_is_built_once_for_a_label(sidecar, shop, tmp_path):
    archive = tmp_path / "shop.tar"
    first = sidecar("bundle", "build", shop / "bundle", "-o", archive)
    again = sidecar("bundle", "build", shop / "bundle", "-o", archive)
    with (shop / "bundle" / "policies" / "data.yaml").open("a") as text:
        text.write("# another\n")
    other = sidecar("bundle", "build", shop / "bundle", "-o", archive)

    assert [said.code for said in (first, again, other)] == [0, 0, 2]
    assert "another archive stands there" in other.err


def test_an_archive_decides_as_its_folder_does(sidecar, shop, tmp_path):
    sidecar("bundle", "build", shop / "bundle", "-o", tmp_path / "shop.tar")

    shown = json.loads(sidecar("bundle", "show", tmp_path / "shop.tar", "--json").out)

    folder = json.loads(sidecar("bundle", "show", shop / "bundle", "--json").out)
    assert shown["version"] == "0.1.0"
    assert folder["version"] == f"0.1.0-dev+{folder['digest'][7:19]}"
    assert shown["digest"] == folder["digest"]
    assert shown["rules"] == folder["rules"]


def levels(said) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for finding in json.loads(said.out):
        found.setdefault(finding["check"], set()).add(finding["level"])
    return found


@pytest.mark.parametrize(
    ("break_it", "check"),
    [
        (lambda shop: (shop / "bundle" / "bundle.yaml").unlink(), "bundle"),
        (lambda shop: (shop / "state").mkdir(mode=0o755), "state"),
        (lambda shop: (shop / "sidecar.yaml").write_text("x: 1"), "config"),
    ],
    ids=["bundle", "state", "config"],
)
def test_the_doctor_fails_what_will_not_run(sidecar, shop, break_it, check):
    break_it(shop)

    said = sidecar("doctor", "-c", shop / "sidecar.yaml", "--json")

    assert said.code == 1
    assert "fail" in levels(said)[check]


PROXY = """\
bundle: ./bundle
workloads: [{id: all, uids: [7], may_assert: {subjects: ["*"]}}]
listeners:
  - {name: ask, protocol: ask, bind: "0.0.0.0:0", insecure_bind: true}
  - name: erp
    protocol: postgres
    bind: "127.0.0.1:0"
    upstream: {url: "postgres://db.example/erp", credential: {file: ./secrets/erp}}
"""


def test_the_doctor_names_every_insecure_option(sidecar, shop):
    (shop / "sidecar.yaml").write_text(PROXY)
    (shop / "secrets" / "erp").write_text("agent:hunter2")
    (shop / "secrets" / "erp").chmod(0o644)

    said = sidecar("doctor", "-c", shop / "sidecar.yaml", "--json")

    texts = " ".join(f["text"] for f in json.loads(said.out) if f["level"] != "ok")
    for told in ("0.0.0.0", "reaches db.example without TLS", "speak for everybody"):
        assert told in texts
    assert levels(said)["secrets"] == {"fail"}
    assert "hunter2" not in said.out


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="no `prlimit`")
@pytest.mark.parametrize(("hard", "level"), [(1279, "warn"), (1280, "ok")])
def test_the_doctor_counts_the_descriptors_that_connections_take(sidecar, shop, hard, level):
    """1,024 callers of the ask API, and 256 besides."""
    found = subprocess.run(
        ["prlimit", f"--nofile={hard}:{hard}", sys.executable, "-m", "sidecar", "doctor",
         "-c", shop / "sidecar.yaml", "--json"],
        capture_output=True, check=False,
    )  # fmt: skip

    (told,) = [one for one in json.loads(found.stdout) if one["check"] == "descriptors"]
    assert told["level"] == level
    assert str(hard) in told["text"]


def test_the_doctor_prints_a_table(sidecar, shop):
    said = sidecar("doctor", "-c", shop / "sidecar.yaml")

    assert said.code == 0
    assert any(line.split()[:2] == ["ok", "bundle"] for line in said.out.splitlines())
