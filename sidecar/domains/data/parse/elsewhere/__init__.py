"""Long texts: what another process is asked about them, what it answers, and what is kept of that.

An answer holds for one text, one catalogue (`identity`), one search path and one upstream, and a
rewriting for its obligations too. The other process works out the catalogue's identity itself, and
refuses where it has another one, so no answer can be taken for what it is not. Answers are kept by
their size; one that has been displaced is asked for again.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

import msgspec
from cachetools import LRUCache

from sidecar.domains.data.limits import KEPT_BYTES_MAX
from sidecar.terms.call import Json, remembers
from sidecar.terms.decision import Obligation
from sidecar.terms.domain import Elsewhere
from sidecar.terms.reasons import Reason
from sidecar.terms.request import Parsed


class Reading(msgspec.Struct, frozen=True, tag=True):
    """Say what a text does; `drift` is what the listener knows of its upstream."""

    text: str
    upstream: str
    search_path: tuple[str, ...]
    identity: str
    drift: Json = None


class Rewriting(msgspec.Struct, frozen=True, tag=True):
    """Say what is sent in a text's place, as long as these obligations are due."""

    text: str
    upstream: str
    search_path: tuple[str, ...]
    identity: str
    obligations: tuple[Obligation, ...]


class Sent(msgspec.Struct, frozen=True, tag=True):
    """What is sent."""

    text: str


class Read(msgspec.Struct, frozen=True, tag=True):
    """What a text does."""

    parsed: Parsed


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The text is refused, with a text of our own."""

    reason: Reason
    text: str


Work: TypeAlias = Reading | Rewriting
Said: TypeAlias = Read | Sent | Refused
# By text, identity, search path, and upstream or the digest of obligations.
Key: TypeAlias = tuple[str, str, tuple[str, ...], str | bytes]

encode: Final[Callable[[Work | Said], bytes]] = msgspec.msgpack.Encoder().encode
work_of: Final[Callable[[bytes], Work]] = msgspec.msgpack.Decoder(Work).decode
_said_of: Final[Callable[[bytes], Said]] = msgspec.msgpack.Decoder(Said).decode


class _Kept(msgspec.Struct, frozen=True):
    said: Said
    size: int


_kept: LRUCache[Key, _Kept] = LRUCache(KEPT_BYTES_MAX, lambda one: one.size)
_lock: Final = threading.Lock()


def _forget() -> None:
    with _lock:
        _kept.clear()


remembers(_forget)


def said_elsewhere(bundle: str, key: Key, make: Callable[[], Work]) -> Said | None:
    """Return what another process said; None for what no process may be told.

    Args:
        bundle: Digest of the bundle that holds the catalogue.
        key: Under which the answer is kept.
        make: Makes what is asked.

    Raises:
        Elsewhere: It has not been asked.
    """
    with _lock:
        kept = _kept.get(key)
    if kept is not None:
        return kept.said
    try:
        work = encode(make())
    except (UnicodeEncodeError, OverflowError):
        # Half a character, or a number that no message holds; its reader says so at once.
        return None
    raise Elsewhere(bundle, work, partial(_take, key))


def _take(key: Key, answer: bytes) -> None:
    """Keep an answer. Raises msgspec's errors where it is none."""
    said = _said_of(answer)
    with _lock:
        _kept[key] = _Kept(said, len(key[0]) + len(answer))
