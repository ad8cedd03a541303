"""The tables of tests/cases/application, and what they cannot say in a row."""

import pytest

from sidecar.domains.application import DOMAIN
from sidecar.terms.domain import Needs
from sidecar.terms.errors import ParseError, PolicyError
from tests.domains import conform
from tests.domains.application.application_stand import call_of, catalogue_of, told
from tests.tables import rows

ALL = Needs()


def catalogue_above(row, protocol):
    said = {key: row.table[key] for key in ("routes", "resources", "actions") if key in row.table}
    return catalogue_of({"protocol": protocol, **said})


@pytest.mark.parametrize("row", rows("application/http_refused.yaml"))
def test_a_call_that_servers_read_differently_is_refused(row):
    payload = dict(row.given)
    if "pad_path" in payload:
        payload["url"] += "a" * payload.pop("pad_path")

    with pytest.raises(ParseError) as refused:
        DOMAIN.parse(call_of("http", payload), catalogue_above(row, "http"), ALL)

    assert refused.value.reason == row.want
    assert "evil" not in str(refused.value)


@pytest.mark.parametrize("row", rows("application/http_targets.yaml"))
def test_an_http_call_has_these_targets(row):
    want = dict(row.want)

    call, catalogue = call_of("http", row.given), catalogue_above(row, "http")

    parsed = conform.parse(DOMAIN, call, catalogue, row.table)

    assert [told(target) for target in parsed.targets] == want.pop("targets")
    assert all(target.resource.upstream == "crm" for target in parsed.targets)
    assert parsed.parse.status == want.pop("status", parsed.parse.status)
    for key in ("missing", "ambiguities"):
        assert list(getattr(parsed.parse, key)) == want.pop(key, list(getattr(parsed.parse, key)))
    assert {key: parsed.native.get(key) for key in want} == want


@pytest.mark.parametrize("row", rows("application/authzen.yaml"))
def test_an_evaluation_has_one_target(row):
    want = row.want
    catalogue = catalogue_above(row, "authzen")
    call = call_of("authzen", row.given)

    if "reason" in want:
        with pytest.raises(ParseError) as refused:
            DOMAIN.parse(call, catalogue, ALL)
        assert refused.value.reason == want["reason"]
        return
    parsed = conform.parse(DOMAIN, call, catalogue, row.table)

    (target,) = parsed.targets
    assert [told(target)] == want["targets"]
    assert target.resource.upstream == "crm"
    assert parsed.native == want.get("native", parsed.native)
    assert target.resource.properties == want.get("properties", target.resource.properties)


@pytest.mark.parametrize("row", rows("application/catalogue_refused.yaml"))
def test_a_catalogue_is_refused_with_its_position(row):
    with pytest.raises(PolicyError) as refused:
        catalogue_of(row.given)

    assert list(refused.value.problems) == [row.want]


def test_every_problem_of_a_catalogue_is_told_at_once():
    spec = {"protocol": "http", "routes": [{"method": "GET", "path": "a"}], "openapi": "no.yaml"}

    with pytest.raises(PolicyError) as refused:
        catalogue_of(spec)

    assert len(refused.value.problems) == 2


@pytest.mark.parametrize("protocol", ["graphql", "jsonrpc"])
def test_a_protocol_without_a_parser_is_refused(protocol):
    with pytest.raises(ParseError) as refused:
        DOMAIN.parse(call_of(protocol, {"query": "{a}"}), DOMAIN.catalogue([]), ALL)

    assert refused.value.reason == "parse.unsupported"


def test_a_body_that_no_rule_needs_is_not_read():
    payload = {"method": "POST", "url": "http://api/x", "body": "{",
               "headers": {"Content-Type": "application/json"}}  # fmt: skip

    parsed = DOMAIN.parse(call_of("http", payload), DOMAIN.catalogue([]), Needs(body=False))

    assert "body" not in parsed.native
    assert parsed.parse.missing == ("request.http.body",)


@pytest.mark.parametrize("body", ['{"_method": "DELETE"}', '{"\\u005fmethod": "DELETE"}'])
def test_a_body_that_no_rule_needs_is_looked_at_for_another_method(body):
    payload = {"method": "POST", "url": "http://api/x", "body": body,
               "headers": {"Content-Type": "application/json"}}  # fmt: skip

    with pytest.raises(ParseError) as refused:
        DOMAIN.parse(call_of("http", payload), DOMAIN.catalogue([]), Needs(body=False))

    assert refused.value.reason == "parse.method"


def test_a_file_with_an_upstream_speaks_of_that_upstream_alone():
    def spec(upstream, name):
        return {"protocol": "http", "routes": [{"method": "GET", "path": "/a", "name": name}],
                **({"upstream": upstream} if upstream else {})}  # fmt: skip

    def name_at(catalogue):
        payload = {"method": "GET", "url": "http://api/a"}
        return DOMAIN.parse(call_of("http", payload), catalogue, ALL).targets[0].action.name

    assert name_at(catalogue_of(spec("crm", "mine"))) == "mine"
    assert name_at(catalogue_of(spec("erp", "theirs"))) == "GET"
    assert name_at(catalogue_of(spec(None, "everybody's"))) == "everybody's"


def test_catalogue_is_empty_only_without_files():
    assert DOMAIN.catalogue([]).empty
    assert not catalogue_of({"protocol": "http"}).empty
