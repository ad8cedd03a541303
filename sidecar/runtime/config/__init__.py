"""`sidecar.yaml` → `Config`: read strictly, every problem with its position, every path resolved.

What can be wrong with a value is said where it stands: shapes by msgspec, meaning by `_Checks`.
Secrets are never in this file: it names the files that hold them.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from sidecar.facts.identity import Workload, Workloads
from sidecar.policy.documents import read
from sidecar.runtime.config.address import Address, Tcp, Unix, read_address
from sidecar.runtime.config.document import (
    AskDoc,
    ConfigDoc,
    CredentialDoc,
    HttpDoc,
    ListenerDoc,
    PostgresDoc,
    ShadowDoc,
    UpstreamDoc,
)
from sidecar.runtime.limits import CONFIG_BYTES_MAX, SECRET_BYTES_MAX, WORKERS_MAX
from sidecar.syntax.yaml12 import Document, Step, load_documents
from sidecar.terms.errors import ConfigError, PolicyError

DEFAULT_FILE: Final = "sidecar.yaml"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


class Listener(msgspec.Struct, frozen=True):
    """One listener with its addresses resolved."""

    doc: ListenerDoc
    addresses: tuple[Address, ...]

    @property
    def name(self) -> str:
        """Return its name."""
        return self.doc.name

    @property
    def exposed(self) -> tuple[Tcp, ...]:
        """Return the addresses that other machines reach."""
        return tuple(a for a in self.addresses if isinstance(a, Tcp) and not a.is_loopback)


class Config(msgspec.Struct, frozen=True):
    """What the process runs on; every path absolute."""

    file: Path
    doc: ConfigDoc
    listeners: tuple[Listener, ...]
    workloads: tuple[Workload, ...]

    @property
    def state(self) -> Path:
        """Return the folder of ledger, keys and bundles."""
        return self.path(self.doc.state)

    @property
    def bundle(self) -> Path:
        """Return the bundle's folder or archive."""
        return self.path(self.doc.bundle)

    @property
    def shadow(self) -> Path | None:
        """Return the candidate's folder or archive, None when there is none."""
        return self.path(self.doc.shadow.bundle) if self.doc.shadow else None

    @property
    def entities(self) -> Path | None:
        """Return the entities file, None when there is none."""
        return self.path(self.doc.facts.entities) if self.doc.facts.entities else None

    @property
    def revoked(self) -> Path | None:
        """Return the revocation list, None when there is none."""
        return self.path(self.doc.facts.revoked) if self.doc.facts.revoked else None

    def path(self, text: str) -> Path:
        """Return `text` as a path, relative to the configuration's folder."""
        return self.file.parent / text


def load_config(file: Path) -> Config:
    """Return the configuration in `file`.

    Raises:
        ConfigError: Every problem found, each `file:line:column: text`.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    return read_config(file, data)


def read_config(file: Path, data: bytes) -> Config:
    """Return the configuration that `data` is; `file` says where its paths begin."""
    if len(data) > CONFIG_BYTES_MAX:
        raise ConfigError(f"{file}:1:1: larger than {CONFIG_BYTES_MAX} bytes")
    try:
        documents = load_documents(str(file), data)
        if len(documents) != 1 or not isinstance(documents[0].value, dict):
            raise ConfigError(f"{file}:1:1: holds one mapping: state, bundle, listeners, …")
        doc = read(documents[0], (), ConfigDoc)
    except PolicyError as error:
        raise ConfigError(str(error)) from None
    checks = _Checks(documents[0], file.absolute().parent)
    listeners = checks.listeners(doc)
    workloads = checks.workloads(doc)
    checks.rest(doc)
    if checks.problems:
        raise ConfigError("\n".join(checks.problems))
    return Config(file.absolute(), doc, listeners, workloads)


class _Checks:
    """What shapes cannot say: addresses, names that stand twice, URLs."""

    def __init__(self, document: Document, folder: Path) -> None:
        self._document = document
        self._folder = folder
        self.problems: list[str] = []

    def _problem(self, text: str, *path: Step) -> None:
        self.problems.append(f"{self._document.where(*path)}: {text}")

    def rest(self, doc: ConfigDoc) -> None:
        """Check what stands at the top."""
        if not _NAME.match(doc.ledger.name):
            text = (
                f"ledger name `{doc.ledger.name}` is not a word of letters, digits, `.`, `_`, `-`"
            )
            self._problem(text, "ledger", "name")
        kept = doc.ledger.retention
        if min(1 if kept.days is None else kept.days, 1 if kept.bytes is None else kept.bytes) < 1:
            self._problem("`retention` is a number of days or bytes above 0", "ledger", "retention")
        if not 1 <= doc.workers <= WORKERS_MAX:
            self._problem(f"`workers` is a number from 1 to {WORKERS_MAX}", "workers")
        if doc.public_url is not None:
            self._public(doc.public_url)

    def _public(self, url: str) -> None:
        parts = _split(url)
        plain = parts is not None and not (parts.query or parts.fragment or parts.username)
        if parts is None or not plain or parts.scheme not in ("http", "https"):
            text = "`public_url` is the base of this decision point, like `https://pdp.example`"
            self._problem(text, "public_url")

    def workloads(self, doc: ConfigDoc) -> tuple[Workload, ...]:
        """Return the workloads, the plain Unix users among them."""
        peers = [Workload(id=f"uid-{uid}", uids=(uid,)) for uid in doc.uids if uid >= 0]
        if len(peers) < len(doc.uids):
            self._problem("a Unix user is not negative", "uids")
        found = (*doc.workloads, *peers)
        for count in range(1, len(found) + 1):
            try:
                Workloads(found[:count])
            except ConfigError as error:
                # The first that collides is the one to point at.
                path = ("workloads", count - 1) if count <= len(doc.workloads) else ("uids",)
                self._problem(str(error), *path)
                break
        return found

    def listeners(self, doc: ConfigDoc) -> tuple[Listener, ...]:
        """Return the listeners with their addresses."""
        if not doc.listeners:
            self._problem("at least one listener, or there is nothing to run", "listeners")
        seen: set[str] = set()
        taken: set[Address] = set()
        found = []
        for index, written in enumerate(doc.listeners):
            path = ("listeners", index)
            self._name(written.name, seen, path)
            if not isinstance(written, AskDoc):
                self._upstream(written, (*path, "upstream"))
            if isinstance(written, PostgresDoc) and min(_idle(written)) < 1:
                self._problem("a connection may be idle for at least 1 second", *path)
            addresses = tuple(self._addresses(written, taken, path))
            found.append(Listener(written, addresses))
        return tuple(found)

    def _name(self, name: str, seen: set[str], path: tuple[Step, ...]) -> None:
        if not _NAME.match(name):
            self._problem(
                f"listener `{name}` is not a word of letters, digits, `.`, `_`, `-`", *path, "name"
            )
        if name in seen:
            self._problem(f"listener `{name}` stands twice", *path, "name")
        seen.add(name)

    def _addresses(
        self, written: ListenerDoc, taken: set[Address], path: tuple[Step, ...]
    ) -> Iterator[Address]:
        if not written.binds:
            self._problem("`bind` names at least one address", *path, "bind")
        for index, text in enumerate(written.binds):
            where = (*path, "bind") if isinstance(written.bind, str) else (*path, "bind", index)
            try:
                address = read_address(text, self._folder)
            except ConfigError as error:
                self._problem(str(error), *where)
                continue
            if address in taken and not (isinstance(address, Tcp) and address.port == 0):
                self._problem(f"`{text}` is bound twice", *where)
            taken.add(address)
            self._exposure(written, address, where)
            yield address

    def _exposure(self, written: ListenerDoc, address: Address, where: tuple[Step, ...]) -> None:
        if isinstance(address, Unix):
            if isinstance(written, PostgresDoc):
                self._problem("a postgres listener binds TCP addresses", *where)
        elif not (address.is_loopback or written.insecure_bind or _has_tls(written)):
            self._problem(
                f"`{address.host}` is reached by other machines, without TLS; bind a loopback "
                "address or a Unix socket, or say `insecure_bind: true`",
                *where,
            )

    def _upstream(self, written: HttpDoc | PostgresDoc, path: tuple[Step, ...]) -> None:
        name = written.upstream.name
        if name is not None and not _NAME.match(name):
            self._problem(f"upstream `{name}` is not a word", *path, "name")
        schemes, example = _UPSTREAMS[type(written)]
        parts = _split(written.upstream.url)
        if parts is None or parts.scheme not in schemes or parts.fragment:
            self._problem(f"`url` is like `{example}`", *path, "url")
        elif parts.password is not None:
            text = "a password stands in a file, see `credential`, and not in the `url`"
            self._problem(text, *path, "url")


def _idle(written: PostgresDoc) -> tuple[int, int]:
    return written.idle_s, written.idle_in_transaction_s


def _has_tls(written: ListenerDoc) -> bool:
    return isinstance(written, PostgresDoc) and written.tls is not None


_UPSTREAMS: Final[dict[type[ListenerDoc], tuple[tuple[str, ...], str]]] = {
    HttpDoc: (("http", "https"), "http://127.0.0.1:9000"),
    PostgresDoc: (("postgres", "postgresql"), "postgres://127.0.0.1:5432/erp"),
}


def _split(url: str) -> SplitResult | None:
    """Return the parts of an absolute URL with a host, None when it is none."""
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return None
    return parts if usable and url.isprintable() and " " not in url else None


def read_secret(path: Path) -> str:
    """Return the one line of a secret's file; its text never stands in an error."""
    try:
        with path.open("rb") as stream:
            data = stream.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        text = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        text = ""
    if not text or len(data) > SECRET_BYTES_MAX or not text.isprintable():
        raise ConfigError(f"{path}: holds a secret on one line and nothing else")
    return text


def prepare_state(state: Path) -> None:
    """Make the state folder, or refuse one that others can look into."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = state.lstat()
    except OSError as error:
        raise ConfigError(f"{state}: cannot be made: {error.strerror}") from None
    if found.st_mode & 0o170000 != 0o040000:
        raise ConfigError(f"{state}: is not a folder")
    if found.st_mode & 0o077:
        raise ConfigError(f"{state}: other users can look into it; run `chmod 700 {state}`")


__all__ = [
    "DEFAULT_FILE",
    "Address",
    "AskDoc",
    "Config",
    "CredentialDoc",
    "HttpDoc",
    "Listener",
    "PostgresDoc",
    "ShadowDoc",
    "Tcp",
    "Unix",
    "UpstreamDoc",
    "load_config",
    "prepare_state",
    "read_config",
    "read_secret",
]
