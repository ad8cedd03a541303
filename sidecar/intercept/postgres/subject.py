"""On whose behalf a connection speaks, and the one statement that changes it.

`SET [SESSION | LOCAL] sidecar.subject_token = '…'` names the subject by a token, for a pooled
connection that serves many people. The sidecar takes the token out and sends the server the same
statement with an empty value: it answers `SET` at its place in the pipeline, refuses it in a failed
transaction, warns outside one, and keeps nothing but an empty placeholder that no statement may
read. Only this exact form is taken; all else that names `sidecar.` the parser sees and refuses.

- Without LOCAL the subject holds until it is set again; an empty token, DEFAULT, `RESET ALL` and
  `DISCARD ALL` return to the workload's own. A rollback does not.
- With LOCAL it holds until the server says that no transaction is open. Meanwhile a statement
  behind a Sync waits for its answer, so that none is judged for a person whose transaction is over.
- It holds from Parse on, not from Execute: what follows in the pipeline is judged for the new one.
"""

import re
from dataclasses import dataclass

import msgspec

from sidecar.intercept.postgres.limits import TOKEN_CHARS_MAX
from sidecar.intercept.postgres.settings import Workloads
from sidecar.terms.call import Identity

_SET_TOKEN = re.compile(
    r"[ \t\r\n\f]*SET[ \t\r\n\f]+(?:(?P<reach>SESSION|LOCAL)[ \t\r\n\f]+)?sidecar\.subject_token"
    r"(?:[ \t\r\n\f]*=[ \t\r\n\f]*|[ \t\r\n\f]+TO[ \t\r\n\f]+)"
    r"(?:'(?P<token>[^'\\]*)'|DEFAULT)[ \t\r\n\f]*;?[ \t\r\n\f]*",
    re.IGNORECASE | re.ASCII,
)
_BACK_TO_START = re.compile(
    r"[ \t\r\n\f]*(?:RESET|DISCARD)[ \t\r\n\f]+ALL[ \t\r\n\f]*;?[ \t\r\n\f]*",
    re.IGNORECASE | re.ASCII,
)
# What the parser is given when a token is refused, so that the refusal is on record without it.
WITHOUT_TOKEN = "SET sidecar.subject_token = ''"  # noqa: S105 - there is none in it


@dataclass(frozen=True, slots=True)
class TokenSet:
    """The statement that names a subject; an empty token returns to the workload's own."""

    token: str
    is_local: bool

    @property
    def sent(self) -> bytes:
        """Return what the server is sent."""
        reach = b"LOCAL " if self.is_local else b""
        return b"SET " + reach + b"sidecar.subject_token = ''"


def read_token_set(text: str) -> TokenSet | None:
    """Return what `text` sets if it is exactly that statement, else None."""
    found = _SET_TOKEN.fullmatch(text)
    if found is None or len(found["token"] or "") > TOKEN_CHARS_MAX:
        return None
    return TokenSet(found["token"] or "", (found["reach"] or "").upper() == "LOCAL")


def is_back_to_start(text: str) -> bool:
    """Return whether `text` resets the whole session."""
    return _BACK_TO_START.fullmatch(text) is not None


class Speaker:
    """Who speaks on one connection: the workload, and the subject that it has named."""

    def __init__(self, user: str, workloads: Workloads) -> None:
        self._user = user
        self._workloads = workloads
        self._own = workloads.identity_of(user)
        self._session = self._own
        self._local: Identity | None = None

    @property
    def identity(self) -> Identity:
        """Return who is judged now; the same object as long as nothing changes."""
        return self._local or self._session

    @property
    def is_local(self) -> bool:
        """Return whether the subject holds for a transaction alone."""
        return self._local is not None

    def take(self, asked: TokenSet) -> bool:
        """Name the subject; return False when the token proves none that may be named."""
        named = self._own
        if asked.token:
            subject = self._workloads.subject_of(asked.token, self._user)
            if subject is None:
                return False
            # Somebody acts for the subject: the workload's actor, else the workload's own subject.
            actors = self._own.actors or (self._own.subject,)
            named = msgspec.structs.replace(
                self._own, subject=subject, actors=actors, asserted_by=self._user
            )
        if asked.is_local:
            self._local = named
        else:
            self._session, self._local = named, None
        return True

    def transaction_ended(self) -> None:
        """Return to the session's subject."""
        self._local = None

    def back_to_start(self) -> None:
        """Return to the workload's own subject."""
        self._session, self._local = self._own, None
