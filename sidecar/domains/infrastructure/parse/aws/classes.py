"""The class of an AWS operation, by its verb and what it is known to do; in doubt the severer.

AWS names its operations `VerbNoun`; botocore says nothing of what they do. A verb that is not
listed is `execute`. Whatever hands out credentials or changes who may do what is `admin`.
"""

import re
from typing import Final

from sidecar.terms.words import ActionClass

_VERBS: Final[dict[str, ActionClass]] = {
    **dict.fromkeys(("List",), "list"),
    **dict.fromkeys(
        (
            "Get", "Describe", "Head", "Lookup", "Query", "Scan", "Search", "Select", "Receive",
            "Filter",
        ),
        "read",
    ),
    **dict.fromkeys(
        (
            "Put", "Create", "Update", "Copy", "Upload", "Add", "Tag", "Modify", "Set", "Attach",
            "Associate", "Register", "Import", "Enable", "Allocate", "Complete", "Publish",
            "Restore", "Subscribe", "Write", "Change", "Label", "Send", "Confirm", "Initiate",
        ),
        "write",
    ),
    **dict.fromkeys(
        (
            "Delete", "Terminate", "Remove", "Purge", "Deregister", "Detach", "Disassociate",
            "Untag", "Release", "Revoke", "Cancel", "Abort", "Disable", "Unsubscribe", "Destroy",
            "Schedule",
        ),
        "delete",
    ),
}  # fmt: skip
_VERB: Final = re.compile(r"[A-Z][a-z0-9]*")
# Whoever may do these may do anything: each write of these services changes the rules or the watch.
_ADMIN_SERVICES: Final = frozenset((
    "iam", "organizations", "account", "sso", "identitystore", "ram", "cloudtrail",
    "access-analyzer", "rolesanywhere", "verifiedpermissions", "controltower",
))  # fmt: skip
_READS: Final = frozenset(("list", "read", "connect"))
# In the noun of something that is not a mere read.
_ADMIN_NOUN: Final = re.compile(
    r"Policy|Policies|Permission|Acl(?![a-z])|ACL|Grant|AccessKey|LoginProfile|Credential|Roles?(?![a-z])"
    r"|PublicAccess|OwnershipControls|SecurityGroup(Ingress|Egress|Rule)|AccessEntry|AccessEntries|Trust"
    r"|Auth2?Token|DataShare"
)
# Whoever gets these may act with them, although the verb is a mere Get.
_HANDS_OUT: Final = re.compile(
    r"Credentials|(Authorization|Session|Federation|Access|Bearer|Auth|Oauth2|Client|Derived)Token"
    r"|TokensFrom|MasterUserPassword|(Compute|Instance)Access\Z"
)
_OPERATIONS: Final[dict[str, ActionClass]] = {
    # They answer with credentials or a password, whatever their verb says.
    **dict.fromkeys(
        (
            "sts:GetSessionToken", "sts:GetFederationToken", "sts:AssumeRole", "sts:AssumeRoot",
            "sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity", "sts:GetWebIdentityToken",
            "sts:GetDelegatedAccessToken", "ecr:GetAuthorizationToken",
            "ecr-public:GetAuthorizationToken", "codeartifact:GetAuthorizationToken",
            "cognito-identity:GetCredentialsForIdentity", "cognito-identity:GetOpenIdToken",
            "cognito-identity:GetOpenIdTokenForDeveloperIdentity",
            "awsssoportal:GetRoleCredentials",
            "redshift:GetClusterCredentials", "redshift:GetClusterCredentialsWithIAM",
            "redshift-serverless:GetCredentials", "ec2:GetPasswordData",
            "lightsail:GetInstanceAccessDetails", "s3:CreateSession", "s3:GetDataAccess",
        ),
        "admin",
    ),
    **dict.fromkeys(
        (
            "kms:CreateGrant", "kms:PutKeyPolicy", "kms:RetireGrant", "kms:RevokeGrant",
            "s3:PutBucketReplication", "lambda:AddPermission", "lambda:RemovePermission",
            # They share a disk with another account, or hand out a private key.
            "ec2:ModifySnapshotAttribute", "ec2:ModifyImageAttribute", "ec2:CreateKeyPair",
            "rds:ModifyDBSnapshotAttribute", "rds:ModifyDBClusterSnapshotAttribute",
            # The resource's policy is one of the attributes; a function's URL may be anybody's.
            "sqs:SetQueueAttributes", "sns:SetTopicAttributes",
            "lambda:CreateFunctionUrlConfig", "lambda:UpdateFunctionUrlConfig",
        ),
        "admin",
    ),
    "sts:GetCallerIdentity": "read",
    # They delete, whatever their verb says: by a rule, in bulk, or for the one who holds the
    # message.
    **dict.fromkeys(
        (
            "s3:PutBucketLifecycleConfiguration", "dynamodb:BatchWriteItem",
            "dynamodb:TransactWriteItems", "kms:ScheduleKeyDeletion", "logs:PutRetentionPolicy",
            "dynamodb:UpdateTimeToLive", "route53:ChangeResourceRecordSets",
        ),
        "delete",
    ),
    "kms:CancelKeyDeletion": "write",
    # Cryptography reads nothing that is stored; what it opens is worth a read.
    "kms:Decrypt": "read",
    "kms:Encrypt": "write",
    # It hides what it hands out from everybody else, and moves no data otherwise.
    "sqs:ReceiveMessage": "read",
    # They run what the caller brings, or open a shell.
    **dict.fromkeys(
        (
            "ssm:SendCommand", "ssm:SendAutomationSignal", "ssm:CreateAssociation",
            "ssm:UpdateAssociation", "ec2:RunInstances", "ec2-instance-connect:SendSSHPublicKey",
            "ec2-instance-connect:SendSerialConsoleSSHPublicKey", "cloudformation:CreateStack",
            "cloudformation:UpdateStack", "cloudformation:CreateStackSet",
            "cloudformation:UpdateStackSet",
        ),
        "execute",
    ),
    "s3:AbortMultipartUpload": "delete",
}  # fmt: skip


def class_of(service: str, operation: str) -> ActionClass:
    """Return the class of `service:Operation`."""
    known = _OPERATIONS.get(f"{service}:{operation}")
    if known is not None:
        return known
    by_verb = _by_verb(operation.removeprefix("Batch"))
    if by_verb == "read" and _HANDS_OUT.search(operation):
        return "admin"
    if by_verb in _READS:
        return by_verb
    if service in _ADMIN_SERVICES or _ADMIN_NOUN.search(operation):
        return "admin"
    return by_verb


def _by_verb(operation: str) -> ActionClass:
    verb = _VERB.match(operation)
    return _VERBS.get(verb.group(), "execute") if verb is not None else "execute"
