"""The Bundle: one immutable, digested set of compiled policies, with its rule index.

`compile_bundle(files, domains)` is all or nothing: every problem found is reported with its
position, and nothing is returned unless there is none. The digest is SHA-256 over the canonical
manifest `[{path, sha256}]` of the policy files; tests have a digest of their own.
"""

import copy
import gc
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sidecar.policy.cel import ENGINE
from sidecar.policy.documents import BundleDoc
from sidecar.policy.index.targets import Index
from sidecar.policy.limits import RULES_MAX
from sidecar.policy.rules import PolicyReader, Rule
from sidecar.policy.sources import BUNDLE_FILE, Sources
from sidecar.syntax import json
from sidecar.syntax.yaml12 import Document, load_documents
from sidecar.terms.decision import BundleStamp
from sidecar.terms.domain import Catalogue, Domain, Needs
from sidecar.terms.errors import PolicyError
from sidecar.terms.words import PROTOCOLS, PolicyVersion


class Bundle:
    """What decides. Immutable once made, but for the index, which grows as calls come.

    `stamp` is name, version and digest, as records and answers carry them.
    """

    def __init__(
        self,
        document: BundleDoc,
        rules: tuple[Rule, ...],
        domains: Mapping[str, Domain],
        catalogues: Mapping[str, Catalogue],
        sources: Sources,
        *,
        frozen: bool,
    ) -> None:
        self.name = document.name
        self.label = document.version
        self.description = document.description
        self.layers = tuple(document.layers)
        self.rules = rules
        self.domains = domains
        self.catalogues = catalogues
        self.params = sources.params
        self.vocabulary = sources.roots
        self.files = sources.policy_files
        self.test_files = sources.test_files
        self.fixture_files = sources.fixture_files
        self.tests = tuple(sources.tests)
        self._policy_paths = tuple(dict.fromkeys(each.name for each, _ in sources.policies))
        self.digest = digest_of(sources.policy_files)
        self.tests_digest = digest_of({**sources.test_files, **sources.fixture_files})
        self.frozen = frozen
        label = document.version if frozen else f"{document.version}-dev+{self.digest[7:19]}"
        self.version = PolicyVersion(label)
        self.engine = ENGINE
        self.index = Index(rules)
        # Not made anew at each decision.
        self.stamp = BundleStamp(self.name, self.version, self.digest)
        self._needs = {protocol: self._needed(protocol) for protocol in PROTOCOLS}

    @property
    def policy_documents(self) -> tuple[Document, ...]:
        """Return the Policy documents as written, read anew: who decides has no use for them."""
        documents = (
            document
            for path in self._policy_paths
            for document in load_documents(path, self.files[path])
        )
        return tuple(each for each in documents if each.value["kind"] == "Policy")

    def with_rules(self, rules: tuple[Rule, ...]) -> "Bundle":
        """Return this bundle as if it had other rules under its own name, for who tests them."""
        changed = copy.copy(self)
        changed.rules = rules
        changed.index = Index(rules)
        return changed

    def prepare(self) -> None:
        """Index the rules of the calls that most rules name, so that no call waits for it."""
        names = {protocol: domain.name for protocol, domain in self.domains.items()}
        self.index.prepare(names)

    def needs(self, protocol: str) -> Needs:
        """Return what rules may read of a call of `protocol`."""
        return self._needs[protocol]

    def _needed(self, protocol: str) -> Needs:
        domain = self.domains.get(protocol)
        if domain is None:
            return Needs()
        rules = [
            rule
            for rule in self.rules
            if _may_see(rule.policy_filter, domain, protocol)
            and _may_see(rule.filter, domain, protocol)
        ]
        paths = frozenset().union(*(rule.paths for rule in rules))
        # A path that stops above the body (`request`, `request.http`) may reach into it.
        body = any(
            path.split(".")[:1] == ["request"] and (len(path.split(".")) < 3 or ".body" in path)
            for path in paths
        )
        return Needs(paths, body)


def _may_see(found: object, domain: Domain, protocol: str) -> bool:
    domains = getattr(found, "domains", None)
    protocols = getattr(found, "protocols", None)
    return (domains is None or domain.name in domains) and (
        protocols is None or protocol in protocols
    )


def compile_bundle(
    files: Mapping[str, bytes], domains: Mapping[str, Domain], *, frozen: bool = False
) -> Bundle:
    """Return the bundle of `files`.

    Args:
        files: Path below the bundle's folder (`/` separated) → bytes.
        domains: Protocol → domain, as `domains.by_protocol()` gives.
        frozen: The files come from an archive whose digest was checked: the bare label is theirs.

    Raises:
        PolicyError: Every problem found, each `file:line:column: text`.
    """
    with uncollected():
        return _compiled(files, domains, frozen=frozen)


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause the collector of cycles: what is loaded is kept, and looking it over costs the most."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _compiled(files: Mapping[str, bytes], domains: Mapping[str, Domain], *, frozen: bool) -> Bundle:
    sources = Sources(files)
    document = sources.read()
    catalogues = sources.catalogues(domains)
    sources.roots = sources.typed(domains)
    reader = PolicyReader(domains, catalogues, tuple(document.layers), sources.roots, sources.files)
    for policy, metadata in sources.policies:
        reader.add(policy, metadata)
    problems = sources.problems + reader.problems
    if not problems and not reader.rules:
        problems.append(f"{BUNDLE_FILE}:1:1: the bundle holds no policy")
    if len(reader.rules) > RULES_MAX:
        problems.append(f"{BUNDLE_FILE}:1:1: more than {RULES_MAX} rules")
    if problems:
        raise PolicyError(*problems)
    rules = tuple(reader.rules)
    return Bundle(document, rules, domains, catalogues, sources, frozen=frozen)


def digest_of(files: Mapping[str, bytes]) -> str:
    """Return `sha256:…` over the canonical manifest of `files`."""
    manifest = [
        {"path": path, "sha256": hashlib.sha256(data).hexdigest()}
        for path, data in sorted(files.items())
    ]
    return "sha256:" + hashlib.sha256(json.canonical(manifest)).hexdigest()
