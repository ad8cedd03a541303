"""Reads application calls: which protocol has which parser, and that some have none yet."""

from sidecar.domains.application.catalogue import Catalogue
from sidecar.domains.application.parse.authzen import parse_authzen
from sidecar.domains.application.parse.http import parse_http
from sidecar.terms.call import Call
from sidecar.terms.domain import Needs
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason
from sidecar.terms.request import Parsed


def parse(call: Call, catalogue: Catalogue, needs: Needs) -> Parsed:
    """Return what `call` means.

    Raises:
        ParseError: It cannot be read completely and unambiguously.
    """
    if call.protocol == "http":
        return parse_http(call, catalogue, needs)
    if call.protocol == "authzen":
        return parse_authzen(call, catalogue)
    raise ParseError(reason("parse.unsupported"), f"{call.protocol} is not read yet")
