"""Who calls and for whom it may speak: tests/cases/facts/{identity,workload_entries}.yaml."""

from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.facts.identity import (
    OWNED_CONTEXT,
    AssertionRefused,
    Caller,
    MayAssert,
    Workload,
    Workloads,
    asserted_identity,
    party_problem,
)
from sidecar.facts.keys import issue, key_digest
from sidecar.facts.scram import Verifier
from sidecar.terms.call import Party
from sidecar.terms.errors import ConfigError
from tests.tables import rows

CHAIN_MAX = 8


def party(said):
    return None if said is None else msgspec.convert(said, Party)


def named(workload):
    return workload and workload.id


def issued(first=0):
    """A key that is not random, so that each test knows it."""
    numbers = count(first)
    return issue(lambda size: bytes((next(numbers) + at) % 256 for at in range(size)))


@pytest.mark.parametrize("row", rows("facts/identity.yaml"))
def test_identity(row):
    workload = msgspec.convert(row.table["workloads"][row.given["workload"]], Workload)
    actors = row.given.get("actors")
    chain = None if actors is None else [party(actor) for actor in actors]
    caller = Caller(workload, "peer")

    if row.want.get("refused"):
        with pytest.raises(AssertionRefused) as refused:
            asserted_identity(caller, party(row.given.get("subject")), chain)
        assert refused.value.code == "identity.assert"
        return
    found = asserted_identity(caller, party(row.given.get("subject")), chain)

    assert row.want["subject"] == f"{found.subject.type}:{found.subject.id}"
    assert row.want["actors"] == [f"{one.type}:{one.id}" for one in found.actors]
    assert row.want.get("asserted_by") == found.asserted_by
    assert found.verified == "peer"
    if "properties" in row.want:
        assert row.want["properties"] == found.subject.properties


@pytest.mark.parametrize("row", rows("facts/workload_entries.yaml"))
def test_workload_entry(row):
    if "error" not in row.want:
        assert msgspec.convert(row.given, Workload).id == row.given["id"]
        return
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert(row.given, Workload)

    assert row.want["error"] in str(error.value)


def test_a_refusal_never_names_who_was_named():
    caller = Caller(Workload("a", uids=(1,)), "peer")

    with pytest.raises(AssertionRefused) as refused:
        asserted_identity(caller, Party("user", "very-secret-person"), None)

    assert "very-secret-person" not in str(refused.value)


def test_an_issued_key_is_found_by_its_digest_and_no_other_is():
    key = issued()
    workloads = Workloads([Workload("a", key=key.key, scram=key.scram)])

    assert named(workloads.identify_bearer(key.text)) == "a"
    for other in ("", key.text[:-1], key.text + "=", key.text.upper(), key.key, "x" * 10_000, "é"):
        assert workloads.identify_bearer(other) is None


def test_an_issued_key_is_256_bits_with_a_prefix_to_search_for_and_is_not_shown():
    key = issued()

    assert key.text.startswith("swk_")
    assert len(key.text) == 4 + 43
    assert key_digest(key.text) == key.key
    assert Verifier.read(key.scram).iterations >= 4096
    assert key.text not in repr(key)


def test_two_keys_are_different():
    assert issued(0).text != issued(1).text


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ({"id": "a", "uids": [1]}, {"id": "a", "uids": [2]}, "`a` stands twice"),
        ({"id": "a", "uids": [1]}, {"id": "b", "uids": [1]}, "share Unix user 1"),
        (
            {"id": "a", "key": "sha256:" + "0" * 64},
            {"id": "b", "key": "sha256:" + "0" * 64},
            "share a key",
        ),
    ],
)
def test_a_credential_that_proves_two_workloads_refuses_the_configuration(first, second, told):
    with pytest.raises(ConfigError) as error:
        Workloads([msgspec.convert(first, Workload), msgspec.convert(second, Workload)])

    assert told in str(error.value)


def test_a_peer_is_who_lists_its_user():
    workloads = Workloads([Workload("a", uids=(1000,)), Workload("root", uids=(0,))])

    assert named(workloads.identify_peer(1000)) == "a"
    assert named(workloads.identify_peer(0)) == "root"
    assert workloads.identify_peer(1) is None


def test_a_subject_token_names_only_whom_the_session_may_speak_for():
    alice, bob, nobody = issued(0), issued(1), issued(2)
    entry = {"may_assert": {"subjects": ["user:alice"]}}
    workloads = Workloads(
        [
            msgspec.convert({"id": "pool", "uids": [1], **entry}, Workload),
            msgspec.convert(
                {"id": "a", "key": alice.key, "subject": {"type": "user", "id": "alice"}}, Workload
            ),
            msgspec.convert(
                {"id": "b", "key": bob.key, "subject": {"type": "user", "id": "bob"}}, Workload
            ),
            Workload("n", key=nobody.key),
        ]
    )

    assert workloads.subject_of(alice.text, "pool") == Party("user", "alice")
    assert workloads.subject_of(bob.text, "pool") is None
    assert workloads.subject_of(nobody.text, "pool") is None
    assert workloads.subject_of("swk_unknown", "pool") is None
    assert workloads.subject_of(alice.text, "nobody-here") is None
    assert workloads.subject_of(bob.text, "b") == Party("user", "bob")


def test_a_chain_longer_than_its_bound_is_refused():
    gateway = msgspec.convert({"id": "g", "uids": [1], "may_assert": {"actors": ["*"]}}, Workload)
    chain = [Party("agent", str(number)) for number in range(CHAIN_MAX + 1)]

    with pytest.raises(AssertionRefused):
        asserted_identity(Caller(gateway, "key"), None, chain)
    assert len(asserted_identity(Caller(gateway, "key"), None, chain[1:]).actors) == CHAIN_MAX


@pytest.mark.parametrize("name", sorted(OWNED_CONTEXT))
def test_owned_context_is_not_said_even_by_a_star(name):
    assert not MayAssert(context=("*",)).key(name)
    assert MayAssert(context=("*",)).key("purpose")


words = st.text("abu:*", min_size=1, max_size=4)


@given(kind=words.filter(lambda text: ":" not in text), name=words)
def test_no_type_or_id_passes_for_another(kind, name):
    """A glob that names one type never lets another type through, however the id is spelt."""
    may = MayAssert(subjects=("ab:u*",))

    assert may.subject(Party(kind, name)) == (kind == "ab" and name.startswith("u"))


def test_the_listeners_own_questions_are_answered_from_the_entry():
    key = issued()
    entry = {
        "id": "bot",
        "key": key.key,
        "scram": key.scram,
        "actor": {"type": "agent", "id": "bot"},
        "subject": {"type": "user", "id": "alice"},
    }
    workloads = Workloads([msgspec.convert(entry, Workload)])

    by_key, by_scram = workloads.bearer_identity(key.text), workloads.identity_of("bot")

    assert by_key is not None
    assert (by_key.verified, by_scram.verified) == ("key", "scram")
    assert by_key.subject == by_scram.subject == Party("user", "alice")
    assert by_key.actors == by_scram.actors == (Party("agent", "bot"),)
    assert workloads.bearer_identity("swk_other") is None
    assert (workloads.scram_verifier("bot"), workloads.scram_verifier("no")) == (key.scram, None)


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("user", "a" * 1025, "too long"),
        ("u" * 129, "a", "too long"),
        ("us er", "a", "without `:`, spaces"),
    ],
)
def test_a_party_that_cannot_stand_in_a_record_is_refused(kind, name, told):
    assert told in (party_problem(Party(kind, name)) or "")


UNSEEN = {
    "control": "\x85", "NUL": "\0", "zero width space": "\u200b", "soft hyphen": "\xad",
    "right to left": "\u202e", "byte order mark": "\ufeff", "tag": "\U000e0041",
    "surrogate": "\ud800", "private use": "\ue000", "unassigned": "\u0378", "none": "\uffff",
    "line separator": "\u2028", "paragraph separator": "\u2029", "no-break space": "\xa0",
    "variation selector": "\ufe0f", "grapheme joiner": "\u034f", "Hangul filler": "\u3164",
    "braille blank": "\u2800",
}  # fmt: skip


@pytest.mark.parametrize("char", UNSEEN.values(), ids=UNSEEN)
@pytest.mark.parametrize("place", ["{}alice", "al{}ice", "alice{}"])
def test_a_party_that_looks_like_another_is_refused(char, place):
    spelt = place.format(char)

    assert "cannot be seen" in (party_problem(Party("user", spelt)) or "")
    assert "cannot be seen" in (party_problem(Party(spelt, "alice")) or "")


@pytest.mark.parametrize("name", [" alice", "alice "])
def test_an_id_with_outer_white_space_is_refused(name):
    assert party_problem(Party("user", name))


@pytest.mark.parametrize(
    "name", ["alice", "Alice Doe", "a:b", "jürgen@example.com", "太郎", "अनिल"]
)
def test_an_id_that_can_be_seen_is_taken(name):
    assert party_problem(Party("user", name)) is None
