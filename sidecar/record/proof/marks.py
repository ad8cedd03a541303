"""Marks: how a ledger knows its own records before they are signed.

A checkpoint is signed once a second; what was written since could be put there by whoever can
write the folder while nobody writes the log. So the last record of each batch bears a mark, a MAC
under a key that stands beside the signing key: a start takes nothing of the unsigned end without.

```
…,"log":{"epoch":E,"origin":O,"seq":N},"mark":"<43 letters>",…
mark   base64url of HMAC-SHA-256 over origin, number of the first, how many, the hash of each leaf
```
It is a member of the record, where sorting puts it, and so part of the leaf; the last leaf is
hashed without it. A reader that knows of no marks reads such a log as any other. Marks prove
nothing to others, who do not have the key: for them there are checkpoints.

The key is another after each start and after each outage, when all is signed, and after each batch
that was refused: the one before is then believed up to where that batch stood. So one key has
marked one batch at each place of the log: what an earlier life has written, a copy that goes on
elsewhere writes, or was refused, is not believed if somebody puts it there, or no disk cut it off.
```
ledger.marks   key 32 | until 8, key 32, of each key before that is still believed, the newest first
```
"""

import hmac
import sys
from binascii import b2a_base64
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from sidecar.record.proof.merkle import leaf_begun, leaf_hash, leaf_hashes
from sidecar.record.segments.walk import Batch, Damage

_MEMBER: Final = b'"mark":"'
# Behind the member: its letters, a quotation mark and a comma.
_LETTERS: Final = 43
_PLACE_END: Final = b"},"
# Of base64 the alphabet that is safe in names (RFC 4648 §5).
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
MARK_KEY_BYTES: Final = 32
_UNTIL_BYTES: Final = 8
# In a file; a refusal beyond leaves the keys as they are until all is signed.
_KEYS_MAX: Final = 16


class Placeable(Protocol):
    """A record without its place: `head` ends before the comma of `log`."""

    @property
    def head(self) -> bytes:
        """Return what stands before its place."""
        ...

    @property
    def head_size(self) -> int:
        """Return how many bytes these are."""
        ...

    @property
    def is_plain(self) -> bool:
        """Return whether no record like it can be obeyed, whatever it says."""
        ...

    def placed(self, place: bytes) -> bytes:
        """Return the record with `place`, and the commas around it."""
        ...


class Marks(NamedTuple):
    """Makes the marks of one log.

    Args:
        key: In use.
        origin: Of the log.
        before: Keys in use before, and up to which record, the newest first.
    """

    key: bytes
    origin: str
    before: tuple[tuple[int, bytes], ...] = ()

    @classmethod
    def read(cls, data: bytes, origin: str) -> "Marks":
        """Return what the file of the keys says. Raises ValueError for one that is malformed."""
        key, rest = data[:MARK_KEY_BYTES], data[MARK_KEY_BYTES:]
        each = _UNTIL_BYTES + MARK_KEY_BYTES
        if len(key) != MARK_KEY_BYTES or len(rest) % each:
            msg = "not keys of marks"
            raise ValueError(msg)
        pieces = [rest[at : at + each] for at in range(0, len(rest), each)]
        before = [(int.from_bytes(one[:_UNTIL_BYTES]), one[_UNTIL_BYTES:]) for one in pieces]
        return cls(key, origin, tuple(before))

    def data(self) -> bytes:
        """Return what the file of the keys says."""
        before = [until.to_bytes(_UNTIL_BYTES) + key for until, key in self.before]
        return b"".join((self.key, *before))

    def followed(self, key: bytes, until: int) -> "Marks":
        """Return these with another key in use; what bears marks of this one ends at `until`."""
        if len(self.before) + 1 >= _KEYS_MAX:
            return self
        return Marks(key, self.origin, ((until, self.key), *self.before))

    def _at(self, seq: int) -> tuple["Marks", int]:
        """Return what marked the batch that begins with this record, and where it had to end."""
        for until, key in reversed(self.before):
            if seq < until:
                return Marks(key, self.origin), until
        return self, sys.maxsize

    def of(self, first_seq: int, leaves: Sequence[bytes]) -> bytes:
        """Return the mark of the records with these leaves."""
        said = b"doorward.mark/1\n%b\n%d %d\n" % (self.origin.encode(), first_seq, len(leaves))
        mac = hmac.digest(self.key, said + b"".join(leaves), "sha256")
        return b2a_base64(mac, newline=False)[:_LETTERS].translate(_URL_SAFE)

    def placed(
        self, batch: Sequence[Placeable], place: bytes, first_seq: int
    ) -> tuple[list[bytes], list[bytes]]:
        """Return the records of a batch in their places, the last with a mark, and their leaves."""
        records = [one.placed(b"%b%d}," % (place, seq)) for seq, one in enumerate(batch, first_seq)]
        if not records:
            return [], []
        last = records.pop()
        at = batch[-1].head_size + len(b"%b%d}," % (place, first_seq + len(records)))
        head, tail = last[:at], last[at:]
        leaves = leaf_hashes(records)
        # The last is hashed up to where its mark stands, and from there on twice.
        marked = leaf_begun(head)
        bare = marked.copy()
        bare.update(tail)
        leaves.append(bare.digest())
        tail = b'%b%b",%b' % (_MEMBER, self.of(first_seq, leaves), tail)
        marked.update(tail)
        records.append(head + tail)
        leaves[-1] = marked.digest()
        return records, leaves

    def reach(self, found: Iterable[Batch], signed: int) -> int:
        """Return up to which record those that begin with number `signed` are ours."""
        reached, leaves = signed, list[bytes]()
        for record, head in _unsigned(found, signed):
            mark, bare = _parted(record, head)
            leaves.append(leaf_hash(bare))
            if not mark:
                continue
            marks, until = self._at(reached)
            is_so = hmac.compare_digest(mark, marks.of(reached, leaves))
            if not is_so or reached + len(leaves) > until:
                break
            reached, leaves = reached + len(leaves), []
        return reached


def _unsigned(found: Iterable[Batch], signed: int) -> Iterator[tuple[bytes, int]]:
    """Yield each whole record that is not signed, and where its place begins."""
    with suppress(Damage):
        for batch in found:
            begin = max(signed - batch.first_seq, 0)
            yield from zip(batch.records[begin:], batch.heads[begin:], strict=True)


def _parted(record: bytes, head: int) -> tuple[bytes, bytes]:
    """Return the mark of a record, empty where it bears none, and the record without it."""
    begin = record.index(_PLACE_END, head) + len(_PLACE_END)
    at = begin + len(_MEMBER)
    if not record.startswith(_MEMBER, begin):
        return b"", record
    mark, behind = record[at : at + _LETTERS], at + _LETTERS + len(b'",')
    return mark, record[:begin] + record[behind:]
