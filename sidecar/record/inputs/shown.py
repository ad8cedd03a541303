"""The input object of a decision record: digest, masked text, sealed form, and what is missing.

| form | when | where it stands |
|---|---|---|
| masked text, persons as handles | always | in the record; side store where it is too large |
| sealed: with what rules may have read | where masking hides some of that | side store, encrypted |

The digest is made over the masked text and, where values were hidden, a line feed and the list of
them in the order in which they were: parts first, then parties, targets, context, request. It is
keyed, so that what is hidden cannot be guessed from it.
Masking that fails costs the text, never the record: a call that cannot be masked is still a call
that was decided.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import msgspec

from sidecar.policy.cel import reads
from sidecar.record.canonical import canonical_text, fixed_text
from sidecar.record.inputs.hide import Hider
from sidecar.record.inputs.names import Names
from sidecar.record.inputs.plan import Asked, Plans, Unmaskable, plans
from sidecar.record.inputs.scrub import scrub
from sidecar.record.inputs.secrets import Secrets
from sidecar.terms.call import Json
from sidecar.terms.record import InputRecord, SideObject
from sidecar.terms.request import Request

_LOST_MAX: Final = 8
_LOST_CHARS_MAX: Final = 256
# A word that cannot be followed, nesting without end, a value of no known kind.
_FAILURES: Final = (Unmaskable, RecursionError, TypeError, ValueError)


class Input(NamedTuple):
    """The input object, and the side object of its sealed form if there is one.

    Args:
        hidden: What the digest is made over besides the masked text.
        is_near: Whether a person may be named elsewhere than where persons stand.
    """

    record: InputRecord
    sealed: SideObject | None = None
    hidden: bytes = b""
    is_near: bool = False


class _Kept:
    """The plans of the bundle that decides now; it is one bundle until the next reload."""

    __slots__ = ("bundle", "plans")

    def __init__(self) -> None:
        self.bundle: Asked | None = None
        self.plans: dict[str, Plans] = {}

    def of(self, bundle: Asked, protocol: str) -> Plans:
        if bundle is not self.bundle:
            self.bundle, self.plans = bundle, {}
        found = self.plans.get(protocol)
        if found is None:
            found = self.plans[protocol] = plans(bundle, protocol)
        return found


_kept = _Kept()


class _Look:
    """What was seen of a request and all its parts when it was looked at in one way.

    Args:
        raw: The text; tokens may stand in it.
        hidden: The values that were hidden.
        lost: Where rules may have read credentials.
        seals: Whether rules may have read what was hidden.
        reads: Whether rules read anything of such a call.
        is_near: Whether a person may be named elsewhere than where persons stand.
    """

    __slots__ = ("hidden", "is_near", "lost", "raw", "reads", "seals")

    def __init__(self) -> None:
        self.raw = b""
        self.hidden: list[Json] = []
        self.lost: list[str] = []
        self.seals = self.reads = self.is_near = False

    def note(self, hider: Hider, its: Plans) -> None:
        """Take note of what was hidden of one request."""
        self.hidden += hider.hidden
        self.seals = self.seals or its.seals
        self.reads = self.reads or bool(its.needs)
        self.lost += [at for at in hider.lost if reads(its.needs, at)]


def _looked(request: Request, bundle: Asked, names: Names, *, withheld: bool) -> _Look:
    """Return how `request` looks in the record, or in its sealed form."""
    look = _Look()

    def shown(request: Request) -> Request:
        parts = tuple([shown(part) for part in request.parts]) if request.parts else ()
        its = _kept.of(bundle, request.protocol)
        hider = Hider(its.withheld if withheld else its.hidden, names)
        found = hider.request(request, parts)
        look.note(hider, its)
        return found

    look.raw, look.is_near = _text(shown(request), names)
    return look


def _text(request: Request, names: Names) -> tuple[bytes, bool]:
    """Return the text of `request`, and whether it had to be looked through for persons."""
    raw, sweep = fixed_text(request), names.sweep
    if sweep is None or not sweep.is_near(raw.decode()):
        return raw, False
    return fixed_text(sweep.value(request)), True


def input_of(request: Request, bundle: Asked, names: Names, secrets: Secrets) -> Input:
    """Return what a record keeps of `request`."""
    try:
        if not request.parts:
            # Of almost every call nothing is hidden: this is all that is done with it.
            its = _kept.of(bundle, request.protocol)
            hider = Hider(its.hidden, names)
            raw, is_near = _text(hider.request(request, ()), names)
            text = raw.decode()
            if not hider.hidden and scrub(text) is text:
                kept = InputRecord(secrets.digest(raw), "masked", (), text)
                return Input(kept, None, b"", is_near)
            look = _Look()
            look.raw, look.is_near = raw, is_near
            look.note(hider, its)
        else:
            look = _looked(request, bundle, names, withheld=False)
        return _kept_of(request, look, secrets, partial(_looked, request, bundle, names))
    except _FAILURES:
        return _unshown(request, names, secrets)


def _kept_of(request: Request, look: _Look, secrets: Secrets, again: Callable[..., _Look]) -> Input:
    """Return what is kept of a request of which something may be hidden."""
    told = look.raw.decode()
    text = scrub(told)
    hidden = b"\n" + canonical_text(look.hidden) if look.hidden else b""
    digest = secrets.digest(look.raw + hidden)
    shown = InputRecord(digest, "masked", _missing(look, did_scrub=text is not told), text)
    if not (look.hidden and look.seals):
        return Input(shown, None, hidden, look.is_near)
    withheld = scrub(again(withheld=True).raw.decode())
    if withheld == text:
        return Input(shown, None, hidden, look.is_near)
    sealed = secrets.seal(request.id, withheld.encode())
    shown = msgspec.structs.replace(shown, form="sealed", sealed_object=sealed.digest)
    return Input(shown, sealed, hidden, look.is_near)


def _unshown(request: Request, names: Names, secrets: Secrets) -> Input:
    """Return what is kept of a request that cannot be masked: its digest, if that can be made."""
    try:
        text, _ = _text(_named(request, names), names)
        digest = secrets.digest(text)
    except _FAILURES:
        # Parsers bound their depth; where one forgot, the decision is on the record all the same.
        return Input(InputRecord("", "none", ("input", "input.digest")), is_near=True)
    return Input(InputRecord(digest, "none", ("input",)), is_near=True)


def _named(request: Request, names: Names) -> Request:
    parts = tuple([_named(part, names) for part in request.parts])
    return Hider(None, names).request(request, parts)


def _missing(look: _Look, *, did_scrub: bool) -> tuple[str, ...]:
    """Return what rules may have read and no form keeps: credentials and tokens."""
    missing = [at[:_LOST_CHARS_MAX] for at in look.lost[:_LOST_MAX]]
    if len(look.lost) > _LOST_MAX:
        missing.append("credentials")
    if did_scrub and look.reads:
        missing.append("tokens")
    return tuple(missing)
