"""What a host name says of an AWS request: service endpoint, region, and S3's bucket in the host.

The scope names the service, the host is where the request goes; where both speak they must agree. A
host that is neither AWS's nor local says nothing that could be checked, and S3's addressing style
depends on it, so it is refused.

Source: docs.aws.amazon.com, AWS service endpoints; Virtual hosting of buckets.
"""

import re
from typing import Final

import msgspec

from sidecar.domains.infrastructure.parse.payload import refuse

_SUFFIX: Final = re.compile(r"(.+)\.(amazonaws\.com|amazonaws\.com\.cn|api\.aws)\Z")
_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}\Z")
_LOCAL: Final = re.compile(r"(localhost|[0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9a-f:.]+\]|[a-z0-9-]+)\Z")
_S3: Final = re.compile(
    r"(?:(?P<bucket>.+)\.)?"
    r"(?:s3(?:-fips)?(?:\.dualstack)?|s3-external-1|s3-accelerate(?:\.dualstack)?|s3-(?P<dashed>[a-z0-9-]+-[0-9]+))\Z"
)
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}\Z")
# Endpoints that carry the account in front, which newer SDKs prefer for DynamoDB.
_ACCOUNT_ENDPOINTS: Final = {"dynamodb": re.compile(r"[0-9]{12}\.ddb\Z")}


class Host(msgspec.Struct, frozen=True):
    """`prefix` is what stands before region and suffix; `region` is None where none is named."""

    is_aws: bool
    prefix: str = ""
    region: str | None = None


def read_host(host: str) -> Host:
    """Return what `host` says; a host that is neither AWS's nor local is refused."""
    found = _SUFFIX.match(host)
    if found is None:
        if _LOCAL.match(host):
            return Host(is_aws=False)
        raise refuse("parse.ambiguous", "a host that is neither AWS's nor local")
    prefix, _, last = found.group(1).rpartition(".")
    if prefix and _REGION.match(last):
        return Host(is_aws=True, prefix=prefix, region=last)
    return Host(is_aws=True, prefix=found.group(1))


def check_region(host: Host, region: str) -> None:
    """Refuse a host in another region than the one that is signed for."""
    if host.region is not None and host.region != region:
        raise refuse("parse.ambiguous", "signed for another region than the host's")


def serves(host: Host, endpoint: str, operation_prefix: str = "") -> bool:
    """Return whether `host` may be that of a service with this endpoint prefix."""
    if not host.is_aws:
        return True
    account = _ACCOUNT_ENDPOINTS.get(endpoint)
    if account is not None and account.match(host.prefix):
        return True
    expected = operation_prefix + endpoint
    if "{" in operation_prefix:
        label = re.compile(
            r"[a-z0-9-]+".join(re.escape(part) for part in re.split(r"\{[^}]*\}", expected)) + r"\Z"
        )
        return label.match(host.prefix) is not None
    return host.prefix in (expected, f"{expected}-fips")


def s3_bucket(host: Host, region: str) -> str | None:
    """Return the bucket in the host, None where the path names it.

    Access points, Object Lambda, Express zones and websites are other hosts, and refused.
    """
    if not host.is_aws:
        return None
    found = _S3.match(host.prefix)
    if found is None:
        raise refuse("parse.unsupported", "an S3 host of another kind than a bucket's")
    dashed = found.group("dashed")
    if dashed is not None and (host.region is not None or dashed != region):
        raise refuse("parse.ambiguous", "signed for another region than the host's")
    bucket = found.group("bucket")
    if bucket is not None:
        check_bucket(bucket)
        if re.search(r"(^|\.)s3([.-]|$)", bucket):
            raise refuse("parse.ambiguous", "a host in which two buckets could be read")
    elif "accelerate" in host.prefix:
        raise refuse("parse.missing", "an accelerated host that names no bucket")
    return bucket


def check_bucket(bucket: str) -> None:
    """Refuse what cannot be a bucket's name (ARNs of access points among them)."""
    if not _BUCKET.match(bucket) or ".." in bucket:
        raise refuse("parse.unsupported", "not the name of a bucket")
