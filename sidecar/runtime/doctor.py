"""Looks at the machine, the configuration and the ledger, and says what is wrong or weak.

Each check is a function of the configuration that yields findings: `ok`, `warn` (it runs, and you
should know) or `fail` (it will not run, or does not protect). Nothing here writes but for a file
without a name beside the state, by which the disk is measured.
"""

import contextlib
import importlib.util
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from sidecar.domains import by_protocol
from sidecar.intercept.limits import ASK_CONNECTIONS_MAX, HTTP_CALLS_MAX, HTTP_CONNECTIONS_MAX
from sidecar.intercept.postgres.limits import CONNECTIONS_MAX as POSTGRES_CONNECTIONS_MAX
from sidecar.record.disk import DISK
from sidecar.record.ledger import ledger_paths
from sidecar.record.proof import identity
from sidecar.record.verify import is_locked, verify
from sidecar.runtime.bundles import load_bundle
from sidecar.runtime.config import (
    Address,
    AskDoc,
    Config,
    CredentialDoc,
    HttpDoc,
    Listener,
    PostgresDoc,
    Tcp,
    Unix,
    UpstreamDoc,
    load_config,
)
from sidecar.runtime.limits import DESCRIPTORS_BESIDES, FSYNC_SAMPLES, FSYNC_SLOW_MS
from sidecar.runtime.processes.machine import descriptors_max
from sidecar.terms.errors import LedgerBroken, SidecarError

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_NATIVE_TLS: Final = ("https",)


class Finding(msgspec.Struct, frozen=True):
    """What one check saw."""

    check: str
    level: Literal["ok", "warn", "fail"]
    text: str


def examine(file: Path) -> list[Finding]:
    """Return the findings on this machine and the configuration in `file`."""
    found = list(_machine())
    try:
        config = load_config(file)
    except SidecarError as error:
        return [*found, *(Finding("config", "fail", line) for line in str(error).splitlines())]
    found.append(Finding("config", "ok", f"{file}: {len(config.listeners)} listeners"))
    checks = (_state, _bundle, _ledger, _disk, _descriptors, _secrets, _users, _open, _sockets)
    for check in checks:
        found.extend(check(config))
    return found


def _machine() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", "ok" if sys.version_info >= (3, 11) else "fail", version)
    if importlib.util.find_spec("uvloop") is None:
        yield Finding("uvloop", "warn", "not installed; the standard loop is slower")
    else:
        yield Finding("uvloop", "ok", "installed")


def _state(config: Config) -> Iterator[Finding]:
    try:
        found = config.state.lstat()
    except FileNotFoundError:
        yield Finding("state", "ok", f"{config.state}: made at the first run")
        return
    except OSError as error:
        yield Finding("state", "fail", f"{config.state}: {error.strerror}")
        return
    if found.st_mode & 0o077:
        text = f"other users can look into it; run `chmod 700 {config.state}`"
        yield Finding("state", "fail", text)
    elif found.st_uid != os.geteuid():
        yield Finding("state", "fail", f"{config.state} belongs to user {found.st_uid}")
    else:
        yield Finding("state", "ok", f"{config.state} is yours alone")


def _bundle(config: Config) -> Iterator[Finding]:
    try:
        bundle = load_bundle(config.bundle, by_protocol())
    except SidecarError as error:
        lines = str(error).splitlines()
        yield Finding("bundle", "fail", f"{lines[0]} ({len(lines)} problems)")
        return
    yield Finding("bundle", "ok", f"{bundle.name} {bundle.version}, {len(bundle.rules)} rules")
    if not bundle.frozen:
        yield Finding("bundle", "warn", "a folder: its files can change; `sidecar bundle build`")


def _ledger(config: Config) -> Iterator[Finding]:
    folder, key_file = ledger_paths(config.state)
    if not identity.is_there(key_file):
        yield Finding("ledger", "ok", "none yet")
        return
    try:
        who = identity.load(DISK, key_file)
        report = verify(folder, who.verifier, who.last_signed(DISK))
    except (LedgerBroken, OSError) as error:
        yield Finding("ledger", "fail", str(error))
        return
    if report.intact:
        yield Finding("ledger", "ok", f"intact, {report.records} records")
    else:
        yield Finding("ledger", "fail", str(report.problem))


def _disk(config: Config) -> Iterator[Finding]:
    """Measure what a durable record costs where the ledger will be."""
    folder = next((p for p in (config.state, *config.state.parents) if p.is_dir()), Path())
    try:
        took_ms = _fsync_ms(folder)
    except OSError as error:
        yield Finding("disk", "fail", f"{folder}: {error.strerror}")
        return
    level: Literal["ok", "warn"] = "ok" if took_ms < FSYNC_SLOW_MS else "warn"
    yield Finding("disk", level, f"{took_ms:.2f} ms for a durable write, which each call waits for")


def _fsync_ms(folder: Path) -> float:
    took = []
    with tempfile.TemporaryFile(dir=folder) as stream:
        for _ in range(FSYNC_SAMPLES):
            started = time.perf_counter()
            stream.write(b"x" * 512)
            stream.flush()
            os.fsync(stream.fileno())
            took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took)


def _descriptors(config: Config) -> Iterator[Finding]:
    """Compare what a worker may open with what it needs when every connection is taken."""
    needed = DESCRIPTORS_BESIDES + sum(_connections(one.doc) for one in config.listeners)
    allowed = descriptors_max()
    if allowed < needed:
        text = f"{allowed} may be open at a time, and all connections take {needed} (`ulimit -Hn`)"
        yield Finding("descriptors", "warn", f"{text}; further callers wait")
    else:
        yield Finding("descriptors", "ok", f"{allowed} may be open at a time")


def _connections(doc: AskDoc | HttpDoc | PostgresDoc) -> int:
    """Return how many connections there are at most, those to the upstream among them."""
    match doc:
        case AskDoc():
            return ASK_CONNECTIONS_MAX
        case HttpDoc():
            return HTTP_CONNECTIONS_MAX + HTTP_CALLS_MAX
        case PostgresDoc():
            return 2 * POSTGRES_CONNECTIONS_MAX


def _upstreams(config: Config) -> Iterator[tuple[Listener, UpstreamDoc]]:
    for listener in config.listeners:
        if not isinstance(listener.doc, AskDoc):
            yield listener, listener.doc.upstream


def _secrets(config: Config) -> Iterator[Finding]:
    for listener, upstream in _upstreams(config):
        if upstream.credential is not None:
            yield _secret(listener.name, config.path(_file_of(upstream.credential)))


def _file_of(credential: CredentialDoc) -> str:
    name = credential.password.file if credential.password else credential.file
    assert name is not None
    return name


def _secret(listener: str, path: Path) -> Finding:
    try:
        found = path.stat()
    except OSError as error:
        return Finding("secrets", "fail", f"{path}: {error.strerror}")
    if found.st_mode & 0o077:
        return Finding(
            "secrets", "fail", f"{path}: other users can read it, so they need no sidecar"
        )
    return Finding("secrets", "ok", f"{listener}: {path.name} is yours alone")


def _users(config: Config) -> Iterator[Finding]:
    own = os.geteuid()
    if own == 0:
        yield Finding("user", "warn", "runs as root; give the sidecar a user of its own")
    if any(own in workload.uids for workload in config.workloads):
        text = "an app runs as the sidecar's own user: it can read its credentials and its key"
        yield Finding("user", "warn", text)
    if not config.workloads:
        yield Finding("workloads", "warn", "nobody may call; `sidecar key issue NAME`")
    for workload in config.workloads:
        if any(entry.partition(":")[0] == "*" for entry in workload.may_assert.subjects):
            text = f"`{workload.id}` may speak for everybody (`may_assert.subjects`)"
            yield Finding("workloads", "warn", text)


def _open(config: Config) -> Iterator[Finding]:
    """Name every option by which traffic crosses a network unprotected."""
    for listener in config.listeners:
        for address in listener.exposed:
            text = f"`{listener.name}` on {address.host} is open to other machines, without TLS"
            yield Finding("exposure", "warn", text)
    for listener, upstream in _upstreams(config):
        parts = urlsplit(upstream.url)
        if parts.scheme not in _NATIVE_TLS and parts.hostname not in _LOOPBACK:
            text = f"`{listener.name}` reaches {parts.hostname} without TLS"
            yield Finding("exposure", "warn", text)


def _sockets(config: Config) -> Iterator[Finding]:
    folder, _ = ledger_paths(config.state)
    if folder.is_dir() and is_locked(folder):
        yield Finding("listeners", "ok", "a sidecar is running on this state")
        return
    for listener in config.listeners:
        for address in listener.addresses:
            yield _bindable(listener.name, address)


def _bindable(name: str, address: Address) -> Finding:
    match address:
        case Tcp():
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    trial.bind((address.host, address.port))
                except OSError as error:
                    text = f"{name}: {address.host}:{address.port}: {error.strerror}"
                    return Finding("listeners", "fail", text)
            return Finding("listeners", "ok", f"{name}: {address.host}:{address.port} is free")
        case Unix():
            if not os.access(address.path.parent, os.W_OK):
                return Finding("listeners", "fail", f"{name}: {address.path.parent}: not writable")
            return Finding("listeners", "ok", f"{name}: {address.path}")
