"""One recorded decision, with what stands beside the log joined to it: names, and sealed values.

Names are put back where a handle stands for all of an id, as parties, addresses and persons that
are targets do: there the record is exact. Elsewhere a handle may stand for a name written in other
letters, so that what rules would have seen there is not known, and `open` says where.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from sidecar.record.inputs.names import MASK
from sidecar.record.persons.names import HANDLE, MACHINES, PERSON_RESOURCES
from sidecar.review.replay.beside import Beside
from sidecar.review.replay.lines import LEDGER, Share, lines, shares
from sidecar.terms.call import Json
from sidecar.terms.errors import LedgerBroken
from sidecar.terms.record import DecisionRecord, PartyRecord
from sidecar.terms.request import Request

_DECISION: Final = b'"kind":"decision"'
_CUT: Final = re.compile(r"(targets|rules|obligations|facts|errors|actors|texts)\[\d+:\d*\]\Z")
_read_request = msgspec.json.Decoder(Request).decode


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a record stands in the log."""

    seq: int


class LoggedDecision(DecisionRecord, frozen=True, tag_field="kind", tag="decision"):
    """A decision as it stands in a log."""

    log: Place | None = None


_read_decision = msgspec.json.Decoder(LoggedDecision).decode


class Recorded(msgspec.Struct, frozen=True):
    """One decision as it was recorded.

    Args:
        record: As it stands in the log.
        text: The Request as JSON, handles and all; sealed values are in it where they could be
            had. None where there is no text any more.
        names: Handle → `type:id`, as far as is known.
        gone: What is not there in any form.
        is_whole: Whether the text has all that rules of the bundle that decided may have read.
    """

    record: LoggedDecision
    text: str | None
    names: Mapping[str, str]
    gone: tuple[str, ...] = ()
    is_whole: bool = True

    @property
    def is_cut(self) -> bool:
        """Return whether lists or texts of the record were cut to fit."""
        return any(map(_CUT.match, self.record.input.missing))

    @property
    def subject(self) -> str:
        """Return `type:id` of the subject, by name where it is known."""
        return self.name_of(self.record.subject)

    def name_of(self, party: PartyRecord) -> str:
        """Return `type:id` of a party, by name where it is known."""
        known = None if party.type in MACHINES else self.names.get(party.id)
        return f"{party.type}:{party.id}" if known is None else known


class Understood(msgspec.Struct, frozen=True):
    """The Request of a record, and the paths at which it is not what the rules saw.

    Args:
        request: With names in the place of handles.
        open: `subject.id`, `request.sql.text`; each with what it lacks.
    """

    request: Request
    open: tuple[tuple[str, str], ...]


def read_recorded(path: Path, state: Path | None = None) -> Iterator[Recorded]:
    """Yield the decisions that are recorded at `path`, in order.

    Args:
        path: A state or ledger folder, one segment, an export, or a file of lines.
        state: Where names, keys and side objects are, if not beside the log.

    Raises:
        LedgerBroken: A record cannot be read, or some are missing between segments.
        OSError: The disk says no.
    """
    beside = beside_of(path, state)
    for share in shares(path):
        for line in lines(share):
            found = recorded(line, beside, share)
            if found is not None:
                yield found


def beside_of(path: Path, state: Path | None = None) -> Beside:
    """Return what stands beside the records at `path`."""
    if state is not None:
        return Beside(state)
    if not path.is_dir():
        return Beside(None)
    whole = path.resolve()
    return Beside(whole if (whole / LEDGER).is_dir() else whole.parent)


def recorded(line: bytes, beside: Beside, share: Share) -> Recorded | None:
    """Return the decision that a line of a log is, None where it is no decision."""
    if _DECISION not in line and _kind(line, share) != "decision":
        return None
    try:
        record = _read_decision(line)
    except msgspec.MsgspecError:
        if _kind(line, share) != "decision":
            return None
        raise _misshapen(share) from None
    return joined(record, beside)


def _kind(line: bytes, share: Share) -> str:
    """Return of which kind a record is; a line that says none is no record, and is not left out."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        found = None
    kind = found.get("kind") if isinstance(found, dict) else None
    if not isinstance(kind, str):
        raise _misshapen(share)
    return kind


def _misshapen(share: Share) -> LedgerBroken:
    return LedgerBroken(f"{share.path.name}: a record is not of its shape")


def joined(record: LoggedDecision, beside: Beside) -> Recorded:
    """Return a record with what stands beside it."""
    kept, names = record.input, beside.names
    missing = tuple(one for one in kept.missing if not _CUT.match(one))
    is_whole = not missing
    if kept.sealed_object is not None:
        sealed = beside.unsealed(record.id, kept.sealed_object)
        if sealed is not None:
            return Recorded(record, sealed.decode(), names, (), is_whole)
        is_whole = False
    if kept.text is not None:
        return Recorded(record, kept.text, names, (), is_whole)
    if kept.text_object is None:
        return Recorded(record, None, names, missing or ("input",), is_whole=False)
    data = beside.side_object(kept.text_object)
    if data is None:
        return Recorded(record, None, names, ("input.text",), is_whole=False)
    return Recorded(record, data.decode("utf-8", "replace"), names, (), is_whole)


def understood(logged: Recorded, *, by_others: bool) -> Understood:
    """Return the Request of a record that has a text; what is lost of it is said, not guessed.

    Args:
        logged: With a text.
        by_others: Whether rules of another bundle than the one that decided are to read it: what
            is masked because no rule read it is then lost.

    Raises:
        LedgerBroken: The text is no Request.
    """
    assert logged.text is not None
    masks = by_others or not logged.is_whole
    text, is_exact = _named(logged)
    opens: list[tuple[str, str]] = []
    try:
        if not is_exact or (masks and MASK in text):
            walk = _Walk(logged.names, masks=masks)
            text = msgspec.json.encode(walk.request(msgspec.json.decode(logged.text))).decode()
            opens = walk.open
        return Understood(_read_request(text), tuple(dict.fromkeys(opens)))
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError):
        raise LedgerBroken(f"{logged.record.id}: the recorded input is no request") from None


def _named(found: Recorded) -> tuple[str, bool]:
    """Return the text with names where persons stand, and whether that is all of the handles."""
    text = found.text or ""
    handles = HANDLE.findall(text) if "p_" in text else []
    if not handles:
        return text, True
    record = found.record
    parties = [one.id for one in (record.subject, *record.actors) if one.type not in MACHINES]
    address = [handle for handle in handles if f'"ip":"{handle}"' in text][:1]
    if sorted(handles) != sorted([*parties, *address]):
        return text, False
    for handle in set(handles):
        name = found.names.get(handle)
        if name is None:
            return text, False
        said = orjson.dumps(name.partition(":")[2]).decode()
        text = text.replace(f'"{handle}"', said)
    return text, True


class _Walk:
    """Goes through a request as JSON, puts names back and notes where what rules saw is lost."""

    def __init__(self, names: Mapping[str, str], *, masks: bool) -> None:
        self._names = names
        self._masks = masks
        self.open: list[tuple[str, str]] = []

    def request(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the request with names; of its parts too."""
        shown = dict(request)
        shown["subject"] = self._party(request["subject"], ("subject", "actor"))
        shown["actors"] = [
            self._party(one, ("actors", "actor") if not place else ("actors",))
            for place, one in enumerate(request["actors"])
        ]
        shown["targets"] = [self._target(one) for one in request["targets"]]
        shown["context"] = self._context(request["context"])
        shown["request"] = self._below(request["request"], ("request",))
        shown["parse"] = self._below(request["parse"], ("parse",))
        shown["upstream"] = self._below(request["upstream"], ("request.upstream", "match"))
        shown["parts"] = [self.request(one) for one in request.get("parts", ())]
        return shown

    def _party(self, party: dict[str, Any], at: tuple[str, ...]) -> dict[str, Any]:
        id_ = party["id"]
        if party["type"] not in MACHINES:
            id_ = self._exact(id_, tuple(f"{root}.id" for root in at))
        below = tuple(f"{root}.properties" for root in at)
        return {**party, "id": id_, "properties": self._below(party["properties"], below)}

    def _target(self, target: dict[str, Any]) -> dict[str, Any]:
        action, resource = target["action"], target["resource"]
        shown = self._below(
            {key: value for key, value in resource.items() if key not in ("type", "id")},
            ("resource", "targets"),
        )
        at = ("resource.id", "targets", "match")
        if resource["type"] in PERSON_RESOURCES:
            id_ = self._exact(resource["id"], at)
        else:
            id_ = self._below(resource["id"], at)
        done = {key: value for key, value in action.items() if key != "name"}
        return {
            **target,
            "action": {
                **self._below(done, ("action", "targets")),
                "name": self._below(action["name"], ("action.name", "targets", "match")),
            },
            "resource": {**shown, "type": resource["type"], "id": id_},
        }

    def _context(self, context: dict[str, Any]) -> dict[str, Any]:
        shown = {}
        for name, value in context.items():
            if name == "ip":
                shown[name] = self._exact(value, ("context.ip",))
            else:
                at = (f"context.{name}", "session") if name == "session_state" else None
                shown[name] = self._below(value, at or (f"context.{name}",))
        return shown

    def _exact(self, value: Json, at: tuple[str, ...]) -> Json:
        """Return what a handle that is all of an id stands for."""
        if not isinstance(value, str) or not HANDLE.fullmatch(value):
            return self._below(value, at)
        known = self._names.get(value)
        if known is None:
            self._note(at, "the name of a person")
            return value
        return known.partition(":")[2]

    def _below(self, value: Json, at: tuple[str, ...]) -> Json:
        if isinstance(value, str):
            return self._text(value, at)
        if isinstance(value, dict):
            return {
                self._text(name, at): self._below(member, tuple(f"{one}.{name}" for one in at))
                for name, member in value.items()
            }
        if isinstance(value, list):
            return [self._below(member, at) for member in value]
        return value

    def _text(self, text: str, at: tuple[str, ...]) -> str:
        if self._masks and MASK in text:
            self._note(at, "what is masked")
        if "p_" not in text or not HANDLE.search(text):
            return text
        self._note(at, "how a person is named")
        return HANDLE.sub(self._shown, text)

    def _shown(self, found: re.Match[str]) -> str:
        known = self._names.get(found[0])
        return found[0] if known is None else known.partition(":")[2]

    def _note(self, at: tuple[str, ...], what: str) -> None:
        self.open.extend((path, what) for path in at)
