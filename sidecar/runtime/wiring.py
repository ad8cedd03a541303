"""The composition root: a configuration → facts, path and listeners of one worker."""

import base64
import socket
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import msgspec

from sidecar import flow
from sidecar.facts.identity import Workloads
from sidecar.facts.sources import Entities, Provider, Revocations, RevocationView, Sources
from sidecar.intercept.ask import AskListener
from sidecar.intercept.ask_edge import AskSettings, Health
from sidecar.intercept.hot.spread.counts import Spread
from sidecar.intercept.http_proxy import HttpProxy, HttpProxySettings
from sidecar.intercept.postgres.ends.tls import client_context, server_context
from sidecar.intercept.postgres.listener import PostgresListener
from sidecar.intercept.postgres.settings import PostgresSettings
from sidecar.runtime.catalog.drift import Watched, Watches
from sidecar.runtime.catalog.read import Login, is_local
from sidecar.runtime.config import (
    AskDoc,
    Config,
    CredentialDoc,
    HttpDoc,
    Listener,
    PostgresDoc,
    UpstreamDoc,
    read_secret,
)
from sidecar.runtime.metrics import Metrics
from sidecar.terms.errors import ConfigError

_POSTGRES_PORT: Final = 5432


class Serving(Protocol):
    """What every listener offers."""

    async def serve(self, sockets: list[socket.socket]) -> None:
        """Start to serve on bound sockets and return."""
        ...

    async def drain(self, timeout_s: float) -> None:
        """Take no more, end what was begun, close the rest after `timeout_s`."""
        ...


def sources(revocations: RevocationView, entities: Entities | None) -> Sources:
    """Return the providers of every fact function; without entities that fact cannot be had."""
    providers: dict[str, Provider] = {"revoked": Revocations(revocations)}
    if entities is not None:
        providers["entity"] = entities
    return Sources(providers)


class Parts(msgspec.Struct, frozen=True):
    """What listeners are made of."""

    path: flow.Path
    workloads: Workloads
    revocations: RevocationView
    metrics: Metrics
    health: Health
    public_url: str | None
    watches: Watches
    # Asks the other workers to cancel what a session does that is none of this one's.
    elsewhere: Callable[[str, bytes], bool] | None = None
    # The connections of all workers.
    spread: Spread | None = None


def listener_of(listener: Listener, config: Config, parts: Parts) -> Serving:
    """Return the listener that its entry describes. Raises ConfigError."""
    doc = listener.doc
    match doc:
        case AskDoc():
            settings = AskSettings(name=doc.name, public_url=parts.public_url)
            return AskListener(
                settings, parts.path, parts.workloads, parts.metrics, parts.health, parts.spread
            )
        case HttpDoc():
            return HttpProxy(
                http_settings(doc, config),
                parts.path,
                parts.workloads.bearer_identity,
                parts.metrics,
            )
        case PostgresDoc():
            return PostgresListener(
                _watched(postgres_settings(doc, config), doc, parts),
                parts.path,
                parts.workloads,
                parts.revocations,
                counters=parts.metrics,
                elsewhere=parts.elsewhere,
            )


def _watched(settings: PostgresSettings, doc: PostgresDoc, parts: Parts) -> PostgresSettings:
    """Return the settings with what is known of the drift between catalogue and database."""
    every_s = doc.upstream.drift_check_s
    if not every_s:
        return settings
    is_plain = settings.upstream_tls is None or (
        settings.is_plain_loopback and is_local(settings.host)
    )
    login = Login(
        host=settings.host,
        port=settings.port,
        user=settings.user,
        database=settings.database,
        password=settings.password,
        tls="disable" if is_plain else settings.upstream_tls,
    )
    drift = parts.watches.add(Watched(settings.upstream, login, every_s))
    return msgspec.structs.replace(settings, drift=drift)


def http_settings(doc: HttpDoc, config: Config) -> HttpProxySettings:
    """Return what the HTTP proxy is told, its upstream's credential read."""
    name, upstream = doc.name, doc.upstream
    authorization = None
    if upstream.credential is not None:
        user, secret = _secret(upstream.credential, config)
        if user is None:
            # The file holds the header's value as it is sent: `Bearer …`, `Token …`.
            authorization = secret
        else:
            pair = base64.b64encode(f"{user}:{secret}".encode()).decode()
            authorization = f"Basic {pair}"
    return HttpProxySettings(
        name=name, upstream=upstream.name or name, url=upstream.url, authorization=authorization
    )


def postgres_settings(doc: PostgresDoc, config: Config) -> PostgresSettings:
    """Return what the PostgreSQL proxy is told, its upstream's credential read."""
    name, upstream = doc.name, doc.upstream
    parts = urlsplit(upstream.url)
    database = unquote(parts.path.removeprefix("/"))
    if not database or "/" in database or parts.query:
        raise ConfigError(f"listener `{name}`: `url` names one database and no options")
    user = unquote(parts.username) if parts.username else None
    user, password = _login(name, user, upstream, config)
    return PostgresSettings(
        name=name,
        upstream=upstream.name or name,
        host=parts.hostname or "",
        port=parts.port or _POSTGRES_PORT,
        database=database,
        user=user,
        password=password,
        search_path=doc.search_path,
        tls=_tls(doc, config),
        is_plain_allowed=doc.insecure_bind,
        upstream_tls=_upstream_tls(doc, config),
        is_plain_loopback=upstream.sslmode is None,
        idle_s=doc.idle_s,
        idle_in_transaction_s=doc.idle_in_transaction_s,
    )


def _tls(doc: PostgresDoc, config: Config) -> ssl.SSLContext | None:
    if doc.tls is None:
        return None
    return _opened(doc.name, server_context, config.path(doc.tls.cert), config.path(doc.tls.key))


def _upstream_tls(doc: PostgresDoc, config: Config) -> ssl.SSLContext | None:
    said = doc.upstream
    if said.sslmode == "insecure-disable":
        return None
    authorities = config.path(said.ca) if said.ca else None
    make = partial(client_context, is_verified=said.sslmode != "insecure-require")
    return _opened(doc.name, make, authorities)


def _opened(name: str, make: Callable[..., ssl.SSLContext], *files: Path | None) -> ssl.SSLContext:
    """Return what `make` makes of files. Raises ConfigError."""
    try:
        return make(*files)
    except OSError as error:
        # A library's word where it has one: what stands in a key's file is told nobody.
        why = (isinstance(error, ssl.SSLError) and error.reason) or error.strerror
        named = ", ".join(f"`{file}`" for file in files)
        raise ConfigError(f"listener `{name}`: TLS with {named}: {why}") from None


def _login(name: str, user: str | None, upstream: UpstreamDoc, config: Config) -> tuple[str, str]:
    """Return user and password; a file alone holds both, or the password of the URL's user."""
    if upstream.credential is None:
        if user is None:
            raise ConfigError(f"listener `{name}`: `credential` says as whom to log in")
        return user, ""
    stated, secret = _secret(upstream.credential, config)
    if stated is not None:
        return stated, secret
    if user is not None:
        return user, secret
    user, colon, password = secret.partition(":")
    if not user or not colon:
        raise ConfigError(
            f"listener `{name}`: the credential's file holds `user:password` on one line"
        )
    return user, password


def _secret(credential: CredentialDoc, config: Config) -> tuple[str | None, str]:
    """Return the user, where one is stated, and what the file holds."""
    if credential.password is not None:
        return credential.user, read_secret(config.path(credential.password.file))
    assert credential.file is not None
    return None, read_secret(config.path(credential.file))
