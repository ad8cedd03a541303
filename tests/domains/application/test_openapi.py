"""Routes out of OpenAPI files."""

import json

import pytest

from sidecar.domains.application import DOMAIN
from sidecar.terms.domain import Needs
from sidecar.terms.errors import ParseError, PolicyError
from tests.domains.application.application_stand import call_of, catalogue_of, told

DESCRIPTION = """\
openapi: 3.1.0
info: {title: users, version: "1"}
servers: [{url: "https://api.example/v1/"}]
paths:
  /users/{id}:
    parameters:
      - {name: id, in: path, required: true, schema: {type: string}}
      - {$ref: "#/components/parameters/fields"}
    get: {operationId: getUser, responses: {}}
    delete: {operationId: deleteUser, x-class: admin}
  /users/search:
    post:
      operationId: findUsers
      x-class: read
      parameters: [{name: tag, in: query, schema: {type: array}}]
  /report:
    get: {operationId: report, requestBody: {content: {}}}
components:
  parameters:
    fields: {name: fields, in: query, schema: {type: string}}
"""


def described(text, name="api.yaml"):
    return catalogue_of({"protocol": "http", "openapi": name}, {name: text.encode()})


def targets(method, url, catalogue=None, **payload):
    call = call_of("http", {"method": method, "url": url, **payload})
    parsed = DOMAIN.parse(call, catalogue or described(DESCRIPTION), Needs())
    return [told(target) for target in parsed.targets]


@pytest.mark.parametrize(
    ("method", "path", "want"),
    [
        ("GET", "/v1/users/7", "getUser read route:/v1/users/{id} []"),
        ("DELETE", "/v1/users/7", "deleteUser admin route:/v1/users/{id} []"),
        ("POST", "/v1/users/search", "findUsers read route:/v1/users/search []"),
        ("GET", "/v1/users/search", "getUser read route:/v1/users/{id} []"),
        ("GET", "/users/7", "GET read path:/users/7 []"),
    ],
)
def test_an_operation_is_named_by_its_description(method, path, want):
    assert targets(method, f"http://api{path}") == [want]


def test_json_is_read_as_well():
    text = json.dumps({"openapi": "3.0.3", "paths": {"/a": {"get": {"operationId": "a"}}}})

    assert targets("GET", "http://api/a", described(text, "api.json")) == ["a read route:/a []"]


def test_a_body_on_get_is_taken_where_described():
    assert targets("GET", "http://api/v1/report", body="x")


def test_a_key_with_one_value_may_not_repeat():
    with pytest.raises(ParseError, match="repeated") as refused:
        targets("GET", "http://api/v1/users/7?fields=a&fields=b")

    assert refused.value.reason == "parse.ambiguous"
    assert targets("POST", "http://api/v1/users/search?tag=a&tag=b")


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("swagger: '2.0'\n", "api.yaml:1:1: expected `openapi: 3.0.x` or `3.1.x`"),
        ("openapi: 3.2.0\n", "api.yaml:1:10: expected `openapi: 3.0.x` or `3.1.x`"),
        (
            "openapi: 3.1.0\npaths:\n  /a/{x}: {get: {}}\n  /a/{y}: {get: {}}\n",
            "api.yaml:4:17: `GET /a/{y}` and `/a/{x}` (api.yaml:3:17) match the same path "
            "and neither is more specific",
        ),
        (
            "openapi: 3.1.0\npaths:\n  /a: {$ref: other.yaml}\n",
            "api.yaml:3:14: `$ref` is not read here",
        ),
        (
            "openapi: 3.1.0\npaths:\n  /a: {get: {servers: []}}\n",
            "api.yaml:3:23: `servers` is not read here",
        ),
        (
            "openapi: 3.1.0\nservers: [{url: '/{v}'}]\n",
            "api.yaml:2:11: a server's path has no variables or query",
        ),
        (
            "openapi: 3.1.0\npaths:\n  /a: {get: {x-class: reed}}\n",
            "api.yaml:3:23: expected a class, one of connect, list, read, write, execute, delete, "
            "admin",
        ),
        (
            "openapi: 3.1.0\npaths:\n  /a: {get: {parameters: [{$ref: '#/no'}]}}\n",
            "api.yaml:3:34: `$ref` names nothing in this document",
        ),
        (
            "openapi: 3.1.0\npaths:\n  /a: {trace: {}}\n",
            "api.yaml:3:15: TRACE is never let through",
        ),
    ],
)
def test_a_description_is_refused_with_its_position(text, want):
    with pytest.raises(PolicyError) as refused:
        described(text)

    assert list(refused.value.problems) == [want]
