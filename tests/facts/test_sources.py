"""Facts: what is known, what is known not to be, and what cannot be said."""

import pytest

from sidecar.facts.sources import Entities, Revocations, Sources
from sidecar.terms.call import forget_calls
from sidecar.terms.decision import FactKey
from sidecar.terms.errors import ConfigError, FactUnavailable

ROLES = b"user:\n  alice: {roles: [admin]}\n  bob: {}\n"


class Clock:
    """A clock that a test turns."""

    def __init__(self):
        self.ms = 1000

    def __call__(self):
        return self.ms


class Revoked:
    """A revocation list on paper."""

    def __init__(self, *parties):
        self.parties = set(parties)
        self.epoch = 1

    def is_revoked(self, party):
        return party in self.parties

    def revoke(self, party):
        self.parties.add(party)
        self.epoch += 1


class Down:
    """A provider that cannot answer."""

    def at_hand(self, arguments):
        return None

    async def fetch(self, arguments):
        raise FactUnavailable("down")


def entity(kind, name):
    return FactKey("entity", (kind, name))


def loaded(data=ROLES, clock=None):
    entities = Entities(clock or Clock())
    entities.load("entities.yaml", data, "sha256:1")
    return entities


async def test_an_entity_is_its_properties_with_source_revision_and_age():
    clock = Clock()
    sources = Sources({"entity": loaded(clock=clock)})
    clock.ms += 250

    (fact,) = (await sources.fetch(frozenset({entity("user", "alice")}))).values()

    assert fact.value == {"roles": ["admin"]}
    assert (fact.source, fact.revision, fact.age_ms) == ("entities:entities.yaml", "sha256:1", 250)


@pytest.mark.parametrize(("kind", "name"), [("user", "carol"), ("group", "alice"), ("", "")])
async def test_an_unknown_entity_is_null_and_not_missing(kind, name):
    found = await Sources({"entity": loaded()}).fetch(frozenset({entity(kind, name)}))

    assert found[entity(kind, name)].value is None


async def test_without_an_entities_file_the_fact_is_missing_and_not_null():
    assert await Sources({"entity": Entities(Clock())}).fetch(frozenset({entity("a", "b")})) == {}


async def test_a_fact_without_a_provider_is_left_out():
    assert await Sources({}).fetch(frozenset({entity("user", "alice")})) == {}


def test_what_is_at_hand_is_the_same_without_waiting():
    known = Sources({"entity": loaded(), "related": Down()})
    bob, unknown = entity("user", "bob"), FactKey("related", ("x",))

    found = known.at_hand(frozenset({bob, unknown, FactKey("nobody", ())}))

    assert list(found) == [bob]


async def test_one_provider_that_is_down_leaves_the_others_facts():
    sources = Sources({"entity": loaded(), "related": Down()})

    found = await sources.fetch(frozenset({entity("user", "bob"), FactKey("related", ("x",))}))

    assert list(found) == [entity("user", "bob")]


async def test_a_revocation_is_seen_at_once_with_its_epoch():
    view = Revoked("agent:rogue")
    sources = Sources({"revoked": Revocations(view)})
    rogue, alice = FactKey("revoked", ("agent:rogue",)), FactKey("revoked", ("user:alice",))

    before = await sources.fetch(frozenset({rogue, alice}))
    view.revoke("user:alice")
    after = await sources.fetch(frozenset({alice}))

    assert (before[rogue].value, before[alice].value) == (True, False)
    assert (before[alice].revision, after[alice].revision) == ("epoch-1", "epoch-2")
    assert after[alice].value is True


def test_who_is_revoked_is_one_object_until_somebody_is_and_then_another():
    view = Revoked("agent:rogue")
    sources = Sources({"revoked": Revocations(view), "entity": loaded()})
    alice = FactKey("revoked", ("user:alice",))
    asked, more = frozenset({alice}), frozenset({alice, entity("user", "bob")})

    first = sources.at_hand(asked)
    assert sources.at_hand(frozenset({alice})) is first
    # What has an age is another each time.
    assert sources.at_hand(more) is not sources.at_hand(more)

    view.revoke("user:alice")
    second = sources.at_hand(asked)
    assert (first[alice].value, second[alice].value) == (False, True)
    assert sources.at_hand(asked) is second


def test_who_was_asked_about_is_forgotten_with_whoever_is():
    sources = Sources({"revoked": Revocations(Revoked())})
    asked = frozenset({FactKey("revoked", ("user:alice",))})
    before = sources.at_hand(asked)

    forget_calls()

    assert sources.at_hand(asked) is not before


def test_a_revocation_while_it_is_asked_for_is_seen_the_next_time():
    class Late(Revoked):
        def is_revoked(self, party):
            found = super().is_revoked(party)
            if self.epoch == 1:
                self.revoke(party)
            return found

    sources = Sources({"revoked": Revocations(Late())})
    alice = FactKey("revoked", ("user:alice",))

    found = [sources.at_hand(frozenset({alice}))[alice].value for _ in range(2)]

    assert found == [False, True]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "entities.yaml:1:1: expected one document, found 0"),
        (b"a: {}\n---\nb: {}\n", "entities.yaml:1:1: expected one document, found 2"),
        (b"- user\n", "entities.yaml:1:1: expected a mapping of types"),
        (b"user: [alice]\n", "entities.yaml:1:7: expected a mapping of ids"),
        (b"user:\n  alice: admin\n", "entities.yaml:2:10: expected a mapping of properties"),
        (b"user:\n  7: {}\n", "entities.yaml:2:3: key `7` is not a string"),
        (b"user:\n  a: {}\n  a: {}\n", "entities.yaml:3:3: key `a` stands twice"),
    ],
)
async def test_a_file_that_is_not_understood_leaves_the_last_good_one(data, told):
    entities = loaded()

    with pytest.raises(ConfigError) as error:
        entities.load("entities.yaml", data, "sha256:2")

    assert str(error.value).startswith(told)
    fact = await entities.fetch(("user", "alice"))
    assert (fact.value, fact.revision) == ({"roles": ["admin"]}, "sha256:1")
