"""`sidecar bundle diff`: which requests gain or lose permission, and what nobody could say."""

import json
import subprocess

import pytest
from click.testing import CliRunner

from sidecar.cli import root
from sidecar.domains import by_protocol
from sidecar.policy.bundle import compile_bundle
from sidecar.review.diff import compare
from sidecar.review.diff.deciding import changes, decided
from sidecar.review.diff.recorded import of_records
from sidecar.review.revision import bundle_at
from sidecar.runtime.bundles import load_bundle
from sidecar.terms.errors import ConfigError, PolicyError
from tests.review import history
from tests.review.shelf import HEAD, document
from tests.tables import rows


def files_of(rules, catalog):
    return {
        "bundle.yaml": HEAD,
        "p.yaml": document("Policy", "p", {"rules": rules}),
        "c.yaml": document("Catalog", "c", catalog),
    }


def bundle_of(rules, catalog):
    return compile_bundle(files_of(rules, catalog), by_protocol())


@pytest.mark.parametrize("row", rows("review/diff.yaml"))
def test_two_bundles_differ(row):
    before, after = (bundle_of(row.given[name], row.table["catalog"]) for name in "ab")

    found = compare(before, after)

    told = {
        " ".join((each.change.kind, each.change.what.partition(" on ")[0], *each.change.because))
        for each in found.groups
    }
    told |= {f"undecided {text}" for text in found.undecided}
    assert set(row.want) == told


ALLOW = [{"id": "r", "effect": "allow", "match": {"classes": ["read"]}}]
NARROW = [{**ALLOW[0], "when": "delegated"}]
OPAQUE = [
    [{**ALLOW[0], "when": f"delegated || targets.exists(t, t.resource.id == '{name}')"}]
    for name in ("hr.a", "hr.b")
]
CATALOG = {
    "protocol": "sql",
    "dialect": "postgres",
    "schemas": {"hr": {"tables": {"pay": {"columns": ["iban"]}}}},
}


@pytest.fixture
def folders(tmp_path):
    """Write bundles A and B; return their folders."""
    for name, rules in (("a", NARROW), ("b", ALLOW)):
        (tmp_path / name).mkdir()
        for path, data in files_of(rules, CATALOG).items():
            (tmp_path / name / path).write_bytes(data)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(root, ["bundle", "diff", *map(str, arguments)])


@pytest.mark.parametrize(
    ("order", "fail_on", "code"),
    [("ab", "gain", 4), ("ab", "loss", 0), ("ba", "loss", 4), ("ba", "any", 4), ("aa", "any", 0)],
)
def test_a_script_is_told_what_it_asked_for(folders, order, fail_on, code):
    done = run(*(folders / name for name in order), "--fail-on", fail_on)

    assert done.exit_code == code, done.output


@pytest.mark.parametrize(
    ("fail_on", "code"),
    [
        (["gain"], 0),
        (["gain", "loss"], 0),
        (["undecided"], 4),
        (["gain", "undecided"], 4),
        (["any"], 4),
    ],
)
def test_what_is_not_decided_fails_where_a_script_asks_for_it(folders, fail_on, code):
    for name, rules in zip("ab", OPAQUE, strict=True):
        (folders / name / "p.yaml").write_bytes(document("Policy", "p", {"rules": rules}))

    done = run(
        folders / "a", folders / "b", *(word for kind in fail_on for word in ("--fail-on", kind))
    )

    assert "NOT DECIDED" in done.output
    assert done.exit_code == code, done.output


def with_columns(*columns, table="pay"):
    return {**CATALOG, "schemas": {"hr": {"tables": {table: {"columns": list(columns)}}}}}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (CATALOG, with_columns("iban", "name")),
        (with_columns("iban", table="staff"), CATALOG),
    ],
)
def test_what_a_catalogue_adds_opens(before, after):
    found = compare(bundle_of(ALLOW, before), bundle_of(ALLOW, after))

    assert found.counts("gain") > 0
    assert compare(bundle_of(ALLOW, after), bundle_of(ALLOW, before)).counts("loss") > 0


def suite(now="2026-01-05T12:00:00Z", **facts):
    text = "SELECT iban FROM hr.pay WHERE iban = 'DE1'"
    return document(
        "Test",
        "s",
        {
            "principals": {"ann": {"subject": {"type": "user", "id": "Ann Äther"}}},
            "requests": {"one": {"protocol": "sql", "call": {"dialect": "postgres", "text": text}}},
            "options": {"now": now},
            "facts": facts,
            "tests": [
                {
                    "name": "one",
                    "input": {"principals": ["ann"], "requests": ["one"]},
                    "expected": [],
                }
            ],
        },
    )


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize(
    ("when", "beside"),
    [
        ("targets.exists(t, subject.id.split(' ')[1] == 'Äther')", {}),
        (
            "[entity('user', subject.id)].exists(e, e.?team.orValue('') == 'x')",
            {"entity": {"user": {"Ann Äther": {"team": "x"}}}},
        ),
        ("[context.time].exists(t, t.startsWith('2031-'))", {"now": "2031-01-01T00:00:00Z"}),
    ],
)
def test_cells_of_suites_are_asked_as_they_are_written(when, beside, side):
    files = {"before": files_of(NARROW, CATALOG)}
    files["after"] = files_of([*NARROW, {**ALLOW[0], "id": "s", "when": when}], CATALOG)
    files[side]["p_test.yaml"] = suite(**beside)

    before, after = (compile_bundle(files[each], by_protocol()) for each in ("before", "after"))
    found = compare(before, after)

    assert [each.change.because for each in found.groups] == [("+p/s",)]
    assert found.undecided == []


def test_the_json_of_a_difference_has_an_example_that_can_be_asked(folders):
    told = json.loads(run(folders / "a", folders / "b", "--json").output)

    (change,) = told["changes"]
    assert (change["kind"], change["what"]) == ("gain", "deny → allow")
    assert change["reason"] == {"before": "no_rule", "after": "permitted"}
    assert told["gained"] == change["count"] > 0
    assert told["undecided"] == []
    example = folders / "example.json"
    example.write_text(json.dumps(change["example"]))
    decided = CliRunner().invoke(root, ["decide", "-b", str(folders / "b"), str(example)])
    assert decided.exit_code == 0, decided.output


def test_requests_that_are_given_are_asked_too(folders):
    call = {"dialect": "postgres", "text": "SELECT iban FROM hr.pay WHERE iban = 'x'"}
    file = folders / "requests.jsonl"
    file.write_text(json.dumps({"protocol": "sql", "call": call}) + "\n\n")

    asked = [
        json.loads(run(folders / "a", folders / "b", "--json", *more).output)["asked"]
        for more in ([], ["--requests", file])
    ]

    assert asked[1] == asked[0] + 1


def test_a_request_that_cannot_be_read_is_named(folders):
    file = folders / "requests.jsonl"
    file.write_text('{"protocol": "sql"}\n')

    done = run(folders / "a", folders / "b", "--requests", file)

    assert "requests.jsonl:1: `call` is missing" in str(done.exception)


def test_records_are_asked_as_they_were_understood(tmp_path):
    allow = history.bundle_of([{"id": "r", "effect": "allow"}])
    narrow = history.bundle_of([{"id": "r", "effect": "allow", "match": {"protocols": ["http"]}}])
    calls = history.calls([{"sql": "SELECT id FROM notes"}, {"http": "GET http://api.test/x"}])
    state = history.record(tmp_path / "s", allow, calls)

    asked = list(of_records(state))
    (change,) = (one for each in asked for one in _changes(each, allow, narrow))

    assert len(asked) == 2
    assert (change.kind, change.what) == ("loss", "allow → deny")


def _changes(asked, before, after):
    return changes(decided(asked.before, before, asked), decided(asked.after, after, asked))


def git(folder, *arguments):
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
    )


@pytest.fixture
def repository(folders):
    """Commit bundle A under `p`, and leave bundle B there uncommitted."""
    git(folders, "init", "-q")
    (folders / "a").rename(folders / "p")
    (folders / "p" / ".gitattributes").write_text("* export-ignore\n*.yaml export-subst\n")
    git(folders, "add", "p")
    git(folders, "commit", "-qm", "one")
    for path, data in files_of(ALLOW, CATALOG).items():
        (folders / "p" / path).write_bytes(data)
    return folders


def load(path):
    return load_bundle(path, by_protocol())


def test_a_revision_is_compared_with_what_is_there_now(repository, monkeypatch):
    monkeypatch.chdir(repository)

    assert run("HEAD:p", "p", "--fail-on", "gain").exit_code == 4
    assert run("HEAD", "p", "--fail-on", "gain").exit_code == 4
    assert run("HEAD:p", "HEAD:p", "--fail-on", "any").exit_code == 0


def test_attributes_of_a_repository_hide_nothing_of_a_revision(repository, monkeypatch):
    monkeypatch.chdir(repository)

    found = bundle_at("HEAD:p", load)

    assert found.files == files_of(NARROW, CATALOG)


def test_a_folder_with_a_hidden_name_is_its_own_at_a_revision(repository, monkeypatch):
    monkeypatch.chdir(repository)
    git(repository, "mv", "p", ".p")
    (repository / "p").mkdir()
    for path, data in files_of(ALLOW, CATALOG).items():
        (repository / "p" / path).write_bytes(data)
    (repository / ".p" / "p.yaml").write_bytes(files_of(NARROW, CATALOG)["p.yaml"])
    git(repository, "add", "p", ".p")
    git(repository, "commit", "-qm", "two")

    assert bundle_at("HEAD", load, repository / ".p").files == files_of(NARROW, CATALOG)


@pytest.mark.parametrize(
    "revision", ["HEAD@{0}", "HEAD@{2100-01-01 10:00:00}", "HEAD^{/fix: a}", ":/fix: a", "HEAD"]
)
def test_a_colon_inside_a_revision_is_its_own(repository, monkeypatch, revision):
    monkeypatch.chdir(repository)
    git(repository, "commit", "-qm", "fix: a", "--allow-empty")

    assert bundle_at(revision, load, repository / "p").files == files_of(NARROW, CATALOG)
    if not revision.startswith(":/"):
        assert bundle_at(f"{revision}:p", load).files == files_of(NARROW, CATALOG)


@pytest.mark.parametrize(
    "stated",
    ["nothing", ":/nobody said this", ":0:p", "--output=x", "HEAD:nothing", "nothing:p", ":p"],
)
def test_what_is_no_bundle_is_said(repository, monkeypatch, stated):
    monkeypatch.chdir(repository)

    with pytest.raises(ConfigError):
        bundle_at(stated, load)


def test_a_link_in_a_revision_is_refused(repository, monkeypatch):
    monkeypatch.chdir(repository)
    (repository / "p" / "q.yaml").symlink_to("/etc/passwd")
    git(repository, "add", "p")
    git(repository, "commit", "-qm", "two")

    with pytest.raises(PolicyError, match="a link"):
        bundle_at("HEAD:p", load)
