"""Labels and properties of infrastructure resources, and catalogue files that do not load."""

import pytest

from sidecar.domains.infrastructure import DOMAIN
from sidecar.syntax.yaml12 import load_documents
from sidecar.terms.domain import CatalogueFile
from sidecar.terms.errors import PolicyError
from sidecar.terms.request import Resource


def file_of(text):
    document = load_documents("catalog/infra.yaml", text.encode())[0]
    return CatalogueFile("catalog/infra.yaml", document.value["spec"], document.positions, {})


def test_labels_are_the_union_over_all_globs_that_match():
    catalogue = DOMAIN.catalogue([
        file_of("""
spec:
  protocol: aws
  resources:
    "aws/s3/*:hr-*": {labels: [compensation], properties: {owner: hr}}
    "aws/s3/object:hr-data/pii/*": {labels: [pii, compensation]}
""")
    ])  # fmt: skip

    found = catalogue.resource(
        "aws", "default", Resource("aws/s3/object", "hr-data/pii/x", properties={"version_id": "v"})
    )

    assert found.labels == ("compensation", "pii")
    assert found.properties == {"owner": "hr", "version_id": "v"}


def test_a_property_that_the_parser_saw_is_not_overruled():
    catalogue = DOMAIN.catalogue(
        [file_of('spec: {protocol: k8s, resources: {"*:*": {properties: {name: other}}}}')]
    )

    found = catalogue.resource(
        "k8s", "default", Resource("k8s/pods", "prod/p", properties={"name": "p"})
    )

    assert found.properties == {"name": "p"}


@pytest.mark.parametrize(
    ("protocol", "upstream"), [("terraform", "east"), ("aws", "east"), ("k8s", "west")]
)
def test_a_file_speaks_of_its_own_protocol_and_upstream_alone(protocol, upstream):
    catalogue = DOMAIN.catalogue(
        [file_of('spec: {protocol: k8s, upstream: east, resources: {"*:*": {labels: [x]}}}')]
    )

    assert catalogue.resource(protocol, upstream, Resource("t", "i")).labels == ()
    assert catalogue.resource("k8s", "east", Resource("t", "i")).labels == ("x",)


def test_no_file_is_an_empty_catalogue():
    assert DOMAIN.catalogue([]).empty


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("spec: {protocol: aws, tables: {}}", "catalog/infra.yaml:1:31: unknown field `tables`"),
        ("spec: {protocol: sql}", "catalog/infra.yaml:1:18: expected one of k8s, aws, terraform"),
        ("spec: {protocol: aws, upstream: 3}", "expected the name of an upstream"),
        ("spec: {protocol: aws, resources: []}", "expected `type:id` globs"),
        ("spec: {protocol: aws, resources: {pods: {}}}", "expected `type:id`, found `pods`"),
        ('spec: {protocol: aws, resources: {"a:b\\\\x": {}}}', "in a glob a backslash"),
        ('spec: {protocol: aws, resources: {"a:b": 3}}', "expected labels or properties"),
        ('spec: {protocol: aws, resources: {"a:b": {lables: []}}}', "unknown field `lables`"),
        ('spec: {protocol: aws, resources: {"a:b": {labels: x}}}', "expected a list of words"),
        ('spec: {protocol: aws, resources: {"a:b": {properties: x}}}', "expected a mapping"),
    ],
)
def test_a_file_that_is_wrong_says_where(text, problem):
    with pytest.raises(PolicyError) as refused:
        DOMAIN.catalogue([file_of(text)])

    assert problem in str(refused.value)
    assert "catalog/infra.yaml:1:" in str(refused.value)
