"""Which resources an AWS operation names, for the services most in use; else `aws/<service>/-:*`.

AWS has no machine-readable map from parameters to resources, so this is a table. Where a service
takes name and ARN for the same thing, an ARN of the signed region is reduced to the name: one
thing, one id; `account` and `region` then stand in the properties. Elsewhere what was given is the
id.

Source: docs.aws.amazon.com, Service Authorization Reference.
"""

import re
from collections.abc import Iterator
from typing import Final

from sidecar.domains.infrastructure.limits import TARGETS_MAX
from sidecar.domains.infrastructure.parse.payload import refuse
from sidecar.terms.call import Json
from sidecar.terms.request import Action, Resource, Target
from sidecar.terms.words import ActionClass, path_component

# service → (parameter, type of resource below `aws/`), in the order of targets.
_TABLE: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "apigateway": (("restApiId", "apigateway/restapi"), ("ApiId", "apigateway/api")),
    "cloudformation": (("StackName", "cloudformation/stack"),),
    "cloudwatch": (("AlarmName", "cloudwatch/alarm"), ("AlarmNames", "cloudwatch/alarm")),
    "dynamodb": (
        ("TableName", "dynamodb/table"), ("TableArn", "dynamodb/table"),
        ("SourceTableName", "dynamodb/table"), ("TargetTableName", "dynamodb/table"),
        ("GlobalTableName", "dynamodb/table"), ("ResourceArn", "dynamodb/table"),
        ("BackupArn", "dynamodb/backup"), ("StreamArn", "dynamodb/stream"),
    ),
    "ec2": (
        ("InstanceId", "ec2/instance"), ("VolumeId", "ec2/volume"), ("SnapshotId", "ec2/snapshot"),
        ("ImageId", "ec2/image"), ("GroupId", "ec2/security-group"), ("VpcId", "ec2/vpc"),
        ("SecurityGroupId", "ec2/security-group"), ("SubnetId", "ec2/subnet"),
        ("KeyName", "ec2/key-pair"), ("InternetGatewayId", "ec2/internet-gateway"),
        ("RouteTableId", "ec2/route-table"), ("NetworkInterfaceId", "ec2/network-interface"),
        ("ResourceId", "ec2/resource"),
    ),
    "ecr": (("repositoryName", "ecr/repository"),),
    "ecs": (("cluster", "ecs/cluster"), ("service", "ecs/service"), ("task", "ecs/task")),
    "eks": (
        ("clusterName", "eks/cluster"), ("name", "eks/cluster"), ("nodegroupName", "eks/nodegroup"),
    ),
    "events": (("EventBusName", "events/bus"), ("Name", "events/rule"), ("Rule", "events/rule")),
    "firehose": (("DeliveryStreamName", "firehose/stream"),),
    "iam": (
        ("UserName", "iam/user"), ("RoleName", "iam/role"), ("GroupName", "iam/group"),
        ("PolicyArn", "iam/policy"), ("PolicyName", "iam/policy"),
        ("InstanceProfileName", "iam/instance-profile"),
    ),
    "kinesis": (("StreamName", "kinesis/stream"), ("StreamARN", "kinesis/stream")),
    "kms": (
        ("KeyId", "kms/key"), ("TargetKeyId", "kms/key"), ("SourceKeyId", "kms/key"),
        ("DestinationKeyId", "kms/key"), ("AliasName", "kms/alias"),
    ),
    "lambda": (
        ("FunctionName", "lambda/function"), ("LayerName", "lambda/layer"),
        ("UUID", "lambda/mapping"),
        ("Resource", "lambda/function"),
    ),
    "logs": (
        ("logGroupName", "logs/group"), ("logGroupIdentifier", "logs/group"),
        ("logGroupNames", "logs/group"), ("logGroupIdentifiers", "logs/group"),
    ),
    "rds": (
        ("DBInstanceIdentifier", "rds/instance"), ("DBClusterIdentifier", "rds/cluster"),
        ("DBSnapshotIdentifier", "rds/snapshot"), ("DBClusterSnapshotIdentifier", "rds/snapshot"),
    ),
    "route53": (("Id", "route53/zone"), ("HostedZoneId", "route53/zone")),
    "secretsmanager": (
        ("SecretId", "secretsmanager/secret"), ("SecretIdList", "secretsmanager/secret"),
        ("Name", "secretsmanager/secret"),
    ),
    "sns": (
        ("TopicArn", "sns/topic"), ("TargetArn", "sns/endpoint"), ("Name", "sns/topic"),
        ("SubscriptionArn", "sns/subscription"), ("EndpointArn", "sns/endpoint"),
    ),
    "sqs": (("QueueUrl", "sqs/queue"), ("QueueName", "sqs/queue")),
    "ssm": (
        ("Name", "ssm/parameter"), ("Names", "ssm/parameter"), ("Path", "ssm/parameter"),
        ("DocumentName", "ssm/document"), ("InstanceId", "ec2/instance"),
        ("InstanceIds", "ec2/instance"), ("Target", "ec2/instance"),
    ),
    "states": (("stateMachineArn", "states/machine"), ("executionArn", "states/execution")),
    "sts": (("RoleArn", "iam/role"),),
}  # fmt: skip
# Whoever passes a role lets the service act with it.
_PASSED: Final = (
    "Role", "RoleArn", "role", "roleArn", "ExecutionRoleArn", "executionRoleArn", "taskRoleArn",
    "RoleARN", "ServiceRole", "serviceRole", "ServiceRoleArn", "serviceRoleArn",
    "IamInstanceProfile.Arn", "IamInstanceProfile.Name",
)  # fmt: skip
# What is not `NONE` here has a write of DynamoDB answer with the item.
_ANSWERS: Final = ("ReturnValues", "ReturnValuesOnConditionCheckFailure")
# Parameters of Systems Manager that are secrets of Secrets Manager.
_SECRETS: Final = "/aws/reference/secretsmanager/"
_NO_PASSING: Final = frozenset(("iam", "sts"))
# Kinds for which name and ARN are the same, and where in the ARN's resource part the name begins.
_BY_NAME: Final = {
    "lambda/function": "function:", "dynamodb/table": "table/", "kms/key": "key/",
    "secretsmanager/secret": "secret:", "ecr/repository": "repository/", "ecs/cluster": "cluster/",
    "kinesis/stream": "stream/", "logs/group": "log-group:", "eks/cluster": "cluster/",
    "rds/instance": "db:", "rds/cluster": "cluster:", "rds/snapshot": "snapshot:",
    "cloudformation/stack": "stack/", "ecs/service": "service/", "ecs/task": "task/",
    "events/bus": "event-bus/", "lambda/layer": "layer:", "ssm/parameter": "parameter",
    "ssm/document": "document/",
}  # fmt: skip
_ARN: Final = re.compile(r"arn:(aws[a-z-]*):([a-z0-9-]+):([a-z0-9-]*):([0-9]*):(.+)\Z", re.DOTALL)
_QUEUE_URL: Final = re.compile(r"https?://[^/]+/(?:([0-9]{12})/)?([A-Za-z0-9_.-]+)\Z")
_LAMBDA: Final = re.compile(
    r"(?:([0-9]{12}):)?(?:function:)?([A-Za-z0-9_-]+)(?::([A-Za-z0-9$_-]+))?\Z"
)
_ITEM_CLASSES: Final[dict[str, ActionClass]] = {
    "Get": "read", "ConditionCheck": "read", "Put": "write", "Update": "write", "Delete": "delete",
    "PutRequest": "write", "DeleteRequest": "delete",
}  # fmt: skip


def targets(service: str, done: Action, params: dict[str, Json], region: str) -> list[Target]:
    """Return a target for each resource that the parameters name, and for each role passed."""
    found = list(_items(done, params, region)) if service == "dynamodb" else []
    if not found:
        named = dict.fromkeys(_named(service, params))
        found = [Target(done, resource_of(kind, value, region)) for kind, value in named]
    if not found:
        found = [Target(done, Resource(f"aws/{service}/-", "*"))]
    found.extend(_also_read(service, done, params, found))
    if service not in _NO_PASSING and done.cls not in ("read", "list"):
        found.extend(_passed(params, region))
    if len(found) > TARGETS_MAX:
        raise refuse("parse.too_large", f"more than {TARGETS_MAX} resources")
    return found


def _named(service: str, params: dict[str, Json]) -> Iterator[tuple[str, str]]:
    for parameter, kind in _TABLE.get(service, ()):
        for value in values(params, parameter):
            yield kind, value


def _also_read(
    service: str, done: Action, params: dict[str, Json], found: list[Target]
) -> list[Target]:
    """Return what is read beside: the item a write answers with, the secret of a parameter."""
    read = Action(done.name, "read")
    if service == "dynamodb" and any(params.get(key, "NONE") != "NONE" for key in _ANSWERS):
        return [Target(read, target.resource, "side_effect") for target in found]
    secret = Action("secretsmanager:GetSecretValue", "read")
    return [
        Target(secret, Resource("aws/secretsmanager/secret", target.resource.id[len(_SECRETS) :]))
        for target in found
        if service == "ssm" and target.resource.key.startswith(f"aws/ssm/parameter:{_SECRETS}")
    ]


def values(params: dict[str, Json], name: str) -> list[str]:
    """Return the texts of a parameter: alone, in a list, or numbered as forms have it (`X.1`)."""
    found: list[str] = []
    for key, value in params.items():
        if key == name:
            found.extend(item for item in (value if isinstance(value, list) else [value]) if item)
        elif key.startswith(f"{name}.") and key.rpartition(".")[2].isdecimal() and value:
            found.append(value)
        elif key.startswith(f"{name}."):
            raise refuse("parse.ambiguous", "a resource in a list is numbered by something else")
    if not all(isinstance(item, str) for item in found):
        raise refuse("parse.syntax", "a resource is named by something else than a text")
    return found


def _passed(params: dict[str, Json], region: str) -> Iterator[Target]:
    for parameter in _PASSED:
        for value in values(params, parameter):
            done = Action("iam:PassRole", "execute")
            yield Target(done, resource_of("iam/role", value, region), "passed")


def resource_of(kind: str, value: str, region: str) -> Resource:
    """Return the resource of a name or ARN."""
    if kind == "lambda/function":
        return _function(value, region)
    if kind == "sqs/queue":
        return _queue(value)
    arn = _ARN.match(value)
    if kind == "sns/endpoint" and arn is not None and not arn.group(5).startswith("endpoint/"):
        kind = "sns/topic"
    if arn is None:
        return Resource(f"aws/{kind}", path_component(_plain(kind, value)))
    properties: dict[str, Json] = {}
    if arn.group(3):
        properties["region"] = arn.group(3)
    if arn.group(4):
        properties["account"] = arn.group(4)
    return Resource(f"aws/{kind}", path_component(_short(kind, arn, region)), properties=properties)


def _short(kind: str, arn: re.Match[str], region: str) -> str:
    """Return the name where name and ARN are the same thing, else the ARN."""
    start = _BY_NAME.get(kind)
    rest = arn.group(5)
    if kind == "states/machine":
        # A version or an alias may stand behind the machine's own name.
        return arn.group().removesuffix(rest) + ":".join(rest.split(":")[:2])
    if kind == "kms/key" and rest.startswith("alias/") and arn.group(3) == region:
        return rest
    if start is None or not rest.startswith(start) or arn.group(3) != region:
        return arn.group()
    return _plain(kind, _name_in(kind, rest.removeprefix(start)))


def _name_in(kind: str, rest: str) -> str:
    """Return the name out of what stands in an ARN behind the kind."""
    match kind:
        case "secretsmanager/secret":
            # Secrets Manager puts a hyphen and six characters of its own behind the name.
            return re.sub(r"-[A-Za-z0-9]{6}\Z", "", rest)
        case "logs/group" | "dynamodb/table":
            return rest.partition("/index/")[0].removesuffix(":*")
        case "cloudformation/stack":
            return rest.partition("/")[0]
        case "ecs/service" | "ecs/task":
            return rest.rpartition("/")[2]
        case "lambda/layer":
            return rest.partition(":")[0]
        case "ssm/parameter":
            # Only a name in a hierarchy has a slash in front.
            return rest if rest.count("/") > 1 else rest.removeprefix("/")
        case _:
            return rest


def _plain(kind: str, name: str) -> str:
    """Return a name without what does not tell resources apart."""
    if kind.startswith("rds/"):
        return name.lower()
    if kind == "ssm/parameter":
        # A version or a label behind a colon, which no name holds.
        return name.partition(":")[0]
    return name


def _function(value: str, region: str) -> Resource:
    """Return a function by `name`, `account:function:name` or ARN, qualified or not."""
    arn = _ARN.match(value)
    if arn is not None and (arn.group(2) != "lambda" or arn.group(3) != region):
        return Resource("aws/lambda/function", path_component(value))
    if arn is not None and not arn.group(5).startswith("function:"):
        return Resource("aws/lambda/-", path_component(value))
    found = _LAMBDA.match(arn.group(5) if arn is not None else value)
    if found is None:
        raise refuse("parse.syntax", "not the name of a function")
    account = arn.group(4) if arn is not None else found.group(1)
    properties: dict[str, Json] = {"account": account} if account else {}
    if found.group(3):
        properties["qualifier"] = found.group(3)
    return Resource("aws/lambda/function", path_component(found.group(2)), properties=properties)


def _queue(value: str) -> Resource:
    """Return a queue by name, or by the account and name at the end of its URL."""
    found = _QUEUE_URL.match(value)
    if found is None:
        if "/" in value:
            raise refuse("parse.syntax", "not the URL of a queue")
        return Resource("aws/sqs/queue", path_component(value))
    account = found.group(1)
    name = f"{account}/{found.group(2)}" if account else found.group(2)
    properties: dict[str, Json] = {"account": account} if account else {}
    return Resource("aws/sqs/queue", path_component(name), properties=properties)


def _items(done: Action, params: dict[str, Json], region: str) -> Iterator[Target]:
    """Yield a target for each table and class of DynamoDB's batch and transaction operations."""
    seen: set[tuple[str, str]] = set()
    for table, kind in _item_uses(params):
        cls = _ITEM_CLASSES.get(kind, done.cls)
        if not isinstance(table, str) or not table:
            raise refuse("parse.missing", "an item of no table")
        if (table, cls) not in seen:
            seen.add((table, cls))
            yield Target(Action(done.name, cls), resource_of("dynamodb/table", table, region))


def _item_uses(params: dict[str, Json]) -> Iterator[tuple[Json, str]]:
    requests, items = params.get("RequestItems", {}), params.get("TransactItems", [])
    if not isinstance(requests, dict) or not isinstance(items, list):
        raise refuse("parse.syntax", "items of a batch or transaction are of another type")
    for table, uses in requests.items():
        for use in uses if isinstance(uses, list) else [{"Get": None}]:
            yield table, _use(use)[0]
    for item in items:
        kind, said = _use(item)
        yield (said.get("TableName") if isinstance(said, dict) else None), kind


def _use(item: Json) -> tuple[str, Json]:
    """Return what one item does; it does exactly one thing."""
    if not isinstance(item, dict) or len(item) != 1:
        raise refuse("parse.ambiguous", "an item does exactly one thing")
    kind, said = next(iter(item.items()))
    if kind not in _ITEM_CLASSES:
        raise refuse("parse.unknown_operation", "an item that does something unknown")
    return kind, said
