"""The shapes of `sidecar.yaml`: what may be written, field by field; unknown fields are refused.

`schemas/config.schema.json` is made of these.
"""

from typing import Annotated, Literal

import msgspec

from sidecar.facts.identity import Workload
from sidecar.policy.documents import Written


class RetentionDoc(Written, frozen=True):
    """How much of the log is kept: whole segments go from the front, and the log says which.

    Args:
        days: What is older may go.
        bytes: What is beyond this may go, the oldest first, as it stands on the disk.
    """

    days: int | None = None
    bytes: int | None = None


class LedgerDoc(Written, frozen=True):
    """How records become durable, and the name that stands in the log's origin.

    Args:
        durability: `strict`: an answer waits until its record is on the disk. `group`: until the
            recorder has written it, or it stands in a file that outlives every process, at most
            51 ms before it is on the disk; a loss of the machine may cost those records, and the
            log then says so.
        name: The part of the origin that you choose; a random epoch is joined to it.
        user: As whom the recorder runs where the sidecar is started as root; the state folder
            becomes that user's, and processes of other users cannot read ledger or keys.
        retention: How much of the log is kept; all of it where nothing is said.
    """

    durability: Literal["strict", "group"] = "strict"
    name: str = "doorward"
    user: str | None = None
    retention: RetentionDoc = RetentionDoc()


class SecretDoc(Written, frozen=True):
    """Where a secret stands: a file with nothing but it."""

    file: str


class CredentialDoc(Written, frozen=True):
    """What the sidecar shows to an upstream: `{file}` alone, or `{user, password: {file}}`."""

    file: str | None = None
    user: str | None = None
    password: SecretDoc | None = None

    def __post_init__(self) -> None:
        """Refuse a half of each."""
        alone = self.file is not None and self.user is None and self.password is None
        paired = self.file is None and self.user is not None and self.password is not None
        if not (alone or paired):
            raise ValueError("a credential is `{file}` or `{user, password: {file}}`")


class UpstreamDoc(Written, frozen=True):
    """What stands behind a listener. `name` is what policies see; the listener's when absent."""

    url: str
    name: str | None = None
    credential: CredentialDoc | None = None


class BoundDoc(Written, frozen=True, tag_field="protocol"):
    """What every listener has. `insecure_bind` opens it to other machines, without TLS."""

    name: str
    bind: str | list[str]
    insecure_bind: bool = False

    @property
    def binds(self) -> list[str]:
        """Return the addresses as a list."""
        return [self.bind] if isinstance(self.bind, str) else self.bind


class AskDoc(BoundDoc, frozen=True, tag="ask"):
    """Decisions for apps that enforce them themselves: `/v1/decide` and AuthZEN."""


class HttpDoc(BoundDoc, frozen=True, tag="http", kw_only=True):
    """A reverse proxy in front of one HTTP upstream."""

    upstream: UpstreamDoc


class TlsDoc(Written, frozen=True):
    """What a listener proves itself with: files with a chain of certificates and with its key."""

    cert: str
    key: str


class DatabaseDoc(UpstreamDoc, frozen=True):
    """A PostgreSQL database.

    Args:
        sslmode: `verify-full` is what is done where nothing is said, but for a database on this
            machine. `insecure-require` encrypts without asking with whom, `insecure-disable` does
            not encrypt.
        ca: A file with the authorities that may vouch for it; the system's where nothing is said.
        drift_check_s: How often it is compared with the catalogue; 0 is never.
    """

    sslmode: Literal["verify-full", "insecure-require", "insecure-disable"] | None = None
    ca: str | None = None
    drift_check_s: Annotated[int, msgspec.Meta(ge=0)] = 300


class PostgresDoc(BoundDoc, frozen=True, tag="postgres", kw_only=True):
    """A wire proxy in front of one PostgreSQL database.

    Args:
        upstream: The database, and the credential that the sidecar alone holds.
        search_path: Pinned on every session; unqualified names are looked up there.
        tls: Spoken with clients that ask for it; needed for those on other machines.
        idle_s: How many seconds a client may say nothing.
        idle_in_transaction_s: The same inside a transaction.
    """

    upstream: DatabaseDoc
    search_path: tuple[str, ...] = ("public",)
    tls: TlsDoc | None = None
    idle_s: int = 3600
    idle_in_transaction_s: int = 600


ListenerDoc = AskDoc | HttpDoc | PostgresDoc


class FactsDoc(Written, frozen=True):
    """Where facts come from.

    Args:
        entities: A file `{type: {id: {property: value}}}`.
        revoked: A file with a list of `type:id`: who is denied before any policy is asked.
    """

    entities: str | None = None
    revoked: str | None = None


class ShadowDoc(Written, frozen=True):
    """A candidate: asked beside the bundle in force and never obeyed; differences are recorded.

    Args:
        bundle: Its folder or archive.
    """

    bundle: str


class ConfigDoc(Written, frozen=True):
    """`sidecar.yaml` as written; paths are relative to the file.

    Args:
        bundle: A bundle's folder, or the archive that `sidecar bundle build` made of it.
        listeners: Where calls come in.
        state: Ledger, keys and every bundle that was active; of mode 0700.
        workloads: Who may call, by the key that `sidecar key issue` printed.
        uids: Unix users that may call on a Unix socket, each as `service:uid-<n>`.
        public_url: Under which AuthZEN clients know this decision point.
        workers: Processes that decide; more than one where one processor is not enough.
        shadow: A bundle that is asked about every call beside the one in force.
    """

    bundle: str
    listeners: list[ListenerDoc]
    state: str = "./state"
    ledger: LedgerDoc = LedgerDoc()
    workloads: tuple[Workload, ...] = ()
    uids: tuple[int, ...] = ()
    public_url: str | None = None
    facts: FactsDoc = FactsDoc()
    workers: int = 1
    shadow: ShadowDoc | None = None
