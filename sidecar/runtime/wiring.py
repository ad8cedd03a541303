"""The composition root: a configuration → facts, path and listeners of one worker."""

import base64
import socket
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import msgspec

from sidecar import flow
from sidecar.facts.identity import Workloads
from sidecar.facts.sources import Entities, Provider, Revocations, RevocationView, Sources
from sidecar.intercept.ask import AskListener, AskSettings, Health
from sidecar.intercept.http_proxy import HttpProxy, HttpProxySettings
from sidecar.intercept.postgres.listener import PostgresListener
from sidecar.intercept.postgres.settings import PostgresSettings
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


def listener_of(listener: Listener, config: Config, parts: Parts) -> Serving:
    """Return the listener that its entry describes. Raises ConfigError."""
    doc = listener.doc
    match doc:
        case AskDoc():
            settings = AskSettings(name=doc.name, public_url=parts.public_url)
            return AskListener(settings, parts.path, parts.workloads, parts.metrics, parts.health)
        case HttpDoc():
            return HttpProxy(
                http_settings(doc, config),
                parts.path,
                parts.workloads.bearer_identity,
                parts.metrics,
            )
        case PostgresDoc():
            return PostgresListener(
                postgres_settings(doc, config),
                parts.path,
                parts.workloads,
                parts.revocations,
                counters=parts.metrics,
            )


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
    )


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
