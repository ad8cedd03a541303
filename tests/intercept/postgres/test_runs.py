"""What outcomes say of the values that runs had, and of where the time went.

The digest of values is made anew here from the key's file and the messages alone, as an auditor
would who has kept them (`sidecar/intercept/postgres/README.md`).
"""

import hashlib
import hmac
from pathlib import Path

import msgspec
import pytest

from sidecar.intercept.postgres.protocol import wire
from sidecar.record.inputs import Secrets
from tests.intercept.postgres.stand import (
    OPEN,
    Raw,
    Stand,
    bind,
    close,
    execute,
    parse,
    query,
)

pytestmark = pytest.mark.e2e

SYNC = wire.message(b"S")
RUN = execute() + SYNC
ASKED = b"SELECT id FROM finance.expenses WHERE id = $1"
STAGES = {"parse", "facts", "decide", "enforce", "durable", "upstream"}


class Kept(Stand):
    """A stand whose digests are made with a key that stands in a file."""

    key_file: Path

    def _path(self):
        return msgspec.structs.replace(super()._path(), secrets=Secrets.open(self.key_file))


@pytest.fixture
async def kept(postgres, tmp_path):
    Kept.key_file = tmp_path / "keys" / "inputs.key"
    stand = Kept(postgres)
    await stand.start()
    yield stand
    await stand.stop()


def digest_of(key_file: Path, *binds: bytes) -> str:
    """Return the digest of uses with these messages, as README says it."""
    key = bytes.fromhex(key_file.read_text().split()[0])
    digest_key = hmac.new(key, b"digest", hashlib.sha256).digest()
    digests = b"".join(hashlib.sha256(one).digest() for one in binds)
    return "hmac-sha256:" + hmac.new(digest_key, digests, hashlib.sha256).hexdigest()


def valued(value: bytes, statement: bytes = b"s", portal: bytes = b"") -> bytes:
    """Return a Bind of one value."""
    said = len(value).to_bytes(4, "big") + value
    return wire.message(b"B", portal + b"\0", statement + b"\0", b"\0\0\0\1", said, b"\0\0")


async def prepared(stand: Stand, asked: bytes = ASKED) -> Raw:
    raw = await Raw.logged_in(stand)
    raw.send(wire.parse(b"s", asked, b"\0\1\0\0\0\x17"), SYNC)
    await raw.until(b"Z")
    return raw


async def told(stand: Stand, raw: Raw, count: int) -> list[tuple[int | None, str | None]]:
    """Return uses and digests of so many outcomes, at the end of the connection."""
    await raw.close()
    return [(one.uses, one.digest) for one in await stand.outcomes(count)]


async def test_outcomes_digest_the_binds_of_their_uses_in_order(kept):
    raw = await prepared(kept)
    binds = [valued(b"%d" % number) for number in range(4)]
    for one in binds:
        raw.send(one, RUN)
        await raw.until(b"Z")

    found = await told(kept, raw, 2)

    assert found == [
        (1, digest_of(kept.key_file, binds[0])),
        (3, digest_of(kept.key_file, *binds[1:])),
    ]
    assert found[1][1] != digest_of(kept.key_file, binds[2], binds[1], binds[3])


async def test_uses_message_by_message_are_digested_as_those_in_one_piece(kept):
    raw = await prepared(kept)
    binds = [valued(b"%d" % number) for number in range(4)]
    named = valued(b"7", portal=b"p")
    raw.send(*(one + execute() for one in binds[:2]), SYNC)
    await raw.until(b"Z")
    raw.send(binds[2], wire.FLUSH, execute(), SYNC, binds[3] + RUN)
    await raw.until(b"Z")
    await raw.until(b"Z")
    raw.send(named, binds[0], execute(b"p"), execute(), close(b"P", b"p"), SYNC)
    await raw.until(b"Z")

    found = await told(kept, raw, 2)

    assert found == [
        (2, digest_of(kept.key_file, *binds[:2])),
        (4, digest_of(kept.key_file, *binds[2:], named, binds[0])),
    ]


async def test_a_portal_that_is_run_in_parts_has_its_bind_in_the_digest_for_each(kept):
    raw = await Raw.logged_in(kept)
    raw.send(parse(OPEN + " UNION ALL " + OPEN, b"s"), bind(b"s", b"p"))
    raw.send(execute(b"p", 1), execute(b"p", 1), SYNC)
    await raw.until(b"Z")

    found = await told(kept, raw, 1)

    assert found == [(2, digest_of(kept.key_file, bind(b"s", b"p"), bind(b"s", b"p")))]


async def test_a_bind_that_fails_is_no_use_and_a_run_that_fails_is_one(kept):
    asked = b"SELECT 1 / (id - 3) FROM finance.expenses WHERE id = $1"
    raw = await prepared(kept, asked)
    for one in (b"no number", b"1", b"3"):
        raw.send(valued(one), RUN)
        await raw.until(b"Z")

    found = await told(kept, raw, 2)

    assert found == [(0, None), (2, digest_of(kept.key_file, valued(b"1"), valued(b"3")))]


async def test_an_unnamed_statement_asked_over_and_over_is_digested_each_time(kept):
    raw = await Raw.logged_in(kept)
    binds = [valued(b"%d" % number, b"") for number in range(4)]
    for one in binds:
        raw.send(wire.parse(b"", ASKED, b"\0\1\0\0\0\x17"), one, RUN)
        await raw.until(b"Z")

    found = await told(kept, raw, 4)

    assert found == [(1, digest_of(kept.key_file, one)) for one in binds]


async def test_a_query_has_no_values_and_no_digest(kept):
    raw = await Raw.logged_in(kept)
    for _ in range(3):
        raw.send(query(OPEN))
        await raw.until(b"Z")

    assert await told(kept, raw, 3) == [(1, None)] * 3


async def test_what_nobody_knows_the_end_of_is_digested_as_it_was_sent(kept):
    asked = b"SELECT $1::int FROM finance.expenses a, finance.expenses b FOR UPDATE"
    raw = await prepared(kept, asked)
    other = await Raw.logged_in(kept)
    other.send(query("BEGIN"), query("SELECT id FROM finance.expenses FOR UPDATE"))
    await other.until(b"Z")
    await other.until(b"Z")
    raw.send(valued(b"1"), RUN)
    while not (held := [one for one in kept.listener._sessions if one._uses]):
        # Meanwhile what was sent has time to come.
        other.send(query(OPEN))
        await other.until(b"Z")
    held[0].end("57P01", "enough")

    await kept.ledger.until(lambda: [1 for one in kept.ledger.outcomes if one.result == "unknown"])

    (found,) = [one for one in kept.ledger.outcomes if one.result == "unknown"]
    assert (found.uses, found.digest) == (1, digest_of(kept.key_file, valued(b"1")))
    await raw.close()
    await other.close()


async def test_outcomes_say_where_the_time_went(kept):
    raw = await prepared(kept)
    for _ in range(3):
        raw.send(valued(b"1"), RUN)
        await raw.until(b"Z")
    for _ in range(3):
        raw.send(query(OPEN))
        await raw.until(b"Z")
    await raw.close()

    found = await kept.outcomes(5)

    first, later = [one.timings_us for one in found if one.digest]
    assert {"parse", "decide", "durable", "upstream"} <= set(first) <= STAGES
    # The decision is told of once, with its first use.
    assert set(later) == {"upstream"}
    queries = [one.timings_us for one in found if not one.digest]
    assert all("durable" in one and "upstream" in one for one in queries)
    assert all(us > 0 for one in found for us in one.timings_us.values())


async def test_what_was_never_sent_took_the_upstream_no_time(kept):
    raw = await Raw.logged_in(kept)
    raw.send(wire.parse(b"", b"SELECT 1 / 0", b"\0\0"), bind(), execute())
    raw.send(parse(OPEN, b"s"), SYNC)
    await raw.until(b"Z")
    await raw.close()

    _, skipped = await kept.outcomes(2)

    assert (skipped.upstream_status, skipped.uses) == ("skipped", 0)
    assert "durable" in skipped.timings_us
