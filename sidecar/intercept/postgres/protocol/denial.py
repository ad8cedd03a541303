"""A denial on PostgreSQL's wire: what the client is told, and how the server is made to say it.

The text of the offending Query or Parse is replaced by a word that nobody can guess. The server
itself then raises a syntax error, at the right place of the pipeline, aborts the transaction as it
would for any error, and skips to the next Sync; only the words of that one error are replaced. The
upstream never sees the text, and nothing here imitates a transaction's states.

The alternative, answering from here and holding the pipeline back meanwhile, needs a second
implementation of those states; where the two differ, the application is told what is not so.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

from sidecar.intercept.postgres.protocol import wire
from sidecar.intercept.postgres.protocol.prepared import Lease
from sidecar.terms.answer import Await, Refuse

_SQLSTATE = re.compile(r"[0-9A-Z]{5}")
# 15 + 32 characters: a longer word would be cut by the server (NAMEDATALEN).
_WORD: Final = b"sidecar_denied_"


@dataclass(frozen=True, slots=True)
class Denial:
    """What the client is told instead of what it asked for.

    `blocked` is the decision that permitted it, where the listener cannot do what it says.
    """

    code: str
    text: str
    detail: str | None = None
    hint: str | None = None
    blocked: Lease | None = None

    def blocking(self, lease: Lease) -> "Denial":
        """Return this denial as the end of a permitted call, which its outcome then tells."""
        lease.result = "blocked"
        detail = f"decision {lease.id}"
        return replace(self, blocked=lease, detail=detail)

    @property
    def error(self) -> bytes:
        """Return it as an ErrorResponse."""
        return wire.error(self.code, self.text, self.detail, self.hint)


NOT_RECORDABLE: Final = Denial(
    "58030", "the decision could not be recorded", hint="nothing was executed; try again"
)
NO_RESULT_FILTER: Final = Denial(
    "0A000", "an obligation on the result cannot be carried out on this connection"
)
NO_STATEMENT: Final = Denial("26000", "prepared statement does not exist or must be prepared again")
NO_PORTAL: Final = Denial("34000", "portal does not exist")
CROWDED: Final = Denial(
    "54000", "one name stands for too many statements that are not answered yet"
)
NO_ROOM: Final = Denial(
    "54000",
    "the statements of this connection take too much memory",
    hint="close those that are not used any more",
)
OTHER_OBLIGATIONS: Final = Denial(
    "42501", "what stands behind the name was permitted with other obligations"
)
TOO_MANY_ROWS: Final = Denial("42501", "more rows than the row limit of a policy lets through")
UNKNOWN_SUBJECT: Final = Denial(
    "0A000",
    "no return to a savepoint where the subject of a transaction was named behind one",
    hint="roll back the whole transaction",
)
OTHER_TYPES: Final = Denial(
    "42501",
    "the text does not give a parameter the type that it is sent with",
    hint="cast the parameter in the text: types that are not plain are decided there",
)
NO_TOKEN: Final = Denial("42501", "the subject token was not accepted")


def refused(answer: Refuse | Await) -> Denial:
    """Return the domain's own words of a denial, as far as the wire can carry them."""
    said = answer.refusal.body if isinstance(answer.refusal.body, dict) else {}
    code = said.get("code")
    if not (isinstance(code, str) and _SQLSTATE.fullmatch(code)):
        code = "42501"
    text = _text(said.get("message")) or answer.decision.message or "denied"
    detail = _text(said.get("detail")) or f"decision {answer.decision.id}"
    if answer.decision.id not in detail:
        detail = f"{detail}; decision {answer.decision.id}"
    if isinstance(answer, Await) and answer.approval and answer.approval.id not in detail:
        detail = f"{detail}; approval {answer.approval.id}"
    return Denial(code, text, detail, _text(said.get("hint")))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def nonce(random_16: bytes) -> bytes:
    """Return a word that is no statement and stands in no other."""
    assert len(random_16) == 16
    return _WORD + random_16.hex().encode("ascii")
