"""The ids, actions and classes that policies and records rely on, as the command line gives them.

Both verbs read every row: what `sidecar parse` shows is what `sidecar decide` decided on.
"""

import json
from functools import cache

import pytest
from click.testing import CliRunner

from sidecar.cli import root
from sidecar.syntax.yaml12 import dump
from sidecar.terms.words import PROTOCOLS
from tests.tables import CASES, rows

TABLES = sorted(path.relative_to(CASES).as_posix() for path in CASES.glob("e2e/ids_*.yaml"))
# Not read by any parser yet: whatever is sent is refused.
NOT_READ = {"graphql", "jsonrpc"}
POLICY = """\
apiVersion: sidecar/v1
kind: Policy
metadata: {name: open}
spec: {rules: [{id: everything, effect: allow, match: {phases: [connect, list, call]}}]}
"""


def table_of(row):
    return row.table["protocol"]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Ask a verb about all rows of a table at once; the answers by the rows' sentences."""

    @cache
    def asked(verb, file):
        all_rows = [param.values[0] for param in rows(file)]
        bundle = tmp_path_factory.mktemp("bundle")
        write_bundle(bundle, all_rows[0].table.get("catalog", []))
        calls = [{"protocol": table_of(row), **row.given} for row in all_rows]
        lines = "".join(f"{json.dumps(call)}\n" for call in calls)
        done = CliRunner().invoke(root, [verb, "--jsonl", "-b", str(bundle), "-"], input=lines)
        assert done.exit_code == 0, done.output
        said = [json.loads(line) for line in done.stdout.splitlines()]
        return dict(zip([row.it for row in all_rows], said, strict=True))

    return asked


def write_bundle(folder, catalogues):
    (folder / "bundle.yaml").write_text('name: ids\nversion: "1"\n')
    (folder / "open.yaml").write_text(POLICY)
    for number, spec in enumerate(catalogues):
        document = {
            "apiVersion": "sidecar/v1",
            "kind": "Catalog",
            "metadata": {"name": f"c{number}"},
            "spec": spec,
        }
        (folder / f"c{number}.yaml").write_text(dump(document))


def target_line(target):
    action, resource = target["action"], target["resource"]
    return f"{action['name']} {action['class']} {resource['type']}:{resource['id']}"


def targets_of(request):
    own = [target_line(target) for target in request["targets"]]
    return own + [line for part in request["parts"] for line in targets_of(part)]


@pytest.mark.parametrize("row", [row for table in TABLES for row in rows(table)])
def test_a_target_has_the_id_that_was_promised(answers, row):
    request = answers("parse", row.file)[row.it]

    assert request["parse"]["status"] in {"complete", "partial"}, request["parse"]
    assert row.want == targets_of(request)


@pytest.mark.parametrize("row", [row for table in TABLES for row in rows(table)])
def test_what_is_decided_is_what_is_shown(answers, row):
    decision = answers("decide", row.file)[row.it]

    assert row.want == [target_line(target) for target in decision["targets"]]
    assert decision["permitted"] is True, decision["reason"]
    assert {target["outcome"] for target in decision["targets"]} == {"allow"}


def test_every_protocol_that_is_read_has_its_table():
    told = {rows(table)[0].values[0].table["protocol"] for table in TABLES}

    assert told == set(PROTOCOLS) - NOT_READ


@pytest.mark.parametrize("protocol", sorted(NOT_READ))
def test_what_is_not_read_is_denied(answers, tmp_path, protocol):
    write_bundle(tmp_path, [])
    line = json.dumps({"protocol": protocol, "call": {"query": "{ me }"}})

    done = CliRunner().invoke(root, ["decide", "-b", str(tmp_path), "-"], input=line)

    assert done.exit_code == 10
    assert json.loads(done.stdout)["reason"] == "parse.unsupported"
