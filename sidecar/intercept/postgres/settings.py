"""The listener's seams: its settings, who may log in, when leases end, who keeps sessions."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

from sidecar.intercept.postgres.limits import IDLE_IN_TRANSACTION_S_MAX, IDLE_S_MAX
from sidecar.intercept.postgres.outcomes import Gathered
from sidecar.terms.call import Identity, Json, Party

SessionT_contra = TypeVar("SessionT_contra", contravariant=True)


class PostgresSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One listener of protocol `postgres` and the one database behind it.

    Args:
        name: The listener's name, as records carry it.
        upstream: The upstream's name, as resources carry it.
        host: Of the database; a path that starts with `/` is the folder of its Unix socket.
        database: The only one that clients may ask for.
        user: As whom the sidecar logs in; the application never sees this credential.
        search_path: Pinned on every session, and what the catalogue must say as well.
        tls: What clients that ask for TLS are given; None is a listener without a certificate.
        is_plain_allowed: Whether clients elsewhere may do without TLS.
        upstream_tls: What the upstream is talked to with; None is in the open, wherever it is.
        is_plain_loopback: Whether one on this machine is talked to in the open all the same.
        idle_s: How long a client may say nothing.
        idle_in_transaction_s: The same inside a transaction, whose locks others wait for.
        drift: Returns where the database is known to differ from the catalogue.
    """

    name: str
    upstream: str
    host: str
    port: int
    database: str
    user: str
    password: str
    search_path: tuple[str, ...] = ("public",)
    tls: ssl.SSLContext | None = None
    is_plain_allowed: bool = False
    upstream_tls: ssl.SSLContext | None = None
    is_plain_loopback: bool = True
    idle_s: float = IDLE_S_MAX
    idle_in_transaction_s: float = IDLE_IN_TRANSACTION_S_MAX
    drift: Callable[[], dict[str, Json]] = dict

    @property
    def is_upstream_verified(self) -> bool:
        """Return whether TLS with the upstream proves who it is."""
        return self.upstream_tls is not None and self.upstream_tls.check_hostname

    def __repr__(self) -> str:
        """Return a form without the password, which would otherwise reach a traceback."""
        return f"PostgresSettings(name={self.name!r}, upstream={self.upstream!r})"


class Workloads(Protocol):
    """Who may log in; `facts.identity.Workloads` is one."""

    def scram_verifier(self, user: str) -> str | None:
        """Return the verifier of workload `user`, None when nobody can log in as it."""
        ...

    def identity_of(self, user: str) -> Identity:
        """Return the identity of workload `user`, which has proven itself."""
        ...

    def subject_of(self, token: str, user: str) -> Party | None:
        """Return the subject that `token` names and `user` may speak for, else None."""
        ...


class Revocations(Protocol):
    """When leases end; `facts.sources.RevocationView` is one."""

    @property
    def epoch(self) -> int:
        """Return a number that grows with each change."""
        ...


class Keeper(Protocol[SessionT_contra]):
    """What a session needs of its listener, which outlives it."""

    @property
    def gathered(self) -> Gathered:
        """Return the connections whose outcomes wait."""
        ...

    @property
    def is_draining(self) -> bool:
        """Return whether who has nothing under way is to end."""
        ...

    def random(self, size: int) -> bytes:
        """Return bytes fit for cryptography."""
        ...

    def spawned(self, task: asyncio.Task[None]) -> None:
        """Keep a task alive until it is done."""
        ...

    def lacks_hash(self) -> None:
        """Say to the operator that the database may lack the function for masks `hash`."""
        ...

    def became_idle(self, session: SessionT_contra) -> None:
        """Know that a session has its answers, and that nothing of it may be under way."""
        ...

    def ended(self, session: SessionT_contra) -> None:
        """Forget a session."""
        ...
