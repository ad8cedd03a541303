"""Whether two bundles read calls alike: they do where their catalogues say the same.

A recorded Request has the labels, routes and tables that the catalogue of its time gave it. Another
catalogue may read the same call otherwise, and the call's bytes are not kept; so where the
catalogues of a domain differ, what was recorded is not what would be decided.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from sidecar.policy.bundle import Bundle
from sidecar.review.replay.beside import Beside
from sidecar.syntax import json
from sidecar.syntax.yaml12 import load_documents
from sidecar.terms.domain import Domain
from sidecar.terms.errors import PolicyError

_YAML: Final = (".yaml", ".yml")


class Catalogues:
    """What the catalogues of bundles say, by the bundle's digest and by domain."""

    def __init__(self, bundle: Bundle, beside: Beside) -> None:
        self._beside = beside
        self._domains = bundle.domains
        self._own = said(bundle.files, bundle.domains)
        self._known: dict[str, dict[str, str] | None] = {bundle.digest: self._own}

    def add(self, bundle: Bundle) -> None:
        """Take in another bundle that may have decided."""
        self._known[bundle.digest] = said(bundle.files, bundle.domains)

    def differs(self, digest: str, domain: str) -> bool:
        """Return whether calls of `domain` may have been read otherwise by the bundle `digest`."""
        if digest not in self._known:
            files = self._beside.bundle_files(digest)
            self._known[digest] = None if files is None else said(files, self._domains)
        theirs = self._known[digest]
        return theirs is None or theirs.get(domain) != self._own.get(domain)


def said(files: Mapping[str, bytes], domains: Mapping[str, Domain]) -> dict[str, str]:
    """Return a digest of what the catalogue files of each domain say, in their order."""
    found: dict[str, list[object]] = {}
    for path, data in sorted(files.items()):
        if not path.endswith(_YAML):
            continue
        for spec in _specs(path, data):
            domain = domains.get(str(spec.get("protocol")))
            if domain is None:
                continue
            named = spec.get("openapi")
            beside = files.get(named, b"") if isinstance(named, str) else b""
            found.setdefault(domain.name, []).append([spec, hashlib.sha256(beside).hexdigest()])
    return {
        name: hashlib.sha256(json.canonical(specs)).hexdigest() for name, specs in found.items()
    }


def _specs(path: str, data: bytes) -> list[dict[str, object]]:
    try:
        documents = load_documents(path, data)
    except PolicyError:
        return []
    values = [document.value for document in documents]
    catalogues = [one for one in values if isinstance(one, dict) and one.get("kind") == "Catalog"]
    return [one["spec"] for one in catalogues if isinstance(one.get("spec"), dict)]
