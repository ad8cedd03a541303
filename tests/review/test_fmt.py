"""`sidecar fmt`: laid out alike, and nothing lost."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli import root
from sidecar.review.formatting import formatted
from sidecar.syntax.layout import comments_of
from sidecar.syntax.yaml12 import dump, load_documents
from tests.tables import rows

ROOT = Path(__file__).parents[2]
FILES = sorted(
    file
    for folder in ("policies", "examples", "sidecar/cli/starter")
    for file in (ROOT / folder).rglob("*.yaml")
)


def laid_out(text):
    """Return a file laid out, and assert that a second time changes nothing."""
    (found,) = formatted({"f.yaml": text.encode()})
    (again,) = formatted({"f.yaml": found.after})
    assert found.refused is None
    assert again.after == found.after
    return found.after.decode()


@pytest.mark.parametrize("row", rows("review/fmt.yaml"))
def test_a_file_is_laid_out(row):
    assert row.want == laid_out(row.given)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_file_that_is_here_can_be_laid_out_and_loses_nothing(file):
    data = file.read_bytes()
    for found in formatted({"f.yaml": data}):
        assert found.refused is None
        assert sorted(comments_of(found.after.decode())) == sorted(comments_of(data.decode()))
        values = [[one.value for one in load_documents("f", each)] for each in (data, found.after)]
        assert values[0] == values[1]


def test_what_is_left_alone_says_where_and_what_helps():
    head = "apiVersion: sidecar/v1\nkind: Params\nmetadata: {name: a}\nspec:\n"
    text = f"{head}  a: >2\n       \n    x\n  b: 1\n"

    (found,) = formatted({"f.yaml": text.encode()})

    assert found.after == text.encode()
    assert found.refused == "a value would change: write `f.yaml:5:6` in double quotes"


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.timeout(120)
@given(VALUES)
def test_any_value_comes_out_as_it_went_in(value):
    head = {"apiVersion": "sidecar/v1", "kind": "Params", "metadata": {"name": "a"}}
    text = dump({**head, "spec": {"v": value}})

    (found,) = formatted({"f.yaml": text.encode()})

    assert load_documents("f", found.after)[0].value["spec"] == {"v": value}


POLICY = (
    "kind: Policy\napiVersion: sidecar/v1\nmetadata: {name: p}\n"
    "spec: {rules: [{effect: deny, id: r}]}\n"
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "bundle.yaml").write_text('name: t\nversion: "1.0.0"\n')
    (tmp_path / "p.yaml").write_text(POLICY)
    (tmp_path / "README.md").write_text("kind:  of a page\n")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(root, ["fmt", *map(str, arguments)])


def test_files_are_written_once(folder):
    assert run(folder).exit_code == 0
    first = (folder / "p.yaml").read_text()

    done = run(folder, "--check")

    assert first.startswith("apiVersion: sidecar/v1\nkind: Policy\n")
    assert (done.exit_code, done.output) == (0, "2 files, 0 would change\n")


@pytest.mark.parametrize("option", ["--check", "--diff"])
def test_a_check_writes_nothing_and_fails(folder, option):
    done = run(folder, option)

    assert done.exit_code == 4
    assert "p.yaml" in done.output
    assert (folder / "p.yaml").read_text() == POLICY
