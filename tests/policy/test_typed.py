"""What a rule may read, by what its `match` takes and by what the bundle says of its own."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.domains import by_protocol
from sidecar.policy import vocabulary
from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.policy.cel import ROOTS
from sidecar.policy.language.types import AnyType, Record
from sidecar.syntax.yaml12 import dump, load_documents
from sidecar.terms.call import Party
from sidecar.terms.errors import PolicyError
from sidecar.terms.request import Action, ParseStatus, Resource, Target
from tests.tables import Row, rows

HEAD = b'name: t\nversion: "1.0.0"\n'


def document(kind: str, name: str, spec: Any) -> bytes:
    body = {"apiVersion": "sidecar/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    return dump(body).encode()


def files(given: dict[str, Any]) -> dict[str, bytes]:
    """Return a bundle of one policy with one rule, and of what the bundle says beside it."""
    rest = dict(given)
    policy = {**rest.pop("policy", {}), "variables": rest.pop("variables", {})}
    made = {"bundle.yaml": HEAD}
    said = rest.pop("attributes", [])
    for number, spec in enumerate(said if isinstance(said, list) else [said]):
        made[f"a{number}.yaml"] = document("Attributes", f"a{number}", spec)
    for name, spec in rest.pop("params", {}).items():
        made[f"{name}.yaml"] = document("Params", name, spec)
    for number, spec in enumerate(rest.pop("catalog", ())):
        made[f"c{number}.yaml"] = document("Catalog", f"c{number}", spec)
    rule = {"id": "r", "effect": "deny", **rest}
    made["p.yaml"] = document("Policy", "p", {**policy, "rules": [rule]})
    return made


def compiled(given: dict[str, Any]) -> Bundle:
    return compile_bundle(files(given), by_protocol())


def problems(given: dict[str, Any]) -> list[str]:
    """Return what is wrong, in one line each and without its place."""
    try:
        compiled(given)
    except PolicyError as error:
        return [text.splitlines()[0].split(": ", 1)[1] for text in error.problems]
    return []


@pytest.mark.parametrize("row", rows("policy/typed.yaml"))
def test_what_a_rule_may_read(row: Row) -> None:
    assert problems(row.given) == row.want


def test_the_readmes_attributes_keep_what_the_readme_says_out() -> None:
    page = (Path(vocabulary.__file__).parent / "README.md").read_text()
    (block,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (written,) = load_documents("attributes.yaml", block.encode())
    refused = re.findall(r"`(subject\.properties\.[^`]*)`", page.partition("```yaml")[2])

    said = {
        text: problems({"attributes": written.value["spec"], "when": f"{text} != null"})
        for text in (*refused, "subject.properties.groups", "subject.properties.level")
    }

    assert [len(said[text]) for text in said] == [1, 1, 0, 0]


def fields_of(found: AnyType) -> set[str]:
    """Return the fields of an object, or of the objects of a list."""
    if isinstance(found, Record):
        return set(found.fields)
    (inner,) = found.args
    return fields_of(inner)


def test_the_roots_have_the_fields_of_the_requests_that_rules_see() -> None:
    seen = compiled({"when": "true"}).vocabulary.seen(frozenset({("sql", "call")}))

    def fields(struct: type) -> set[str]:
        return {field.encode_name for field in msgspec.structs.fields(struct)}

    assert set(seen) == set(ROOTS)
    for root, struct in (
        ("subject", Party),
        ("actor", Party),
        ("actors", Party),
        ("action", Action),
        ("resource", Resource),
        ("targets", Target),
    ):
        assert fields_of(seen[root]) == fields(struct)
    assert fields_of(seen["parse"]) == fields(ParseStatus) - {"error"}


def test_what_rules_of_one_match_see_is_made_once() -> None:
    roots = compiled({"when": "true"}).vocabulary
    calls = frozenset({("http", "call"), ("sql", "call")})

    assert roots.seen(calls) is roots.seen(frozenset(calls))


@pytest.mark.parametrize("kind", ["number", "integer"])
@pytest.mark.parametrize("level", [2, 2.0])
def test_a_number_is_compared_however_json_writes_it(kind: str, level: float) -> None:
    clauses = ("> 1", "> 1.5", "== 2", "== 2.0", "in [2, 3]", "in [2.0]", "<= params.most.level")
    when = " && ".join(f"subject.properties.level {clause}" for clause in clauses)
    attributes = {"subject": {"properties": {"level": {"type": kind}}}}
    params = {"most": {"level": 2.5}}

    bundle = compiled({"attributes": attributes, "params": params, "when": when})

    (rule,) = bundle.rules
    assert rule.when is not None
    seen = {"subject": {"properties": {"level": level}}, "params": params}
    assert rule.when.holds(seen, {})
