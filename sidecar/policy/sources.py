"""The files of a bundle, sorted by what they are: policies, tests, catalogues, params, attributes.

Every file is of a known kind, speaks to people, or is refused.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from sidecar.policy.documents import (
    AttributesSpec,
    BundleDoc,
    Envelope,
    Metadata,
    check_name,
    read,
)
from sidecar.policy.limits import BUNDLE_BYTES_MAX, BUNDLE_FILES_MAX
from sidecar.policy.vocabulary.attributes import Attributes
from sidecar.policy.vocabulary.roots import Roots
from sidecar.syntax.yaml12 import Document, load_documents
from sidecar.terms.call import Json
from sidecar.terms.domain import Catalogue, CatalogueFile, Domain
from sidecar.terms.errors import PolicyError

BUNDLE_FILE: Final = "bundle.yaml"
# Files that speak to people: neither read nor digested. Anything else of no known kind is refused,
# so that a policy saved as `pii.yaml.bak` is never silently left out.
_IGNORED = re.compile(
    r"(^|/)\.[^/]+(/|\Z)|(^|/)([^/]+\.md|LICENSE)\Z|(^|/)testdata/|(^|/)__pycache__/"
)
# What suites share: with the tests, and no part of what decides.
_FIXTURE = re.compile(r"(^|/)testdata/[^/.][^/]*\.ya?ml\Z")
_FOLDER = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z._-]*(/[0-9A-Za-z_-][0-9A-Za-z._-]*)*\Z")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,63}\Z")


class Sources:
    """Sorts the files of a bundle by what they are."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = {path: data for path, data in files.items() if not _IGNORED.search(path)}
        self.fixture_files = {path: files[path] for path in files if _FIXTURE.search(path)}
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
        self.files = _without(apart, self.files)
        self.fixture_files = _without(apart, self.fixture_files)
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
        # A domain stands under each of its protocols; its problems are told once.
        once = {domain.name: domain for domain in domains.values()}
        return {name: self._catalogue(domain, files[name]) for name, domain in once.items()}

    def _catalogue(self, domain: Domain, files: list[CatalogueFile]) -> Catalogue:
        try:
            return domain.catalogue(files)
        except PolicyError as error:
            self.problems.extend(error.problems)
            return domain.catalogue(())


def _without(apart: tuple[str, ...], files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in files.items() if not path.startswith(apart)}


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
