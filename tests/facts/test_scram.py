"""SCRAM-SHA-256: against the standard's vector, against itself, and against who lies."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.facts.scram import (
    ScramClient,
    ScramError,
    ScramServer,
    Verifier,
    make_verifier,
)

SALT = b"a salt of 16 byt"
NONCE = b"a nonce of eighteen"


def exchange(password: str, told: str, **changed: bytes) -> None:
    """Log in with `told` where the verifier is of `password`, with messages changed on the way."""
    client = ScramClient(told, NONCE)
    server = ScramServer(Verifier.read(make_verifier(password, SALT, 64)), b"server nonce here!")
    challenge = server.first(changed.get("first", client.first()))
    final = client.final(changed.get("challenge", challenge))
    proof = server.final(changed.get("final", final))
    client.verify(changed.get("proof", proof))


def test_the_standards_vector():
    """RFC 7677 §3: user `user`, password `pencil`, 4096 iterations."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    server = ScramServer(Verifier.read(make_verifier("pencil", salt, 4096)), b"")
    server._own_nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"

    challenge = server.first(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
    final = (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )

    assert challenge == (
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    assert server.final(final) == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@given(st.text(min_size=1, max_size=40))
def test_the_right_password_is_taken_whatever_its_letters(password):
    exchange(password, password)


def test_a_wrong_password_is_refused():
    with pytest.raises(ScramError):
        exchange("right", "wrong")


@pytest.mark.parametrize(
    "first",
    [
        b"p=tls-server-end-point,,n=,r=abc",
        b"n,a=alice,n=,r=abc",
        b"n,,m=ext,n=,r=abc",
        b"n,,n=,r=",
        b"n,,n=,r=abc,x=1",
        b"n,,n=,r=a\xffc",
        b"n,,n=",
        b"",
        b"n,,n=,r=" + b"a" * 5000,
    ],
    ids=["binding", "authzid", "extension", "no nonce", "more", "byte", "cut", "empty", "long"],
)
def test_a_first_message_that_asks_for_something_else_is_refused(first):
    with pytest.raises(ScramError):
        exchange("right", "right", first=first)


def test_a_client_that_could_bind_to_a_channel_is_served():
    server = ScramServer(Verifier.read(make_verifier("k", SALT, 64)), NONCE)

    assert server.first(b"y,,n=,r=abc").startswith(b"r=abc")


@pytest.mark.parametrize(
    "final",
    [b"", b"c=biws,r=x,p=AAAA", b"c=eSws,r={nonce},p={proof}", b"c=biws,r={nonce},p=AAAA"],
    ids=["empty", "another nonce", "another binding", "a short proof"],
)
def test_a_final_message_that_does_not_fit_is_refused(final):
    client = ScramClient("k", NONCE)
    server = ScramServer(Verifier.read(make_verifier("k", SALT, 64)), b"server nonce here!")
    challenge = server.first(client.first())
    nonce = challenge.split(b",")[0][2:]
    proof = client.final(challenge).rpartition(b"p=")[2]

    with pytest.raises(ScramError):
        server.final(final.replace(b"{nonce}", nonce).replace(b"{proof}", proof))


@pytest.mark.parametrize(
    "challenge",
    [
        b"r=other,s=AAAA,i=4096",
        b"r=YSBub25jZSBvZiBlaWdodGVlbg==,s=AAAA,i=4096",
        b"r=YSBub25jZSBvZiBlaWdodGVlbg==x,s=AAAA,i=9999999",
        b"r=YSBub25jZSBvZiBlaWdodGVlbg==x,s=AAAA,i=0",
        b"m=x,r=YSBub25jZSBvZiBlaWdodGVlbg==x,s=AAAA,i=4096",
    ],
    ids=["not our nonce", "nothing added", "endless work", "no work", "extension"],
)
def test_a_server_that_lies_in_its_challenge_is_refused(challenge):
    with pytest.raises(ScramError):
        exchange("k", "k", challenge=challenge)


@pytest.mark.parametrize("proof", [b"", b"e=invalid-proof", b"v=AAAA"])
def test_a_server_that_does_not_prove_itself_is_refused(proof):
    with pytest.raises(ScramError):
        exchange("k", "k", proof=proof)


def test_a_client_takes_no_signature_before_the_exchange():
    with pytest.raises(ScramError):
        ScramClient("k", NONCE).verify(b"v=")
    with pytest.raises(ScramError):
        ScramClient("k", NONCE).verify(b"v=AAAA")


def test_an_unknown_user_keeps_its_salt_and_never_gets_in():
    one, again = Verifier.decoy("nobody", b"secret"), Verifier.decoy("nobody", b"secret")

    assert one == again
    assert one.salt != Verifier.decoy("somebody", b"secret").salt
    assert one.salt != Verifier.decoy("nobody", b"another").salt
    assert len(one.salt) == 16


@pytest.mark.parametrize(
    "text",
    [
        "",
        "md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "SCRAM-SHA-256$4096:AAAA$AAAA:AAAA",
        "SCRAM-SHA-256$0:AAAA$AAAA:AAAA",
        "SCRAM-SHA-1$4096:AAAA$AAAA:AAAA",
    ],
)
def test_what_is_no_verifier_is_refused(text):
    with pytest.raises(ScramError):
        Verifier.read(text)


def test_passwords_are_prepared_as_the_standard_says():
    """RFC 4013 §3: a soft hyphen maps to nothing, U+2168 to `IX`."""
    exchange("I\u00adX", "IX")
    exchange("\u2168", "IX")
