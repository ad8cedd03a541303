"""What the log says of itself: keys that follow each other, what was pruned, if a life has ended.

A fold like others, fed at every start and with every write. A key that follows another is vouched
for by both: each signs the same statement, so whoever trusts one of them may trust the other.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.record.proof.checkpoint import Verifier, verifier
from sidecar.terms.call import Json

KEY_ROTATED: Final = "key_rotated"
PRUNED: Final = "pruned"
OPENED: Final = "ledger.opened"
CLOSED: Final = "ledger.closed"
LEAPT: Final = "ledger.clock_leapt"
HELD: Final = "hold_placed"
RELEASED: Final = "hold_released"


class Rotation(msgspec.Struct, frozen=True):
    """One key follows another with the record `seq`.

    Args:
        seq: The record; the old key signs no tree that goes beyond it.
        old: The verifier key until then.
        new: The verifier key since.
        by_old: The old key's signature of the statement, base64.
        by_new: The new key's.
    """

    seq: int
    old: str
    new: str
    by_old: str
    by_new: str

    def keys(self) -> tuple[Verifier, Verifier]:
        """Return both keys, when both have signed.

        Raises:
            ValueError: One has not.
        """
        old, new = verifier(self.old), verifier(self.new)
        said = _statement(self.seq, self.old, self.new)
        try:
            old.key.verify(b64decode(self.by_old), said)
            new.key.verify(b64decode(self.by_new), said)
        except InvalidSignature:
            msg = "a key was rotated and not both keys have signed it"
            raise ValueError(msg) from None
        return old, new


def rotation(seq: int, origin: str, old: Ed25519PrivateKey, new: Ed25519PrivateKey) -> Rotation:
    """Return what says that `new` follows `old` with record `seq` of the log `origin`."""
    before, after = (Verifier(origin, key.public_key()).text() for key in (old, new))
    said = _statement(seq, before, after)
    by_old, by_new = (b64encode(key.sign(said)).decode() for key in (old, new))
    return Rotation(seq, before, after, by_old, by_new)


def _statement(seq: int, old: str, new: str) -> bytes:
    # The keys name the origin, so the statement is of one log.
    return f"doorward.key-rotation/1\n{seq}\n{old}\n{new}\n".encode()


class History:
    """What the log has said of itself so far."""

    name = "history"
    marks = (b'"kind":"admin"', b'"kind":"ops"')

    def __init__(self) -> None:
        self.pruned_to = 0
        self.rotations: list[Rotation] = []
        # What may be lost of a life that did not end: records, and for how long; None when it did.
        self.open_window: dict[str, int] | None = None
        # In which life of the machine it began, empty where that is not known.
        self.open_boot = ""
        # To when the clock leapt last, by itself.
        self.leapt_us: int | None = None
        # The holds that the log knows of: since when.
        self.holds: dict[str, str] = {}

    @property
    def rotation(self) -> Rotation | None:
        """Return how the key came to follow another, None when it is the first."""
        return self.rotations[-1] if self.rotations else None

    def apply(self, record: Mapping[str, Json]) -> None:
        """Take one durable record into account."""
        kind, event, detail = record["kind"], record.get("event"), record.get("detail", {})
        if kind == "admin" and event == PRUNED:
            self.pruned_to = max(self.pruned_to, detail["last"] + 1)
        elif kind == "admin" and event == KEY_ROTATED:
            said = {"seq": record["log"]["seq"], **detail}
            self.rotations.append(msgspec.convert(said, Rotation))
        elif kind == "ops" and event == OPENED:
            self.open_window = dict(detail["window"])
            self.open_boot = detail.get("boot", "")
        elif kind == "ops" and event == CLOSED:
            self.open_window = None
        elif kind == "ops" and event == LEAPT:
            self.leapt_us = detail["to_us"]
        elif kind == "admin" and event == HELD:
            self.holds[detail["name"]] = detail["since"]
        elif kind == "admin" and event == RELEASED:
            self.holds.pop(detail["name"], None)

    def state(self) -> Json:
        """Return all of it."""
        return {
            "pruned_to": self.pruned_to,
            "rotations": msgspec.to_builtins(self.rotations),
            "open_window": self.open_window,
            "open_boot": self.open_boot,
            "leapt_us": self.leapt_us,
            "holds": self.holds,
        }

    def restore(self, state: Json) -> None:
        """Begin with what a snapshot says."""
        self.pruned_to = state["pruned_to"]
        self.rotations = msgspec.convert(state["rotations"], list[Rotation])
        self.open_window = state["open_window"]
        self.open_boot = state.get("open_boot", "")
        self.leapt_us = state.get("leapt_us")
        self.holds = dict(state.get("holds", {}))
