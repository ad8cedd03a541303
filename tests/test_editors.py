"""What an editor marks is what does not load: headers lead to schemas that say what readers say."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from sidecar.cli import root
from sidecar.cli.schemas import SCHEMAS, file_name
from sidecar.domains import by_protocol, found
from sidecar.policy.bundle import compile_bundle
from sidecar.policy.documents import KINDS
from sidecar.runtime.bundles import load_bundle, read_source
from sidecar.syntax.yaml12 import load_documents
from sidecar.terms.domain import CatalogueFile
from sidecar.terms.errors import PolicyError

ROOT = Path(__file__).parents[1]
HEADER = re.compile(r"# yaml-language-server: \$schema=(\S+)\n")
# Cerbos's own files, an API's description, what CI systems read, and what is whole after `init`.
NOT_OURS = re.compile(r"examples/(cerbos/cerbos|ci)/|/openapi\.yaml\Z|starter/sidecar\.yaml\Z")
# Of a long catalogue, so many of its slips.
TRIED_MAX = 150
FILES = [
    file
    for folder in ("policies", "examples", "sidecar/cli/starter")
    for file in sorted((ROOT / folder).rglob("*.yaml"))
    if not NOT_OURS.search(file.relative_to(ROOT).as_posix())
]
BUNDLES = sorted({file.parent for file in FILES if file.name == "bundle.yaml"})


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def inside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def of_file(name: str) -> Resource[Any]:
    return DRAFT202012.create_resource(json.loads(made(name)))


def made(name: str) -> bytes:
    return SCHEMAS[name.rpartition("/")[2].removesuffix(".schema.json")]()


REGISTRY: Registry[Any] = Registry(retrieve=of_file)  # type: ignore[call-arg]


def validator(kind: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(SCHEMAS[kind]()), registry=REGISTRY)


VALIDATORS = {kind: validator(kind) for kind in SCHEMAS}


@pytest.mark.parametrize("file", FILES, ids=named)
def test_each_file_names_a_schema_that_is_there_and_that_it_is_of(file: Path) -> None:
    header = HEADER.match(file.read_text("utf-8"))

    assert header, "its first line is no header"
    schema = (file.parent / header[1]).resolve()
    starter = ROOT / "sidecar" / "cli" / "starter"
    home = starter / ".schemas" if file.is_relative_to(starter) else ROOT / "schemas"
    kind = schema.name.removesuffix(".schema.json")
    assert (schema.parent, file_name(kind)) == (home, schema.name)
    for document in load_documents(file.name, file.read_bytes()):
        assert [error.message for error in VALIDATORS[kind].iter_errors(document.value)] == []


def test_every_kind_of_document_has_a_schema() -> None:
    assert {kind.lower() for kind in KINDS} < set(SCHEMAS)


def catalogues() -> Iterator[tuple[str, CatalogueFile]]:
    """Yield every catalogue of the tree, and one of each protocol that has none there."""
    for folder in BUNDLES:
        files = read_source(folder).files
        documents = [
            document
            for name, data in sorted(files.items())
            if name.endswith(".yaml")
            for document in load_documents(name, data)
        ]
        for one in documents:
            if one.value.get("kind") == "Catalog":
                file = CatalogueFile(one.name, one.value["spec"], one.positions, files)
                yield f"{named(folder)}/{one.name}", file
    for spec in WRITTEN:
        yield spec["protocol"], CatalogueFile("it.yaml", spec, {}, FILES_NAMED)


_ABOUT = {"labels": ["x"], "properties": {"owner": "ann"}}
FILES_NAMED = {"api.json": b'{"openapi": "3.1.0", "paths": {}}'}
# One of each protocol that has every field there is.
WRITTEN: list[dict[str, Any]] = [
    {
        "protocol": "authzen",
        "upstream": "app",
        "actions": {"view": "read"},
        "resources": {"doc:*": _ABOUT},
    },
    {"protocol": "k8s", "upstream": "east", "resources": {"k8s/secrets:*": _ABOUT}},
    {"protocol": "aws", "upstream": "east", "resources": {"aws/s3/bucket:*": _ABOUT}},
    {"protocol": "terraform", "upstream": "east", "resources": {"tf/aws_s3_bucket:*": _ABOUT}},
    {
        "protocol": "llm",
        "upstream": "west",
        "models": {"openai/gpt-*": _ABOUT},
        "resources": {"model:*": _ABOUT},
    },
    {
        "protocol": "a2a",
        "upstream": "hub",
        "agents": {"planner": _ABOUT},
        "resources": {"agent:*": _ABOUT},
    },
    {
        "protocol": "mcp",
        "upstream": "hub",
        "resources": {"tool:*": _ABOUT},
        "servers": {
            "crm": {
                **_ABOUT,
                "tools": {
                    "query": {
                        "class": "read",
                        "arguments": {
                            "sql": {
                                "protocol": "sql",
                                "dialect": "postgres",
                                "upstream": "db",
                                "max_length": 4000,
                            },
                            "url": {"protocol": "http", "method": "GET", "upstream": "web"},
                            "note": {"protocol": "text"},
                        },
                    }
                },
                "prompts": {"hello": _ABOUT},
                "resources": {"file:///x/*": _ABOUT},
            }
        },
    },
    {
        "protocol": "rag",
        "upstream": "hub",
        "resources": {"document:*": _ABOUT},
        "collections": {"wiki": {**_ABOUT, "documents": {"hr/*": _ABOUT}}},
    },
    {
        "protocol": "http",
        "upstream": "shop",
        "openapi": "api.json",
        "routes": [
            {
                "method": "POST",
                "path": "/users/{id}",
                "name": "change",
                "class": "write",
                "labels": ["x"],
                "resource": "user:{id}",
                "body": True,
            }
        ],
        "resources": {"user:*": _ABOUT},
    },
    {
        "protocol": "sql",
        "upstream": "db",
        "dialect": "postgres",
        "server": "15.4",
        "search_path": ["shop"],
        "schemas": {
            "shop": {
                "labels": ["x"],
                "tables": {
                    "orders": {
                        "columns": {
                            "id": {"type": "integer", "generated": True},
                            "card": {"labels": ["x"]},
                        }
                    },
                    "old": {"columns": ["id"], "inherits": ["shop.orders"]},
                    "seen": {
                        "columns": {"id": {"shows": ["shop.orders.id"]}},
                        "kind": "view",
                        "query": "SELECT orders.id FROM shop.orders",
                    },
                    "unseen": {
                        "columns": ["id"],
                        "reads": ["shop.orders"],
                        "lineage": "unknown",
                        "definition": "sha256:0",
                    },
                },
                "sequences": ["numbers"],
            }
        },
        "functions": {
            "shop.total": {"reads": ["shop.orders.id"], "writes": []},
            "shop.other": {"forms": [{"arguments": ["integer"]}]},
        },
        "types": {
            "shop.state": {"kind": "enum"},
            "shop.money": {"kind": "composite", "fields": {"amount": "numeric"}},
            "shop.email": {
                "kind": "domain",
                "base": "text",
                "checks": ["CHECK (VALUE <> '')"],
                "cast": "unread",
            },
        },
    },
]
CATALOGUES = dict(catalogues())


def reads(file: CatalogueFile, spec: Any) -> bool:
    """Return whether the domain's reader takes a catalogue."""
    domain = by_protocol()[file.spec["protocol"]]
    try:
        domain.catalogue([CatalogueFile(file.name, spec, {}, file.files)])
    except PolicyError:
        return False
    return True


def takes(spec: Any) -> bool:
    """Return whether the schema takes the same."""
    head = {"apiVersion": "sidecar/v1", "kind": "Catalog", "metadata": {"name": "it"}}
    return VALIDATORS["catalog"].is_valid({**head, "spec": spec})


def offers(file: CatalogueFile, spec: Any) -> set[str]:
    """Return the fields that the reader names where one is none of them."""
    domain = by_protocol()[file.spec["protocol"]]
    try:
        domain.catalogue([CatalogueFile(file.name, spec, {}, file.files)])
    except PolicyError as error:
        said = [text for text in error.problems if "unknown field `lables`" in text]
        told = " ".join(text.partition(";")[2] for text in said)
        return set(re.findall(r"\w+", told)) - {"known", "are", "there", "expected", "one", "of"}
    return set()


def fields_of(value: Any) -> set[str]:
    """Return the names of all fields, wherever they stand."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = set(value) if isinstance(value, dict) else set()
    return own.union(*(fields_of(one) for one in inner))


def copies(value: Any, change: Callable[[dict[str, Any]], Iterator[Any]]) -> Iterator[Any]:
    """Yield `value` with one of its mappings changed, for each of them and each change."""
    if isinstance(value, dict):
        yield from change(value)
        for key, inner in value.items():
            yield from ({**value, key: other} for other in copies(inner, change))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from ([*value[:at], other, *value[at + 1 :]] for other in copies(inner, change))


def some(tried: Iterator[Any]) -> list[Any]:
    every = list(tried)
    return every[:: len(every) // TRIED_MAX + 1]


def misspelt(mapping: dict[str, Any]) -> Iterator[Any]:
    yield {**mapping, "lables": ["x"]}


def of_another_kind(mapping: dict[str, Any]) -> Iterator[Any]:
    for key in mapping:
        yield from ({**mapping, key: wrong} for wrong in (7, "", [7], {"lables": 7}))


@pytest.mark.parametrize("path", CATALOGUES)
def test_a_field_that_is_none_is_refused_by_the_schema_where_the_reader_refuses_it(
    path: str,
) -> None:
    file = CATALOGUES[path]
    tried = some(copies(file.spec, misspelt))

    assert tried
    assert reads(file, file.spec)
    assert [spec for spec in tried if reads(file, spec) != takes(spec)] == []
    assert not takes(tried[0])


@pytest.mark.parametrize("path", CATALOGUES)
def test_a_value_of_another_kind_that_the_reader_refuses_is_refused_by_the_schema(
    path: str,
) -> None:
    file = CATALOGUES[path]

    unseen = [
        spec
        for spec in some(copies(file.spec, of_another_kind))
        if takes(spec) and not reads(file, spec)
    ]
    assert unseen == []


@pytest.mark.parametrize("spec", WRITTEN, ids=lambda spec: spec["protocol"])
def test_every_field_that_the_reader_offers_may_be_written(spec: dict[str, Any]) -> None:
    file = CatalogueFile("it.yaml", spec, {}, FILES_NAMED)
    offered = {field for slip in copies(spec, misspelt) for field in offers(file, slip)}

    assert reads(file, spec)
    assert takes(spec)
    assert offered - fields_of(spec) == set()
    assert {"protocol", "labels"} <= offered


def test_every_protocol_with_a_catalogue_has_been_compared() -> None:
    shapes = {name for domain in found().values() for name in domain.shapes}

    assert shapes == {file.spec["protocol"] for file in CATALOGUES.values()}


def slips() -> Iterator[tuple[str, str, bytes]]:
    """Yield one mistake after the other that the loader refuses, as the file that has it."""
    shop = ROOT / "sidecar" / "cli" / "starter" / "bundle"
    for name, was, becomes in SLIPS:
        text = (shop / name).read_text("utf-8")
        assert text.count(was) >= 1, was
        yield name, becomes, text.replace(was, becomes, 1).encode()


SLIPS = [
    ("bundle.yaml", "version:", "vresion:"),
    ("attributes.yaml", "spec:", "spec:\n  subjects: {}"),
    ("attributes.yaml", "spec:", "spec:\n  context: {propertys: {}}"),
    ("attributes.yaml", "type: array", "type: list"),
    ("attributes.yaml", "items: {type: string}", "items: {typ: string}"),
    ("policies/support.yaml", "effect: allow", "effect: permit"),
    ("policies/support.yaml", "rules:", "variabels: {}\n  rules:"),
    ("policies/support_test.yaml", "tests:", "principles: {}\n  tests:"),
]


@pytest.mark.parametrize(("name", "slip", "data"), list(slips()), ids=lambda value: str(value)[:40])
def test_a_slip_that_does_not_load_is_marked(name: str, slip: str, data: bytes) -> None:
    header = HEADER.match(data.decode())
    assert header
    kind = Path(header[1]).name.removesuffix(".schema.json")

    marked = [
        error.message
        for document in load_documents(name, data)
        for error in VALIDATORS[kind].iter_errors(document.value)
    ]

    assert marked
    shop = read_source(ROOT / "sidecar" / "cli" / "starter" / "bundle").files
    if kind != "test":
        with pytest.raises(PolicyError):
            compile_bundle({**shop, name: data}, by_protocol())


@pytest.mark.parametrize(
    ("obligation", "is_one"),
    [
        ({"type": "limit_rows", "max": 5}, True),
        ({"type": "limit_rows", "max": 5, "on": "table:t"}, True),
        ({"type": "limit_rows", "maximum": 5}, False),
        ({"type": "limit_rows"}, False),
        ({"type": "limit_row", "max": 5}, False),
        ({"max": 5}, False),
    ],
)
def test_an_obligation_is_of_the_shape_of_its_type(
    obligation: dict[str, Any], is_one: bool
) -> None:
    rule = {"id": "one", "effect": "allow", "obligations": [obligation]}
    head = {"apiVersion": "sidecar/v1", "kind": "Policy", "metadata": {"name": "it"}}

    assert VALIDATORS["policy"].is_valid({**head, "spec": {"rules": [rule]}}) is is_one


@pytest.mark.parametrize(
    ("fixtures", "is_one"),
    [
        ({"principals": {"ann": {"subject": {"type": "user", "id": "ann"}}}}, True),
        ({"groups": {"staff": ["ann"]}, "facts": {"revoked": ["user:ann"]}}, True),
        ({"principles": {}}, False),
        ({"principals": {"ann": {"type": "user", "id": "ann"}}}, False),
    ],
)
def test_what_suites_share_is_of_its_shape(fixtures: dict[str, Any], is_one: bool) -> None:
    assert VALIDATORS["fixtures"].is_valid(fixtures) is is_one


@pytest.mark.parametrize(
    ("entities", "is_one"),
    [({"user": {"ann": {"roles": ["x"]}}}, True), ({"user": {"ann": 1}}, False), ([], False)],
)
def test_an_entities_file_is_of_its_shape(entities: Any, is_one: bool) -> None:
    assert VALIDATORS["entities"].is_valid(entities) is is_one


def test_no_schema_sends_an_editor_elsewhere() -> None:
    for kind, make in SCHEMAS.items():
        links = re.findall(r'"\$ref": "([^#"]+)', make().decode())
        assert set(links) <= {file_name(name) for name in SCHEMAS}, kind


def test_a_file_of_several_kinds_is_marked_by_the_kind_of_each_document() -> None:
    head = {"apiVersion": "sidecar/v1", "kind": "Params", "metadata": {"name": "it"}}

    assert VALIDATORS["document"].is_valid({**head, "spec": {"a": 1}})
    assert not VALIDATORS["document"].is_valid({**head, "spec": []})
    assert not VALIDATORS["document"].is_valid({**head, "kind": "Parms", "spec": {}})


def test_init_writes_the_schemas_that_its_files_name(tmp_path: Path) -> None:
    said = CliRunner().invoke(root, ["init", str(tmp_path / "shop")])

    assert said.exit_code == 0
    files = list((tmp_path / "shop").rglob("*.yaml"))
    assert len(files) >= 7
    for file in files:
        header = HEADER.match(file.read_text("utf-8"))
        assert header
        schema = Draft202012Validator(json.loads((file.parent / header[1]).read_bytes()))
        for document in load_documents(file.name, file.read_bytes()):
            assert [error.message for error in schema.iter_errors(document.value)] == []
    assert load_bundle(tmp_path / "shop" / "bundle", by_protocol()).rules


def test_schemas_come_to_a_folder_that_is_there_over_older_ones(tmp_path: Path) -> None:
    (tmp_path / ".schemas").mkdir()
    (tmp_path / ".schemas" / "policy.schema.json").write_text("{}")
    (tmp_path / "mine.yaml").write_text("kept: true\n")

    said = CliRunner().invoke(root, ["init", "--schemas", str(tmp_path)])

    assert said.exit_code == 0
    assert inside(tmp_path / ".schemas") == sorted(map(file_name, SCHEMAS))
    assert (tmp_path / ".schemas" / "policy.schema.json").read_bytes() == SCHEMAS["policy"]()
    assert inside(tmp_path) == [".schemas", "mine.yaml"]
