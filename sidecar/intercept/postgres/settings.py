"""The listener's seams: its settings, who may log in, when leases end, who keeps sessions."""

import asyncio
from typing import Protocol, TypeVar

import msgspec

from sidecar.terms.call import Identity, Party

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
    """

    name: str
    upstream: str
    host: str
    port: int
    database: str
    user: str
    password: str
    search_path: tuple[str, ...] = ("public",)

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

    def random(self, size: int) -> bytes:
        """Return bytes fit for cryptography."""
        ...

    def spawned(self, task: asyncio.Task[None]) -> None:
        """Keep a task alive until it is done."""
        ...

    def became_idle(self, session: SessionT_contra) -> None:
        """Know that nothing of a session is under way."""
        ...

    def ended(self, session: SessionT_contra) -> None:
        """Forget a session."""
        ...
