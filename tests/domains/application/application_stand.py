"""What the tests of this domain stand on: calls, catalogues, targets as one line of text."""

from collections.abc import Mapping
from typing import Any

from sidecar.domains.application import DOMAIN
from sidecar.terms.call import Call, Identity, Party
from sidecar.terms.domain import Catalogue, CatalogueFile
from sidecar.terms.request import Target
from sidecar.terms.words import CallId

ALICE = Identity(Party("user", "alice"))


def call_of(protocol: str, payload: dict[str, Any]) -> Call:
    """Return Alice's call of `payload` at the upstream `crm`."""
    return Call(
        id=CallId("0190c0de-0000-7000-8000-000000000000"),
        time="2026-01-01T00:00:00.000000Z",
        listener="cli",
        upstream="crm",
        protocol=protocol,
        payload=payload,
        identity=ALICE,
    )


def catalogue_of(spec: dict[str, Any], files: Mapping[str, bytes] | None = None) -> Catalogue:
    """Return the catalogue of one file whose routes stand a line each, from the second."""
    positions: dict[tuple[str | int, ...], tuple[int, int]] = {
        ("spec", "routes", place): (place + 2, 7) for place in range(9)
    }
    return DOMAIN.catalogue([CatalogueFile("catalog/api.yaml", spec, positions, files or {})])


def told(target: Target) -> str:
    """Return `name class type:id [labels]`."""
    labels = ",".join(target.resource.labels)
    return f"{target.action.name} {target.action.cls} {target.resource.key} [{labels}]"
