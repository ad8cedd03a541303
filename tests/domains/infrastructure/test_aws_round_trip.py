"""Every operation of the services most in use is read as itself, as botocore would send it."""

from typing import Any

import msgspec
import pytest
from botocore.loaders import Loader

from sidecar.domains.infrastructure import DOMAIN
from sidecar.domains.infrastructure.parse.aws import models
from sidecar.terms.call import Call, Identity, Party
from sidecar.terms.domain import Needs
from sidecar.terms.errors import ParseError
from sidecar.terms.words import CallId
from tests.domains.infrastructure.aws_requests import request_of, service_model

pytestmark = pytest.mark.slow

SERVICES = [
    "s3", "sts", "ec2", "dynamodb", "lambda", "sqs", "iam", "kms", "secretsmanager", "logs",
    "apigateway", "eks",
]  # fmt: skip
# Deprecated names of one and the same request.
TWINS = {
    "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
    "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
    "GetBucketNotification": "GetBucketNotificationConfiguration",
    "PutBucketNotification": "PutBucketNotificationConfiguration",
    "ListDirectoryBuckets": "ListBuckets",
}
# Understood well enough to be refused.
REFUSED = {
    "RenameObject": "parse.unsupported",
    "WriteGetObjectResponse": "parse.unknown_operation",
    "ExecuteStatement": "parse.unsupported",
    "BatchExecuteStatement": "parse.unsupported",
    "ExecuteTransaction": "parse.unsupported",
}
# Where the least that the model takes is not yet a request that means something.
MEANT: dict[str, dict[str, Any]] = {
    "CopyObject": {"CopySource": "bucket1/key1"},
    "UploadPartCopy": {"CopySource": "bucket1/key1"},
    "BatchWriteItem": {"RequestItems": {"t1": [{"PutRequest": {"Item": {}}}]}},
    "TransactWriteItems": {"TransactItems": [{"Put": {"TableName": "t1", "Item": {}}}]},
}


def read(payload):
    identity = Identity(Party("user", "alice"))
    call = Call(CallId("c1"), "t", "cli", "default", "aws", payload, identity)
    try:
        return DOMAIN.parse(call, DOMAIN.catalogue([]), Needs()).native["operation"]
    except ParseError as error:
        return error.reason


@pytest.mark.parametrize("service", SERVICES)
def test_an_operation_is_read_as_itself(service):
    model = service_model(service)
    wanted = {name: REFUSED.get(name, TWINS.get(name, name)) for name in model.operation_names}

    read_as = {
        name: read(request_of(model, name, "http://127.0.0.1:5000", MEANT.get(name)))
        for name in model.operation_names
    }

    assert wanted == read_as


@pytest.mark.timeout(120)
def test_the_table_of_services_is_that_of_the_installed_data():
    """Regenerate services.json from `Loader` when this fails; a service not in it is refused."""
    loader = Loader(
        extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False
    )
    installed: dict[str, dict[str, models.Candidate]] = {}
    for name in loader.list_available_services("service-2"):
        said = loader.load_service_model(name, "service-2")["metadata"]
        signing = said.get("signingName") or said["endpointPrefix"]
        installed.setdefault(signing, {})[name] = models.Candidate(
            name=name,
            endpoint=said["endpointPrefix"],
            protocols=tuple(said.get("protocols") or [said["protocol"]]),
            version=said["apiVersion"],
            target=said.get("targetPrefix", ""),
        )

    known = {
        signing: {found.name: found for found in models.candidates(signing)}
        for signing in installed
    }

    assert msgspec.to_builtins(installed) == msgspec.to_builtins(known)


def test_models_of_the_user_are_not_read(tmp_path, monkeypatch):
    """Who may write ~/.aws/models must not redefine what a request means."""
    folder = tmp_path / ".aws" / "models" / "toy" / "2026-01-01"
    folder.mkdir(parents=True)
    (folder / "service-2.json").write_text('{"metadata":{},"operations":{},"shapes":{}}')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path / ".aws" / "models"))
    monkeypatch.setattr(Loader, "CUSTOMER_DATA_PATH", str(tmp_path / ".aws" / "models"))

    assert models.model("toy", "2026-01-01") is None
