"""Every domain has the same shape: a fifth one that lacks a part of it fails here by its name."""

import importlib
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from sidecar.domains import by_protocol, found
from sidecar.policy.cel import ROOTS
from sidecar.syntax.yaml12 import load_documents
from sidecar.terms.words import PHASES, PROTOCOLS
from tests.tables import rows
from tests.words import page_of, words_of

ROOT = Path(__file__).parents[2]
DOMAINS = sorted(found())
_SIMPLE = r"(?:string|int|uint|double|bool|bytes|timestamp|duration|dyn)"
_TYPE = re.compile(
    rf"(?:{_SIMPLE}|list\({_SIMPLE}\)|map\(string, (?:{_SIMPLE}|list\({_SIMPLE}\))\))\Z"
)
_PATH = re.compile(
    r"(?:request\.[a-z0-9]+|(?:resource|action)\.properties|context)(?:\.[a-z0-9_]+)*\Z"
)

pytestmark = pytest.mark.parametrize("name", DOMAINS)


def kinds_in(folder):
    """The kinds of every document of a folder of policies."""
    return [
        document.value["kind"]
        for file in sorted(folder.rglob("*.yaml"))
        for document in load_documents(file.name, file.read_bytes())
    ]


def test_it_exports_a_domain_that_is_named_like_its_folder(name):
    module = importlib.import_module(f"sidecar.domains.{name}")

    assert module.DOMAIN.name == name
    assert Path(str(module.__file__)).parent.name == name


def test_it_speaks_protocols_that_are_known_and_nobody_elses(name):
    protocols = found()[name].protocols

    assert protocols
    assert set(protocols) <= set(PROTOCOLS)
    assert {by_protocol()[protocol].name for protocol in protocols} == {name}


def test_its_words_are_those_of_its_protocols(name):
    domain = found()[name]

    assert set(domain.vocabulary.words) == set(domain.protocols)
    assert set(domain.vocabulary.phases) == set(domain.protocols)
    assert {p for phases in domain.vocabulary.phases.values() for p in phases} <= set(PHASES)


def test_each_word_is_a_path_with_a_type_and_a_meaning(name):
    wrong = [
        word.path
        for word in words_of(name)
        if not (_PATH.match(word.path) and _TYPE.match(word.type) and word.doc.strip())
    ]

    assert wrong == []
    assert {word.path.partition(".")[0] for word in words_of(name)} <= set(ROOTS)


def test_a_protocols_words_are_its_own_and_each_stands_once(name):
    for protocol, words in found()[name].vocabulary.words.items():
        paths = [word.path for word in words]
        native = {path.split(".")[1] for path in paths if path.startswith("request.")}

        assert sorted(set(paths)) == sorted(paths)
        assert native <= {protocol}


def test_each_obligation_has_a_schema_and_a_field_to_be_combined_on(name):
    for kind in found()[name].vocabulary.obligations:
        Draft202012Validator.check_schema(kind.schema)

        assert kind.schema["additionalProperties"] is False, kind.name
        if kind.combine != "equal":
            assert kind.field in kind.schema["properties"], kind.name
        assert (kind.combine == "strictest") == bool(kind.order), kind.name


def test_it_has_tables_of_cases(name):
    assert len(rows(name)) >= 10


def test_it_ships_a_policy_and_its_tests(name):
    kinds = kinds_in(ROOT / "policies" / name)

    assert kinds.count("Policy") >= 1
    assert kinds.count("Test") >= 1


def test_it_has_an_example(name):
    stories = [folder for folder in ROOT.glob(f"examples/*-{name}-*") if folder.is_dir()]

    assert len(stories) == 1


def test_its_readme_shows_its_words_as_they_are(name):
    shown = (ROOT / "sidecar" / "domains" / name / "README.md").read_bytes()

    assert page_of(name) == shown, "run `make golden` and read the diff"
    for word in words_of(name):
        assert f"| `{word.path}` | {word.type} | {word.doc}" in shown.decode()
