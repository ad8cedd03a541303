"""Who calls, by which credential, and for whom it may speak.

A credential proves a workload; the workload's entry in `sidecar.yaml` says on whose behalf it acts
(`subject`, `actor`) and for whom else it may speak (`may_assert`). Everything that stands in a body
is a claim, and a claim outside `may_assert` refuses the call: dropping it in silence would decide
something other than what was asked.

- `may_assert` entries are globs of `type:id`. The type and the id are matched apart, so that no
  type with a star or a colon passes for another's id; a bare word `user` means every id of it.
- By default a workload speaks for itself alone: its `subject`, else `service:<workload id>`.
- Properties come with the party: those of an asserted one are the asserter's word, those of the
  workload's own parties are the entry's, and a body cannot add to them.
- The workload's own `actor` is always in the chain. It is the one that calls, hence the nearest
  (RFC 8693 §4.1: the outermost `act` is the current actor), unless the chain names it elsewhere.
"""

import hmac
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from sidecar.facts.keys import key_digest
from sidecar.facts.limits import (
    ACTORS_MAX,
    KEY_CHARS_MAX,
    PARTY_ID_CHARS_MAX,
    PARTY_TYPE_CHARS_MAX,
)
from sidecar.facts.scram import Verifier
from sidecar.syntax.glob import compiled, glob
from sidecar.terms.call import Identity, Party
from sidecar.terms.errors import ConfigError, EnvelopeError

# Context that the sidecar alone knows: never taken from a body, whatever `may_assert` says.
# `session_state` is what rules see as the root `session`.
OWNED_CONTEXT: Final = frozenset({"time", "ip", "session", "session_state", "approval", "claimed"})
_KEY_CHARS: Final = len("sha256:") + 64
# Default_Ignorable_Code_Point that Python prints, and the braille blank (Unicode 15.1,
# DerivedCoreProperties).
_UNSEEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0000-\U000e0fff]"
)


class AssertionRefused(EnvelopeError):
    """The envelope speaks for somebody for whom its caller may not; 403, and no id in the text."""

    code = "identity.assert"


class PartyEntry(Party, frozen=True, forbid_unknown_fields=True):
    """A party as an operator writes it: a misspelt key refuses the configuration."""

    def __post_init__(self) -> None:
        """Refuse what could not stand as `type:id`."""
        problem = party_problem(self)
        if problem:
            raise ValueError(problem)

    def party(self) -> Party:
        """Return the plain noun."""
        return Party(self.type, self.id, self.properties)


class MayAssert(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For whom a workload may speak: globs of `type:id`, a bare type for every id of it."""

    subjects: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    context: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a pattern that is no glob, and owned context by name."""
        for pattern in (*self.subjects, *self.actors, *self.context):
            compiled(pattern)
        owned = sorted(OWNED_CONTEXT.intersection(self.context))
        if owned:
            raise ValueError(f"`{owned[0]}` is owned by the sidecar and cannot be asserted")

    def subject(self, party: Party) -> bool:
        """Return whether `party` may be named as the subject."""
        return any(_names(pattern, party) for pattern in self.subjects)

    def actor(self, party: Party) -> bool:
        """Return whether `party` may be named as an actor."""
        return any(_names(pattern, party) for pattern in self.actors)

    def key(self, name: str) -> bool:
        """Return whether context under `name` may be said."""
        if name in OWNED_CONTEXT:
            return False
        return any(glob(pattern, name) for pattern in self.context)


class Workload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of `workloads:` in `sidecar.yaml`.

    Args:
        id: Its name; also the user name on PostgreSQL.
        key: `sha256:<64 hex>` of its key.
        scram: SCRAM-SHA-256 verifier of the same key, as `sidecar key issue` printed it.
        actor: Who acts when it calls.
        subject: On whose behalf; `service:<id>` when absent.
        may_assert: For whom else it may speak.
        uids: Unix users that are this workload when they connect to a Unix socket.
    """

    id: str
    key: str | None = None
    scram: str | None = None
    actor: PartyEntry | None = None
    subject: PartyEntry | None = None
    may_assert: MayAssert = MayAssert()
    uids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an entry that could never be proven, or not as its operator thinks."""
        problem = party_problem(Party("service", self.id)) or self._credential_problem()
        if problem:
            raise ValueError(problem)

    def _credential_problem(self) -> str | None:
        if self.key is not None and not _is_digest(self.key):
            return "`key` is not `sha256:` and 64 lower-case hex digits; see `sidecar key issue`"
        if self.scram is not None:
            Verifier.read(self.scram)
        if any(uid < 0 for uid in self.uids):
            return "a Unix user is not negative"
        if self.key is None and self.scram is None and not self.uids:
            return "a workload has a `key`, a `scram` verifier or `uids`, or nobody can be it"
        return None

    @property
    def own_subject(self) -> Party:
        """Return on whose behalf it acts when nobody else is named."""
        return self.subject.party() if self.subject else Party("service", self.id)

    @property
    def own_actors(self) -> tuple[Party, ...]:
        """Return who acts when nobody else is named."""
        return (self.actor.party(),) if self.actor else ()


class Caller(msgspec.Struct, frozen=True):
    """A workload and how it was proven: `key`, `scram` or `peer`."""

    workload: Workload
    verified: str
    # Who calls when the workload speaks for itself; asked with every call.
    own: Identity = msgspec.UNSET  # type: ignore[assignment]  # set below, always

    def __post_init__(self) -> None:
        """Work out who it is by itself, once."""
        msgspec.structs.force_setattr(self, "own", own_identity(self.workload, self.verified))


class Workloads:
    """The workloads of a configuration, found by what they prove."""

    def __init__(self, workloads: Sequence[Workload]) -> None:
        self._by_id: dict[str, Workload] = {}
        self._by_key: dict[str, Workload] = {}
        self._by_uid: dict[int, Workload] = {}
        for workload in workloads:
            self._add(workload)

    def _add(self, workload: Workload) -> None:
        """Take one entry in; a credential that proves two workloads proves neither."""
        if workload.id in self._by_id:
            raise ConfigError(f"workload `{workload.id}` stands twice")
        self._by_id[workload.id] = workload
        if workload.key is not None:
            other = self._by_key.setdefault(workload.key, workload)
            if other is not workload:
                raise ConfigError(f"workloads `{other.id}` and `{workload.id}` share a key")
        for uid in workload.uids:
            other = self._by_uid.setdefault(uid, workload)
            if other is not workload:
                raise ConfigError(
                    f"workloads `{other.id}` and `{workload.id}` share Unix user {uid}"
                )

    def identify_bearer(self, token: str) -> Workload | None:
        """Return the workload that `token` is the key of.

        The lookup is by digest, whose timing says nothing of a key that is 256 random bits.
        """
        if not token or len(token) > KEY_CHARS_MAX or not token.isascii():
            return None
        told = key_digest(token)
        workload = self._by_key.get(told)
        if workload is None or workload.key is None:
            return None
        return workload if hmac.compare_digest(workload.key, told) else None

    def identify_peer(self, uid: int) -> Workload | None:
        """Return the workload that a Unix socket's peer with this user id is."""
        return self._by_uid.get(uid)

    def bearer_identity(self, token: str) -> Identity | None:
        """Return the identity that `token` proves by itself, with nothing asserted."""
        workload = self.identify_bearer(token)
        return own_identity(workload, "key") if workload else None

    def scram_verifier(self, user: str) -> str | None:
        """Return the verifier of the workload named `user`, None when it has none."""
        workload = self._by_id.get(user)
        return workload.scram if workload else None

    def identity_of(self, user: str) -> Identity:
        """Return the identity of the workload that has proven by SCRAM to be `user`."""
        return own_identity(self._by_id[user], "scram")

    def subject_of(self, token: str, user: str) -> Party | None:
        """Return the subject that `token` names and that workload `user` may speak for, else None.

        The token is another workload's key: whoever holds it could call as that workload. It names
        a subject only where that entry states one, for `service:<id>` is nobody's behalf.
        """
        named = self.identify_bearer(token)
        speaker = self._by_id.get(user)
        if named is None or named.subject is None or speaker is None:
            return None
        subject = named.own_subject
        is_own = named is speaker
        return subject if is_own or speaker.may_assert.subject(subject) else None


def own_identity(workload: Workload, verified: str) -> Identity:
    """Return who calls when `workload` speaks for itself."""
    return Identity(workload.own_subject, workload.own_actors, verified)


def asserted_identity(
    caller: Caller, subject: Party | None, actors: Sequence[Party] | None
) -> Identity:
    """Return who calls, as the body says and the caller may say.

    Args:
        caller: Proven by its credential.
        subject: As the body names it; None when it names none.
        actors: Nearest first, as the body names them; None when it names none.

    Raises:
        AssertionRefused: The caller may not speak for one of them.
    """
    workload, own = caller.workload, caller.own
    if subject is None and actors is None:
        return own
    stated = _subject(workload, own.subject, subject)
    chain = _chain(workload, own.actors, actors)
    if stated == own.subject and chain == own.actors:
        return own
    return Identity(stated, chain, caller.verified, asserted_by=workload.id)


def _subject(workload: Workload, own: Party, said: Party | None) -> Party:
    if said is None:
        return own
    if workload.may_assert.subject(said):
        return said
    if _is_same(own, said):
        return own
    raise AssertionRefused(f"workload `{workload.id}` may not speak for this `{_type(said)}`")


def _chain(
    workload: Workload, own: tuple[Party, ...], said: Sequence[Party] | None
) -> tuple[Party, ...]:
    if said is None:
        return own
    if len(said) > ACTORS_MAX:
        raise AssertionRefused(f"more than {ACTORS_MAX} actors")
    chain = tuple(_actor(workload, own, party) for party in said)
    keys = {(party.type, party.id) for party in chain}
    missing = tuple(party for party in own if (party.type, party.id) not in keys)
    return (*missing, *chain)


def _actor(workload: Workload, own: tuple[Party, ...], said: Party) -> Party:
    if workload.may_assert.actor(said):
        return said
    for party in own:
        if _is_same(party, said):
            return party
    raise AssertionRefused(f"workload `{workload.id}` may not name this `{_type(said)}` as actor")


def _is_same(own: Party, said: Party) -> bool:
    """Return whether `said` names `own` and says nothing of it that its entry does not say."""
    if (own.type, own.id) != (said.type, said.id):
        return False
    absent = object()
    return all(
        own.properties.get(name, absent) == said.properties[name] for name in said.properties
    )


def _names(pattern: str, party: Party) -> bool:
    kind, colon, name = pattern.partition(":")
    return glob(kind, party.type) and (not colon or glob(name, party.id))


def party_problem(party: Party) -> str | None:
    """Return why `party` cannot stand as `type:id` in a record, None when it can."""
    if not party.type or not party.id:
        return "a party has a `type` and an `id`"
    if len(party.type) > PARTY_TYPE_CHARS_MAX or len(party.id) > PARTY_ID_CHARS_MAX:
        return "a party's `type` or `id` is too long"
    if ":" in party.type or " " in party.type or _has_unseen(party.type):
        return "a party's `type` is a word without `:`, spaces and characters that cannot be seen"
    # Why: `alice` and U+200B would look like Alice, and nothing that names her would find her.
    if party.id != party.id.strip() or _has_unseen(party.id):
        return "a party's `id` holds characters that cannot be seen, or outer white space"
    return None


def _has_unseen(text: str) -> bool:
    """Return whether `text` holds a character of which a reader sees nothing, or a mere blank.

    Categories Cc, Cf, Cs, Co, Cn, Zl, Zp and Zs but for the space are what is not printable.
    """
    return not text.isprintable() or _UNSEEN.search(text) is not None


def _type(party: Party) -> str:
    return party.type[:PARTY_TYPE_CHARS_MAX]


def _is_digest(text: str) -> bool:
    if len(text) != _KEY_CHARS or not text.startswith("sha256:"):
        return False
    return all(char in "0123456789abcdef" for char in text[len("sha256:") :])
