"""What is so, from where and how old: the one source that `flow` asks, and the providers behind it.

A provider answers for one fact function. A fact that cannot be had is left out, and the PDP ends as
`fact.missing`; only "there is no such thing" is a value (null), because a provider that knows its
whole set can say it. Nothing here waits on a network: revocations are a fold of the ledger that the
process holds, entities are a file that is read at start and at reload.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from sidecar.facts.asking import REVOKED
from sidecar.facts.limits import ENTITIES_BYTES_MAX, STANDING_MAX
from sidecar.syntax.yaml12 import Document, load_documents
from sidecar.terms.call import Json, remembers
from sidecar.terms.decision import Fact, FactKey, Facts
from sidecar.terms.errors import ConfigError, FactUnavailable, PolicyError

ClockMs = Callable[[], int]
# Properties by type and id.
Table = dict[str, dict[str, dict[str, Json]]]


class Provider(Protocol):
    """Answers for one fact function."""

    def at_hand(self, arguments: tuple[str, ...]) -> Fact | None:
        """Return the fact if it can be had without waiting."""
        ...

    async def fetch(self, arguments: tuple[str, ...]) -> Fact | None:
        """Return the fact; None, or FactUnavailable, when this provider cannot say."""
        ...


class RevocationView(Protocol):
    """Who is revoked: a fold of the ledger's records, filled by the runtime."""

    @property
    def epoch(self) -> int:
        """Return a number that grows with each change."""
        ...

    def is_revoked(self, party: str) -> bool:
        """Return whether `type:id` is revoked."""
        ...


class Sources:
    """Every fact function's provider; this is `flow.FactSource`."""

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self._providers = dict(providers)
        # Of sets of keys that are asked for again and again: who is revoked, with every call.
        self._standing: dict[frozenset[FactKey], tuple[RevocationView, int, Facts]] = {}
        remembers(self.forget)

    def forget(self) -> None:
        """Forget who was asked about."""
        self._standing.clear()

    def at_hand(self, keys: frozenset[FactKey]) -> Facts:
        """Return the facts that can be had without waiting; nobody changes what is returned.

        What is returned is the same object while nothing of it can have changed.
        """
        known = self._standing.get(keys)
        if known is not None and known[0].epoch == known[1]:
            return known[2]
        return self._found(keys)

    def _found(self, keys: frozenset[FactKey]) -> Facts:
        revocations = self._providers.get(REVOKED)
        if not isinstance(revocations, Revocations) or {key.function for key in keys} != {REVOKED}:
            return self._asked(keys)
        # INVARIANT: of before it is asked, so that what changes meanwhile is asked for again.
        view = revocations.view
        epoch = view.epoch
        found = self._asked(keys)
        if len(self._standing) >= STANDING_MAX:
            self._standing.clear()
        self._standing[keys] = (view, epoch, found)
        return found

    def _asked(self, keys: frozenset[FactKey]) -> Facts:
        found: Facts = {}
        for key in keys:
            provider = self._providers.get(key.function)
            fact = provider.at_hand(key.arguments) if provider is not None else None
            if fact is not None:
                found[key] = fact
        return found

    async def fetch(self, keys: frozenset[FactKey]) -> Facts:
        """Return the facts that can be had; a key that is left out is a missing fact."""
        found: Facts = {}
        for key in keys:
            fact = await self._one(key)
            if fact is not None:
                found[key] = fact
        return found

    async def _one(self, key: FactKey) -> Fact | None:
        provider = self._providers.get(key.function)
        if provider is None:
            return None
        try:
            return await provider.fetch(key.arguments)
        except FactUnavailable:
            # One provider that cannot answer must not take the others' facts with it.
            return None


class Revocations:
    """`revoked`: whether a party stands on the revocation list."""

    def __init__(self, view: RevocationView) -> None:
        self.view = view
        # Of the last epoch that was asked about: nearly every answer is the one or the other.
        self._epoch: int | None = None
        self._facts: dict[bool, Fact] = {}

    def at_hand(self, arguments: tuple[str, ...]) -> Fact | None:
        """Return true or false; the list is whole, so there is no third answer."""
        (party,) = arguments
        epoch = self.view.epoch
        if epoch != self._epoch:
            revision = f"epoch-{epoch}"
            self._facts = {value: Fact(value, "ledger", revision) for value in (False, True)}
            self._epoch = epoch
        return self._facts[self.view.is_revoked(party)]

    async def fetch(self, arguments: tuple[str, ...]) -> Fact | None:
        """Return what is at hand: nothing here is waited for."""
        return self.at_hand(arguments)


class Entities:
    """`entity`: properties by type and id, from a file `{type: {id: {property: value}}}`.

    The table is replaced as a whole or not at all: a file that cannot be read leaves the last good
    one standing and says why.
    """

    def __init__(self, now_ms: ClockMs) -> None:
        self._now_ms = now_ms
        self._table: Table = {}
        self._source = "entities"
        self._revision: str | None = None
        self._since_ms = 0

    def load(self, name: str, data: bytes, revision: str) -> None:
        """Replace the table.

        Args:
            name: Of the file, for errors and as the facts' source.
            data: The file's bytes.
            revision: The bytes' digest.

        Raises:
            ConfigError: With `file:line:column`; the table before stays.
        """
        self.put(name, entities_table(name, data), revision)

    @property
    def revision(self) -> str | None:
        """Return the revision of the table in force, None before the first."""
        return self._revision

    def put(self, name: str, table: Table, revision: str) -> None:
        """Put a table that was read before in force; the arguments are those of `load`."""
        self._table, self._source, self._revision = table, f"entities:{name}", revision
        self._since_ms = self._now_ms()

    def at_hand(self, arguments: tuple[str, ...]) -> Fact | None:
        """Return the entity's properties, null when there is none of this type and id."""
        if self._revision is None:
            return None
        kind, name = arguments
        value = self._table.get(kind, {}).get(name)
        return Fact(value, self._source, self._revision, self._now_ms() - self._since_ms)

    async def fetch(self, arguments: tuple[str, ...]) -> Fact | None:
        """Return what is at hand: nothing here is waited for."""
        return self.at_hand(arguments)


def entities_table(name: str, data: bytes) -> Table:
    """Return the table of an entities file; ConfigError has the first problem's position."""
    documents = documents_of(name, data)
    if len(documents) != 1:
        raise ConfigError(f"{name}:1:1: expected one document, found {len(documents)}")
    _check_table(documents[0])
    return msgspec.convert(documents[0].value, dict[str, dict[str, dict[str, Any]]])


def documents_of(name: str, data: bytes) -> list[Document]:
    """Return the documents of a file of facts; ConfigError has the first problem's position."""
    if len(data) > ENTITIES_BYTES_MAX:
        raise ConfigError(f"{name}:1:1: larger than {ENTITIES_BYTES_MAX} bytes")
    try:
        return load_documents(name, data)
    except PolicyError as error:
        raise ConfigError(str(error)) from None


def _check_table(document: Document) -> None:
    """Refuse anything but three levels of mappings, with the position of what is not one."""
    _check_mapping(document, "types", document.value)
    for kind, entities in document.value.items():
        _check_mapping(document, "ids", entities, kind)
        for identifier, properties in entities.items():
            _check_mapping(document, "properties", properties, kind, identifier)


def _check_mapping(document: Document, what: str, value: Json, *path: str) -> None:
    if not isinstance(value, dict):
        raise ConfigError(f"{document.where(*path)}: expected a mapping of {what}")
