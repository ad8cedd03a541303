"""Reads `k8s`, `aws` and `terraform` calls into targets; each protocol has its own file."""

from typing import Final

from sidecar.domains.infrastructure.catalogue import InfrastructureCatalogue
from sidecar.domains.infrastructure.parse.aws import parse_aws
from sidecar.domains.infrastructure.parse.kubernetes import parse_kubernetes
from sidecar.domains.infrastructure.parse.terraform import parse_terraform
from sidecar.terms.call import Call
from sidecar.terms.request import Parsed

_PARSERS: Final = {"k8s": parse_kubernetes, "aws": parse_aws, "terraform": parse_terraform}


def parse(call: Call, catalogue: InfrastructureCatalogue) -> Parsed:
    """Return what `call` means. Raises ParseError for whatever is not understood whole."""
    return _PARSERS[call.protocol](call, catalogue)
