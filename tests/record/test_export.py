"""An export is the log in a form that others read, proven by those who have nothing of ours."""

import ast
import asyncio
import csv
import importlib
import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import zstandard
from click.testing import CliRunner, Result

from sidecar.cli.log import command
from sidecar.record.audit.tables import escaped
from sidecar.record.keeping.upkeep import Retention
from sidecar.record.outside import MODULES, one_file, verifier
from sidecar.record.read import Reader
from tests.record import rfc6962, sample, tampering
from tests.record.tampering import flipped
from tests.record.test_upkeep import kept

pytestmark = pytest.mark.timeout(60)
OURS = Path(__file__).parents[2] / "sidecar" / "record" / "outside"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 600 records and more, most of them sealed."""
    import asyncio

    folder = tmp_path_factory.mktemp("log")
    asyncio.run(kept(folder / "state", 600))
    (folder / "verifier.py").write_text(one_file())
    return folder / "state"


def export(state: Path, out: Path, *how: str) -> Path:
    made = run("export", "--state", state, "--out", out, *how)
    assert made.exit_code == 0, made.output
    return out


def judged(state: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the verifier where nothing of ours can be imported."""
    program = state.parent / "verifier.py"
    program.write_text(one_file())
    keys = [] if "--key" in arguments else ["--key", tampering.key(state)]
    told = [sys.executable, "-I", program, *keys, *arguments]
    return subprocess.run(
        list(map(str, told)), capture_output=True, text=True, check=False, cwd=state.parent
    )


def records(state: Path) -> list[bytes]:
    return list(Reader(state / "ledger").new())


# --- C2SP tlog-tiles ---


def entries_of(data: bytes) -> list[bytes]:
    found = []
    while data:
        length = int.from_bytes(data[:2], "big")
        found.append(data[2 : 2 + length])
        data = data[2 + length :]
    return found


def tiles_of(size: int) -> dict[str, tuple[int, int]]:
    """C2SP tlog-tiles: where the tiles of a tree stand (below 256,000 hashes)."""
    found = {}
    for level in range(3):
        hashes = size // 256**level
        for number in range(hashes // 256):
            found[f"tile/{level}/{number:03d}"] = (level, number)
        if hashes % 256:
            found[f"tile/{level}/{hashes // 256:03d}.p/{hashes % 256}"] = (level, hashes // 256)
    return found


def test_tiles_are_what_the_standard_defines_and_nothing_else(state, tmp_path):
    out = export(state, tmp_path / "out", "--format", "tiles")

    checkpoint = rfc6962.open_checkpoint((out / "checkpoint").read_bytes(), tampering.key(state))
    leaves = records(state)
    assert checkpoint.size == len(leaves)
    assert checkpoint.root == rfc6962.mth(leaves)
    wanted = tiles_of(checkpoint.size)
    for path, (level, number) in wanted.items():
        assert (out / path).read_bytes() == rfc6962.tile_of(leaves, level, number), path
    bundles = [path.replace("tile/0/", "tile/entries/") for path in wanted if "tile/0/" in path]
    read = [one for path in bundles for one in entries_of((out / path).read_bytes())]
    assert read == leaves
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert found == {*wanted, *bundles, "checkpoint", "manifest.json"}


@pytest.mark.parametrize("count", [0, 1, 254, 255, 256, 511])
async def test_trees_of_every_edge_are_exported_and_proven(tmp_path, count):
    # One more record says that the ledger has begun.
    ledger = await sample.written(tmp_path / "state", count)
    await ledger.close()

    out = export(tmp_path / "state", tmp_path / "out", "--format", "tiles")

    leaves = records(tmp_path / "state")
    for path, (level, number) in tiles_of(len(leaves)).items():
        assert (out / path).read_bytes() == rfc6962.tile_of(leaves, level, number), path
    assert judged(tmp_path / "state", out).returncode == 0


def test_an_export_without_our_manifest_is_read_as_any_log_of_tiles(state, tmp_path):
    out = export(state, tmp_path / "out", "--format", "tiles")
    (out / "manifest.json").unlink()

    assert judged(state, out).returncode == 0


# --- the other forms ---


def test_jsonl_is_the_records_to_the_byte(state, tmp_path):
    out = export(state, tmp_path / "out", "--format", "jsonl")

    assert (out / "records.jsonl").read_bytes().splitlines() == records(state)
    assert judged(state, out).returncode == 0


def test_a_selection_is_proven_record_by_record(state, tmp_path):
    some = tmp_path / "some"
    shutil.copytree(state, some)
    out = export(some, tmp_path / "out", "--kind", "admin", "--since", "2026-11-21", "--until",
                 "2026-11-21T10:00:00.000000Z")  # fmt: skip

    said = json.loads((out / "manifest.json").read_bytes())
    shown = json.loads(judged(state, out, "--json").stdout)
    assert said["complete"] is False
    assert said["filters"]["since"] == "2026-11-21T00:00:00.000000Z"
    assert shown["proven"] is True
    assert shown["with_bytes"] == said["records"] == 600
    assert said["size"] == shown["records"] >= 600


def test_csv_has_a_row_a_record_that_leads_back(state, tmp_path):
    out = export(state, tmp_path / "out", "--format", "csv")

    with (out / "records.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    leaves = [rfc6962.mth([record]).hex() for record in records(state)]
    assert [row["leaf_hash"] for row in rows] == leaves
    assert [int(row["seq"]) for row in rows] == list(range(len(leaves)))
    assert judged(state, out).returncode == 0


def test_parquet_keeps_the_bytes_of_the_leaves(state, tmp_path):
    out = export(state, tmp_path / "out", "--format", "parquet")

    parquet: Any = importlib.import_module("pyarrow.parquet")
    table = parquet.read_table(out / "records.parquet")
    assert table["record"].to_pylist() == records(state)
    assert table["seq"].to_pylist() == list(range(len(records(state))))
    assert judged(state, out).returncode == 0


def test_parquet_without_its_package_says_what_is_missing(state, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    made = run("export", "--state", state, "--out", tmp_path / "out", "--format", "parquet")

    assert made.exit_code == 2
    assert "doorward[parquet]" in made.stderr
    assert list(tmp_path.iterdir()) == []


async def test_a_sealed_segment_without_zstandard_is_no_verdict(tmp_path, monkeypatch, capsys):
    await kept(tmp_path / "state", 300)
    monkeypatch.setitem(sys.modules, "zstandard", None)

    key = tampering.key(tmp_path / "state")
    assert verifier.main(["--key", key, str(tmp_path / "state" / "ledger")]) == 2
    assert "--format tiles" in capsys.readouterr().err


@pytest.mark.parametrize(
    "segment",
    [
        pytest.param(zstandard.compress(bytes(300 * 1024 * 1024)), id="a bomb"),
        pytest.param(zstandard.compress(b"x" * 50), id="no header"),
        pytest.param(zstandard.compress(b"x" * 500) + b"behind", id="something behind"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_a_sealed_segment_that_is_none_is_found(tmp_path, segment, capsys):
    await kept(tmp_path / "state", 300)
    path = sample.segments(tmp_path / "state")[0]
    path.chmod(0o600)
    path.write_bytes(segment)

    key = tampering.key(tmp_path / "state")
    assert verifier.main(["--key", key, str(tmp_path / "state" / "ledger")]) == 20
    assert "NOT INTACT" in capsys.readouterr().err


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\uff1dx"])
def test_no_spreadsheet_computes_a_cell(cell):
    assert escaped(cell) == f"'{cell}"
    assert escaped(f"x{cell}") == f"x{cell}"


async def test_names_are_joined_in_a_table_and_never_in_what_proves(tmp_path):
    await tampering.made(tmp_path / "state")
    of_state = tmp_path / "state"

    told = export(of_state, tmp_path / "told", "--format", "csv") / "records.csv"
    kept_ = export(of_state, tmp_path / "kept", "--format", "csv", "--handles") / "records.csv"
    proving = export(of_state, tmp_path / "proving") / "records.jsonl"
    chosen = export(of_state, tmp_path / "chosen", "--subject", "user:alice")

    assert "user:alice" in told.read_text()
    assert "alice" not in kept_.read_text()
    assert b"alice" not in proving.read_bytes()
    assert len((chosen / "records.jsonl").read_bytes().splitlines()) == tampering.RECORDS // 3


async def test_what_is_left_of_a_pruned_log_is_exported_and_proven(tmp_path):
    state = tmp_path / "state"
    await kept(state, 1200)
    await kept(state, 1, first=1200, retention=Retention(bytes=2_000))
    before = sample.pruned(state)
    assert before > 300

    for form in ("tiles", "jsonl"):
        out = export(state, tmp_path / form, "--format", form)
        found = await asyncio.to_thread(judged, state, out, "--json")
        assert found.returncode == 0, found.stdout
        first = json.loads((out / "manifest.json").read_bytes())["first"]
        assert first == (before if form == "jsonl" else -(-before // 256) * 256)
    assert (await asyncio.to_thread(judged, state, state / "ledger")).returncode == 0


async def test_a_record_that_is_not_signed_is_not_exported(tmp_path):
    how = sample.settings(checkpoint_every_s=3600.0)
    await sample.closed(tmp_path / "state", 5)
    signed = len(records(tmp_path / "state"))
    ledger = await sample.written(tmp_path / "state", 3, how)

    out = export(tmp_path / "state", tmp_path / "out")

    await ledger.close()
    assert len((out / "records.jsonl").read_bytes().splitlines()) == signed


# --- there as a whole, or not at all ---


def test_nothing_is_left_of_an_export_of_a_log_that_was_changed(state, tmp_path):
    shutil.copytree(state, tmp_path / "state")
    tampering.of_segment(1, lambda r: [r[1], r[0], *r[2:]])(tmp_path / "state")

    made = run("export", "--state", tmp_path / "state", "--out", tmp_path / "out")

    assert made.exit_code != 0
    assert "does not say that it is number" in str(made.exception)
    assert {path.name for path in tmp_path.iterdir()} == {"state"}


def test_nothing_is_written_over(state, tmp_path):
    assert run("export", "--state", state, "--out", tmp_path).exit_code == 2
    assert run("export", "--state", state, "--out", tmp_path / "a" / "b").exit_code == 2
    assert run("export", "--state", state).exit_code == 2
    tiles = ("--format", "tiles", "--rule", "x")
    assert run("export", "--state", state, "--out", tmp_path / "out", *tiles).exit_code == 2


# --- tampering with an export, and with a receipt ---


def line(change):
    """Return what changes the lines of an export."""

    def tamper(out: Path) -> None:
        path = out / "records.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(change(lines)))
        manifest = out / "manifest.json"
        said = json.loads(manifest.read_bytes())
        said["files"] = {}
        manifest.write_text(json.dumps(said))

    return tamper


def changed(name: str, change) -> object:
    def tamper(out: Path) -> None:
        (out / name).write_bytes(change((out / name).read_bytes()))

    return tamper


HOSTILE = [
    b"", b"[" * 100_000, b'{"log":' * 50_000, b"{}\n", b'{"log":{"seq":1e400}}', b"\xff\xfe\n",
    b"null", b'{"log":{"seq":' + b"9" * 5_000 + b"}}",
]  # fmt: skip


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("name", ["records.jsonl", "manifest.json", "checkpoint", "tile/0/000"])
def test_no_bytes_of_an_export_break_the_verifier(state, tmp_path, name, data):
    out = export(state, tmp_path / "out")
    line(lambda r: r)(out)
    (out / name).write_bytes(data)

    shown = run("verify", out, "--key", tampering.key(state))

    assert shown.exit_code == 20
    assert "NOT INTACT" in shown.stderr


@pytest.mark.fuzz
def test_no_changed_byte_of_an_export_is_missed(tmp_path, scaled):
    import asyncio

    state, chance = tmp_path / "state", random.Random(11)
    asyncio.run(kept(state, 300))
    trees = [export(state, tmp_path / form, "--format", form) for form in ("tiles", "jsonl")]
    files = [
        path
        for out in trees
        for path in out.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    ]
    for _ in range(scaled(60, 5_000)):
        path = chance.choice(files)
        data = path.read_bytes()
        path.write_bytes(flipped(chance.randrange(len(data)))(data))
        out = next(one for one in trees if path.is_relative_to(one))

        assert run("verify", out, "--key", tampering.key(state)).exit_code == 20, path
        path.write_bytes(data)


@pytest.mark.parametrize(
    ("form", "tamper", "says"),
    [
        pytest.param("jsonl", line(lambda r: [r[0], r[1].replace(b"id-1", b"id-X"), *r[2:]]),
                     "record 1 is not the one that was signed", id="a line edited"),
        pytest.param("jsonl", line(lambda r: [r[0], *r[2:]]),
                     "record 1 is missing from the export", id="a line deleted"),
        pytest.param("jsonl", line(lambda r: [r[0], *r[3:]]),
                     "record 1 is missing from the export", id="two lines deleted"),
        pytest.param("jsonl", line(lambda r: [r[1], r[0], *r[2:]]),
                     "record 0 is missing from the export", id="two lines exchanged"),
        pytest.param("jsonl", line(lambda r: [*r, r[-1]]),
                     "a record out of its order or never signed", id="a line repeated"),
        pytest.param("jsonl", line(lambda r: r[:-1]), "is missing from the export", id="cut"),
        pytest.param("jsonl", line(lambda r: [*r[:5], b"{}\n", *r[5:]]), "records.jsonl:6: not a",
                     id="no record"),
        pytest.param("jsonl", changed("records.jsonl", lambda data: data[:-5]),
                     "not the file that the manifest names", id="another file"),
        pytest.param("tiles", changed("tile/entries/000", flipped(40)),
                     "is not the one that was signed", id="an entry edited"),
        pytest.param("tiles", changed("tile/entries/001", lambda data: data[:-9]),
                     "not an entry bundle of 256 records", id="entries cut"),
        pytest.param("tiles", changed("tile/0/001", flipped(40)),
                     "is not the one that was signed", id="a tile edited"),
        pytest.param("csv", changed("tile/0/001", flipped(40)), "are not those that were signed",
                     id="a tile edited where there are no bytes"),
        pytest.param("csv", changed("tile/1/000.p/2", flipped(40)),
                     "the tile is not that of the records", id="an upper tile edited"),
        pytest.param("tiles", lambda out: (out / "tile/0/001").unlink(), "the tile is missing",
                     id="a tile removed"),
        pytest.param("tiles", lambda out: (out / "tile/entries/001").unlink(),
                     "the entry bundle is missing", id="entries removed"),
        pytest.param("csv", changed("records.csv", lambda data: data.replace(b"reload", b"relief")),
                     "not the file that the manifest names", id="a cell edited"),
        pytest.param("tiles", changed("checkpoint", lambda note: note.replace(b"\n6", b"\n5")),
                     "", id="a checkpoint edited"),
        pytest.param("jsonl", changed("manifest.json", lambda data: data[:-9]),
                     "manifest.json", id="no manifest"),
        pytest.param("tiles", changed("manifest.json",
                                      lambda data: data.replace(b'"first": 0', b'"first": 256')),
                     "no record says that those before 256 were pruned", id="said to be pruned"),
    ],
)  # fmt: skip
def test_what_is_done_to_an_export_is_found(state, tmp_path, form, tamper, says):
    out = export(state, tmp_path / "out", "--format", form)
    tamper(out)

    found = judged(state, out)

    assert found.returncode == 20, found.stdout
    assert says in found.stderr


def test_log_verify_takes_an_export_as_well(state, tmp_path):
    out = export(state, tmp_path / "out")
    key = tampering.key(state)
    held = ("--checkpoint", state / "ledger" / "checkpoint")

    shown = run("verify", out, "--key", key, *held)
    assert (shown.exit_code, shown.output[:7]) == (0, "intact ")
    assert "it begins with the records" in shown.output
    assert json.loads(run("verify", out, "--key", key, "--json").output)["intact"] is True
    assert run("verify", out).exit_code == 2
    line(lambda r: r[1:])(out)
    assert run("verify", out, "--key", key).exit_code == 20
    assert '"intact":false' in run("verify", out, "--key", key, "--json").output


def test_a_selection_that_claims_less_is_seen_by_the_count_of_records(state, tmp_path):
    out = export(state, tmp_path / "out")
    line(lambda r: r[:10])(out)
    manifest = out / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"complete": true', '"complete": false'))

    shown = json.loads(judged(state, out, "--json").stdout)

    assert shown["with_bytes"] == 10 < shown["records"]


def prove(state: Path, out: Path) -> tuple[Path, Path]:
    assert run("prove", "id-300", "--state", state, "--out", out).exit_code == 0
    return out / "id-300.tlog-proof", out / "id-300.json"


def test_a_receipt_is_proven_by_everybody(state, tmp_path):
    receipt, record = prove(state, tmp_path)
    key = tampering.key(state)
    (tmp_path / "vkey").write_text(f"{key}\n")

    assert rfc6962.check_receipt(receipt.read_bytes(), record.read_bytes(), key) == 300
    assert judged(state, "--receipt", receipt, "--record", record).returncode == 0
    check = ("prove", "--check", receipt, "--record", record)
    for told in (key, tmp_path / "vkey"):
        shown = run(*check, "--key", told)
        assert (shown.exit_code, shown.output[:18]) == (0, "proven  record 300")
    assert record.read_bytes() == records(state)[300]


@pytest.mark.parametrize(
    ("which", "change", "says"),
    [
        ("record", lambda data: data.replace(b"id-300", b"id-301"), "the record is not number 300"),
        ("receipt", lambda data: data.replace(b"index 300", b"index 301"), "not number 301"),
        ("receipt", lambda data: data.replace(b"index 300", b"index 0300"), "not a receipt"),
        ("receipt", lambda data: data.replace(b"index 300", b"index 900"), "not number 900"),
        ("receipt", lambda data: data.replace(b"@v1", b"@v2"), "not a receipt"),
        ("receipt", lambda data: b"\n".join([*data.split(b"\n")[:3], *data.split(b"\n")[4:]]),
         "the record is not number 300"),
        ("receipt", lambda data: data[:-20] + b"AAAA" + data[-16:], "checkpoint"),
        ("receipt", lambda data: data[:40], "not a"),
    ],
)  # fmt: skip
def test_a_receipt_that_was_changed_proves_nothing(state, tmp_path, which, change, says):
    receipt, record = prove(state, tmp_path)
    path = record if which == "record" else receipt
    path.write_bytes(change(path.read_bytes()))

    found = judged(state, "--receipt", receipt, "--record", record)
    shown = run("prove", "--check", receipt, "--record", record, "--key", tampering.key(state))

    assert found.returncode == shown.exit_code == 20
    assert says in found.stderr
    assert says in shown.stderr


async def test_a_receipt_of_another_log_proves_nothing(state, tmp_path):
    await sample.closed(tmp_path / "other", 3)
    receipt, record = prove(state, tmp_path)

    key = tampering.key(tmp_path / "other")
    shown = run("prove", "--check", receipt, "--record", record, "--key", key)

    assert shown.exit_code == 20
    assert "the checkpoint is not signed by the key" in shown.stderr


def test_what_is_not_there_cannot_be_proven(state):
    assert run("prove", "id-9999", "--state", state).exit_code == 2
    assert run("prove", "--state", state).exit_code == 2


# --- the file that is handed over ---


def test_the_verifier_is_written_as_one_file(state, tmp_path):
    made = run("export", "--verifier", tmp_path / "verifier.py")

    assert made.exit_code == 0
    text = (tmp_path / "verifier.py").read_text()
    assert text == one_file()
    found = {
        (getattr(node, "module", None) or node.names[0].name).split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert found - set(sys.stdlib_module_names) == {"cryptography"}


def test_it_takes_nothing_from_what_it_judges():
    for name in MODULES:
        tree = ast.parse((OURS / f"{name}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sidecar"):
                assert node.module in {f"sidecar.record.outside.{one}" for one in MODULES}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["--receipt", "nowhere"], 2),
        (["nowhere"], 2),
        (["nowhere", "--receipt", "x", "--record", "x"], 2),
        (["."], 2),
        (["--help"], 0),
    ],
)
def test_wrong_use_is_no_verdict(state, tmp_path, arguments, code):
    empty = state.parent / "empty"
    empty.mkdir(exist_ok=True)
    program = state.parent / "verifier.py"
    told = [sys.executable, "-I", str(program), "--key", tampering.key(state), *arguments]

    found = subprocess.run(told, capture_output=True, text=True, check=False, cwd=empty)

    assert found.returncode == code
    assert "Traceback" not in found.stderr


def test_the_commands_of_the_page_for_auditors_run(state, tmp_path):
    page = (OURS.parent / "audit" / "README.md").read_text()
    shutil.copytree(state, tmp_path / "state")
    (tmp_path / "state").chmod(0o700)
    steps = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    for step in steps:
        done = subprocess.run(
            ["/bin/bash", "-euc", step],
            cwd=tmp_path,
            env={"PATH": path, "ID": "id-7"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    assert len(steps) == 2


async def test_a_key_that_follows_is_followed(tmp_path):
    state = tmp_path / "state"
    await sample.closed(state, 5)
    first = tampering.key(state)
    assert run("key", "--rotate", "--state", state).exit_code == 0
    ledger = await sample.written(state, 5)
    await ledger.close()

    for form in ("tiles", "jsonl"):
        out = export(state, tmp_path / form, "--format", form)
        for key in (first, tampering.key(state)):
            assert (await asyncio.to_thread(judged, state, "--key", key, out)).returncode == 0
