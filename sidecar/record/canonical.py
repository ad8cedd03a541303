"""A record's bytes: RFC 8785 by construction, in two halves with room for its place in the log.

With ASCII keys, no floats and integers below 2^53, sorted keys and no spaces are RFC 8785 to the
byte, whether msgspec writes a struct or orjson a dict (tests/record compares both with the
`rfc8785` package). Nothing is ever refused for its
values: a record that cannot be written is a call that cannot be recorded, so what is off the
profile is written as text that says the same. Floats and large integers become their text, keys
outside ASCII are escaped, and lone surrogates, which UTF-8 cannot carry, are spelt out.

The place, `log: {epoch, origin, seq}`, is known to the committer alone. A record is therefore
encoded as the members before `log` and those after, and the committer joins them without encoding
again. Of a decision, of which there are most, all members before `log` have a fixed shape: it is
encoded in one go and cut where the first member behind `log` begins. Only there can `,"` and that
member's name stand unescaped.
"""

import re
from typing import Final, NamedTuple, Never

import msgspec
import orjson

from sidecar.terms.call import Json
from sidecar.terms.record import AnyRecord, DecisionRecord, MadeRecord, OutcomeRecord, RecordBytes

_INT_MAX: Final = 2**53 - 1
_OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_LOG: Final = "log"
# What the ledger writes behind a record's place; the last of a batch alone bears one.
_MARK: Final = b"mark"
_SOME: Final = {"epoch": 0}
_SOME_PLACE: Final = b'"log":{"epoch":0}'
# How a place begins: readers find it by these letters, which no text can hold. A value that is one
# is written as text.
PLACE: Final = b'"log":{"epoch":'
# What begins the second half of a decision.
_AFTER: Final = b',"obligations":['
_MESSAGE: Final = b',"message":'
# That of an outcome by which nothing was applied.
_PARENT: Final = b',"parent":'
# From a letter outside ASCII to the end of its text; what has a colon behind it is a name.
_NOT_ASCII: Final = re.compile(rb'[\x80-\xff](?:[^"\\]|\\.)*+"(:?)')


class Halves(NamedTuple):
    """A record without its place: `head` ends before the comma of `log`, `tail` begins after it."""

    head: bytes
    tail: bytes

    @property
    def is_plain(self) -> bool:
        """Return whether no record like it can be obeyed; that of this one is not known."""
        return False

    @property
    def head_size(self) -> int:
        """Return how many bytes stand before its place."""
        return len(self.head)

    def placed(self, place: bytes) -> bytes:
        """Return the record with `place`, and the commas around it."""
        return b"%b%b%b" % (self.head, place, self.tail)

    def at(self, place: bytes) -> bytes:
        """Return the record with `place`, the member `"log":{…}`, where sorting puts it."""
        return b"%b,%b,%b" % (self.head, place, self.tail)

    @property
    def size(self) -> int:
        """Return how many bytes the record has without its place."""
        return len(self.head) + len(self.tail) + 1


def unknown(value: Json) -> str:
    """Return what stands in a record for a value that JSON has no form for."""
    return f"<{type(value).__name__}>"


encode_sorted: Final = msgspec.json.Encoder(order="sorted", enc_hook=unknown).encode

_encode_fixed: Final = msgspec.json.Encoder(order="deterministic", enc_hook=unknown).encode


def place_of(name: str, epoch: str, seq: int) -> bytes:
    """Return the member `"log":{…}` of a record."""
    said = orjson.dumps({"epoch": epoch, "origin": name, "seq": seq}, option=_OPTIONS)
    return b'"log":' + said


def encode(record: AnyRecord) -> RecordBytes:
    """Return the canonical bytes of `record`, without its place in the log."""
    halves = split(record)
    return RecordBytes(b"%b,%b" % (halves.head, halves.tail))


def split(record: AnyRecord) -> Halves:
    """Return the canonical bytes of `record` in the two halves around its place in the log."""
    if isinstance(record, MadeRecord):
        return Halves(record.head, record.tail)
    if (halves := _at_once(record)) is not None:
        return halves
    members: dict[str, Json] = msgspec.to_builtins(record, enc_hook=unknown)
    for name in ("obligations", "applied", "detail"):
        # Values of rules and of the machine are the members that may be off the profile in silence.
        if members.get(name):
            members[name] = on_profile(members[name])
    head = {name: value for name, value in members.items() if name < _LOG}
    tail = {name: value for name, value in members.items() if name > _LOG}
    # INVARIANT: both halves have members (`id`, `kind` and `schema`, `time`), so commas fit.
    assert head
    assert tail
    return Halves(dumps(head)[:-1], dumps(tail)[1:])


def _at_once(record: AnyRecord) -> Halves | None:
    """Return the halves of what is on the profile by its shape, None where it may not be."""
    try:
        if isinstance(record, DecisionRecord):
            mark = _AFTER if record.message is None else _MESSAGE
            halves = _cut(encode_sorted(record), mark)
            return None if record.obligations and PLACE in halves.tail else halves
        if isinstance(record, OutcomeRecord) and not record.applied:
            return _cut(encode_sorted(record), _PARENT)
    except UnicodeEncodeError:
        # A lone surrogate: spelt out by who asked.
        pass
    return None


def _cut(record: bytes, mark: bytes) -> Halves:
    at = record.find(mark)
    assert at > 0
    return Halves(record[:at], record[at + 1 :])


def _refuse(_number: str) -> Never:
    # A decimal point, an exponent, a zero below zero: each has forms that RFC 8785 has not.
    raise ValueError


_read: Final = msgspec.json.Decoder(dict[str, Json], float_hook=_refuse).decode


def read_halves(halves: Halves) -> Json:
    """Return what a record says with some place, where no other bytes say it.

    Raises:
        ValueError: They say nothing, are off the profile, could say the same otherwise, or its
            place or mark is elsewhere.
    """
    text = halves.at(_SOME_PLACE)
    said = _read(text)
    # INVARIANT: of places that are this one there is one, and one that is the record's own.
    is_own = said.get(_LOG) == _SOME and text.count(_SOME_PLACE) == 1
    # In a name only letters below small ones are escaped: so written, it sorts as it does.
    begin = halves.tail[1 : halves.tail.find(b'"', 1)]
    try:
        is_so = is_own and begin > _MARK and orjson.dumps(said, option=_OPTIONS) == text
    except TypeError as error:
        # Nested too deeply, or too large a number.
        raise ValueError from error
    if not (is_so and (text.isascii() or _has_ascii_names(text))):
        raise ValueError
    return said


def _has_ascii_names(text: bytes) -> bool:
    """Return whether JSON has no name whose place among others depends on how letters count."""
    return not any(found[1] for found in _NOT_ASCII.finditer(text))


def canonical_text(value: Json) -> bytes:
    """Return one canonical text of any value; floats stay: it is a value, not a record."""
    try:
        return encode_sorted(value)
    except (TypeError, ValueError, OverflowError):
        return dumps(msgspec.to_builtins(value, enc_hook=unknown))


def fixed_text(value: msgspec.Struct) -> bytes:
    """Return one text of a struct: its members in their own order, those of mappings sorted."""
    try:
        return _encode_fixed(value)
    except (TypeError, ValueError, OverflowError):
        return dumps(msgspec.to_builtins(value, enc_hook=unknown))


def dumps(value: Json) -> bytes:
    """Return canonical JSON; what orjson refuses is first brought on the profile."""
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except (TypeError, ValueError):
        return orjson.dumps(on_profile(value), option=_OPTIONS)


def on_profile(value: Json) -> Json:
    """Return `value` with ASCII keys, small integers, no floats and no lone surrogates."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -_INT_MAX <= value <= _INT_MAX else str(value)
    if isinstance(value, dict):
        return {_key(name): on_profile(_unplaced(name, member)) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [on_profile(member) for member in value]
    return str(value)


def _unplaced(name: Json, member: Json) -> Json:
    is_place = name == "log" and isinstance(member, dict) and "epoch" in member
    # Why not as JSON: one within the other would double its backslashes each time.
    return str(member) if is_place else member


def _key(name: Json) -> str:
    # Backslashes are doubled first, so that no two keys become one.
    return str(name).replace("\\", "\\\\").encode("ascii", "backslashreplace").decode()
