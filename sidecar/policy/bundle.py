"""The Bundle: one immutable, digested set of compiled policies, with its rule index.

`compile_bundle(files, domains)` is all or nothing: every problem found is reported with its
position, and nothing is returned unless there is none. The digest is SHA-256 over the canonical
manifest `[{path, sha256}]` of the policy files; tests have a digest of their own.
"""

import gc
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from sidecar.policy.cel import ENGINE
from sidecar.policy.documents import (
    AttributesSpec,
    BundleDoc,
    Envelope,
    Metadata,
    check_name,
    read,
)
from sidecar.policy.index.targets import Index
from sidecar.policy.limits import (
    BUNDLE_BYTES_MAX,
    BUNDLE_FILES_MAX,
    RULES_MAX,
)
from sidecar.policy.rules import PolicyReader, Rule
from sidecar.policy.vocabulary.attributes import Attributes
from sidecar.policy.vocabulary.roots import Roots
from sidecar.syntax import json
from sidecar.syntax.yaml12 import Document, load_documents
from sidecar.terms.call import Json
from sidecar.terms.decision import BundleStamp
from sidecar.terms.domain import Catalogue, CatalogueFile, Domain, Needs
from sidecar.terms.errors import PolicyError
from sidecar.terms.words import PROTOCOLS, PolicyVersion

BUNDLE_FILE: Final = "bundle.yaml"
# Files that speak to people: neither read nor digested. Anything else of no known kind is refused,
# so that a policy saved as `pii.yaml.bak` is never silently left out.
_IGNORED = re.compile(
    r"(^|/)\.[^/]+(/|\Z)|(^|/)([^/]+\.md|LICENSE)\Z|(^|/)testdata/|(^|/)__pycache__/"
)
_FOLDER = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z._-]*(/[0-9A-Za-z_-][0-9A-Za-z._-]*)*\Z")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,63}\Z")


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
        sources: "_Sources",
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
        self.tests = tuple(sources.tests)
        self._policy_paths = tuple(dict.fromkeys(each.name for each, _ in sources.policies))
        self.digest = digest_of(sources.policy_files)
        self.tests_digest = digest_of(sources.test_files)
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
    with _uncollected():
        return _compiled(files, domains, frozen=frozen)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the collector of cycles: what is loaded is kept, and looking it over costs the most."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _compiled(files: Mapping[str, bytes], domains: Mapping[str, Domain], *, frozen: bool) -> Bundle:
    sources = _Sources(files)
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


class _Sources:
    """Sorts the files of a bundle by what they are."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = {path: data for path, data in files.items() if not _IGNORED.search(path)}
        self.problems: list[str] = []
        self.policies: list[tuple[Document, Metadata]] = []
        self.tests: list[tuple[Document, Metadata]] = []
        self.catalogue_documents: list[Document] = []
        self.params: dict[str, Json] = {}
        self.attributes = Attributes()
        self.roots = Roots({}, {}, {}, ())
        self.policy_files: dict[str, bytes] = {}
        self.test_files: dict[str, bytes] = {}
        self._named: set[str] = set()

    def read(self) -> BundleDoc:
        """Sort every file; return `bundle.yaml`. A bundle without a readable one stops here."""
        if len(self.files) > BUNDLE_FILES_MAX or (
            sum(map(len, self.files.values())) > BUNDLE_BYTES_MAX
        ):
            raise PolicyError(f"{BUNDLE_FILE}:1:1: the bundle is larger than its bounds")
        document = self._bundle_document()
        # Named, never guessed: a folder of denials left out in silence would open what they close.
        apart = tuple(f"{folder}/" for folder in document.exclude)
        self.files = {path: data for path, data in self.files.items() if not path.startswith(apart)}
        others: list[str] = []
        for path, data in sorted(self.files.items()):
            if path == BUNDLE_FILE:
                continue
            if path.endswith((".yaml", ".yml")):
                self._yaml(path, data, others)
            else:
                others.append(path)
        self._unnamed(others)
        self.policy_files[BUNDLE_FILE] = self.files[BUNDLE_FILE]
        return document

    def _bundle_document(self) -> BundleDoc:
        data = self.files.get(BUNDLE_FILE)
        if data is None:
            raise PolicyError(
                f"{BUNDLE_FILE}:1:1: not found; a bundle is a folder with {BUNDLE_FILE} "
                '(name: mine, version: "1.0.0")'
            )
        documents = load_documents(BUNDLE_FILE, data)
        if len(documents) != 1 or not isinstance(documents[0].value, dict):
            raise PolicyError(f"{BUNDLE_FILE}:1:1: holds one mapping: name, version, …")
        found = read(documents[0], (), BundleDoc)
        self.problems.extend(check_name(documents[0], ("name",), found.name, "bundle name"))
        if not _VERSION.match(found.version):
            where = documents[0].where("version")
            self.problems.append(f"{where}: version `{found.version}` is not like `1.0.0`")
        self.problems.extend(_header_problems(documents[0], found))
        return found

    def _yaml(self, path: str, data: bytes, others: list[str]) -> None:
        try:
            documents = load_documents(path, data)
        except PolicyError as error:
            self.problems.extend(error.problems)
            return
        kinds = {self._document(document) for document in documents}
        if kinds == {"other"}:
            others.append(path)
            return
        if "other" in kinds:
            self.problems.append(f"{path}:1:1: a document of no known kind among others")
        self._file(path, data, kinds)

    def _file(self, path: str, data: bytes, kinds: set[str]) -> None:
        if kinds == {"Test"}:
            self.test_files[path] = data
        elif "Test" in kinds:
            self.problems.append(f"{path}:1:1: tests stand in files of their own")
        else:
            self.policy_files[path] = data

    def _document(self, document: Document) -> str:
        value = document.value
        if not (isinstance(value, dict) and ("kind" in value or "apiVersion" in value)):
            return "other"
        try:
            envelope = read(document, (), Envelope)
        except PolicyError as error:
            self.problems.extend(error.problems)
            return "broken"
        self._sort(document, envelope)
        return envelope.kind

    def _sort(self, document: Document, envelope: Envelope) -> None:
        match envelope.kind:
            case "Policy":
                self.policies.append((document, envelope.metadata))
            case "Test":
                self.tests.append((document, envelope.metadata))
            case "Catalog":
                self.catalogue_documents.append(document)
                self._named.update(_named_files(envelope.spec))
            case "Params":
                self._params(document, envelope)
            case "Attributes":
                self._attributes(document)

    def _attributes(self, document: Document) -> None:
        try:
            spec = read(document, ("spec",), AttributesSpec)
        except PolicyError as error:
            self.problems.extend(error.problems)
            return
        self.attributes.add(document, spec, self.problems.append)

    def typed(self, domains: Mapping[str, Domain]) -> Roots:
        """Return the types of what expressions may name."""
        specs = [document.value["spec"] for document in self.catalogue_documents]
        known = [(domains.get(str(spec.get("protocol"))), spec) for spec in specs]
        named = [(domain.name, spec) for domain, spec in known if domain is not None]
        return Roots(domains, self.attributes.types, self.params, named)

    def _params(self, document: Document, envelope: Envelope) -> None:
        name = envelope.metadata.name
        if name in self.params:
            self.problems.append(
                f"{document.where('metadata', 'name')}: params `{name}` stand twice in the bundle"
            )
        self.params[name] = envelope.spec

    def _unnamed(self, others: Iterable[str]) -> None:
        for path in others:
            if path in self._named:
                self.policy_files[path] = self.files[path]
            elif path.endswith(f"/{BUNDLE_FILE}"):
                self.problems.append(
                    f"{path}:1:1: a bundle inside a bundle; take the file away to make its "
                    "folder a part of this one, or name the folder under `exclude` in "
                    f"{BUNDLE_FILE}"
                )
            else:
                self.problems.append(
                    f"{path}:1:1: a file of no known kind; a policy file says `kind:` "
                    "(Policy, Test, Catalog, Params, Attributes)"
                )

    def catalogues(self, domains: Mapping[str, Domain]) -> dict[str, Catalogue]:
        """Return each domain's catalogue, compiled by the domain."""
        files: dict[str, list[CatalogueFile]] = {domain.name: [] for domain in domains.values()}
        for document in self.catalogue_documents:
            protocol = document.value["spec"].get("protocol")
            domain = domains.get(protocol) if isinstance(protocol, str) else None
            if domain is None:
                where = document.where("spec", "protocol")
                offers = ", ".join(sorted(domains))
                self.problems.append(f"{where}: `protocol` is one of {offers}")
                continue
            spec = document.value["spec"]
            files[domain.name].append(
                CatalogueFile(document.name, spec, document.positions, self.files)
            )
        return {
            domain.name: self._catalogue(domain, files[domain.name]) for domain in domains.values()
        }

    def _catalogue(self, domain: Domain, files: list[CatalogueFile]) -> Catalogue:
        try:
            return domain.catalogue(files)
        except PolicyError as error:
            self.problems.extend(error.problems)
            return domain.catalogue(())


def _named_files(spec: dict[str, Json]) -> set[str]:
    """Return the files that a catalogue names; the domain reads them from the bundle."""
    named = spec.get("openapi")
    return {named} if isinstance(named, str) else set()


def _header_problems(document: Document, found: BundleDoc) -> list[str]:
    problems = []
    if not found.layers or len(set(found.layers)) != len(found.layers):
        problems.append(f"{document.where('layers')}: layers are different names, at least one")
    for index, folder in enumerate(found.exclude):
        if not _FOLDER.match(folder):
            where = document.where("exclude", index)
            problems.append(f"{where}: `exclude` names folders, like `packs` or `packs/cloud`")
    for name, wanted in found.requires.items():
        if name != "sidecar":
            problems.append(f"{document.where('requires', name)}: only `sidecar` can be required")
        elif not _satisfied(wanted):
            problems.append(
                f"{document.where('requires', name)}: this is sidecar 0.1, required is {wanted}"
            )
    return problems


def _satisfied(wanted: str) -> bool:
    """Return whether our version meets `>=X.Y`; any other form is not understood, so not met."""
    found = re.fullmatch(r">=\s*(\d+)\.(\d+)(?:\.\d+)?", wanted)
    return found is not None and (int(found[1]), int(found[2])) <= (0, 1)
