"""Finds the domains: every folder here exports `DOMAIN`. A fifth domain is one more folder."""

import importlib
import pkgutil
from functools import cache

from sidecar.terms.domain import Domain


@cache
def found() -> dict[str, Domain]:
    """Return the domains by name; two domains that claim one protocol are our own mistake."""
    domains: dict[str, Domain] = {}
    claimed: dict[str, str] = {}
    for module in pkgutil.iter_modules(__path__):
        domain: Domain = importlib.import_module(f"{__name__}.{module.name}").DOMAIN
        assert domain.name == module.name, module.name
        for protocol in domain.protocols:
            assert protocol not in claimed, protocol
            claimed[protocol] = domain.name
        domains[domain.name] = domain
    return domains


def by_protocol() -> dict[str, Domain]:
    """Return the domains by the protocols they read."""
    return {protocol: domain for domain in found().values() for protocol in domain.protocols}
