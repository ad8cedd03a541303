"""The statement that names a subject by a token, and what the server makes of it.

`SET [SESSION | LOCAL] sidecar.subject_token = '…'` is read here in exactly this form; all else that
names `sidecar.` the parser of SQL sees and refuses. The server is sent the same statement with an
empty value: it answers `SET` at its place in the pipeline, refuses it in a failed transaction,
warns outside one, and keeps nothing but an empty placeholder that no statement may read.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sidecar.domains.data.parse.text.lexer import Token, tokens
from sidecar.intercept.postgres.limits import TOKEN_CHARS_MAX
from sidecar.terms.call import Identity

_SET_TOKEN: Final = re.compile(
    r"[ \t\r\n\f]*SET[ \t\r\n\f]+(?:(?P<reach>SESSION|LOCAL)[ \t\r\n\f]+)?sidecar\.subject_token"
    r"(?:[ \t\r\n\f]*=[ \t\r\n\f]*|[ \t\r\n\f]+TO[ \t\r\n\f]+)"
    r"(?:'(?P<token>[^'\\]*)'|DEFAULT)[ \t\r\n\f]*;?[ \t\r\n\f]*",
    re.IGNORECASE | re.ASCII,
)
_ENDS: Final = frozenset(("commit", "end", "abort"))
# Of statements that roll back only `ROLLBACK TO` has this word; a name or a comment may be it.
_TO: Final = Token("word", "to")
# What the parser is given when a token is refused, so that the refusal is on record without it.
WITHOUT_TOKEN: Final = "SET sidecar.subject_token = ''"  # noqa: S105 - there is none in it


@dataclass(frozen=True, slots=True)
class TokenSet:
    """What names a subject; an empty token returns to the workload's own."""

    token: str = field(repr=False)
    is_local: bool

    @property
    def sent(self) -> bytes:
        """Return what the server is sent."""
        reach = b"LOCAL " if self.is_local else b""
        return b"SET " + reach + b"sidecar.subject_token = ''"


# What `RESET ALL` and `DISCARD ALL` ask for beside what the server does.
BACK_TO_START: Final = TokenSet("", is_local=False)


@dataclass(frozen=True, slots=True)
class Boundary:
    """What a statement does to the transaction on which a subject may hang.

    Args:
        ends: Whether it ends the transaction, be it that it begins the next one.
        saves: Whether it sets a savepoint.
        returns: Whether it may return to one.
        is_mixed: Whether it may do several of these.
    """

    ends: bool
    saves: bool
    returns: bool
    is_mixed: bool


def boundary_of(verbs: Sequence[str], text: str) -> Boundary | None:
    """Return what the verbs of a session statement do to the transaction, None for nothing."""
    returns = "rollback" in verbs and _TO in tokens(text)
    ends = not _ENDS.isdisjoint(verbs) or ("rollback" in verbs and not returns)
    saves = "savepoint" in verbs
    return Boundary(ends, saves, returns, len(verbs) > 1) if ends or saves or returns else None


@dataclass(slots=True, eq=False)
class Turn:
    """One change of the subject, which is undone if the server refuses what asked for it.

    Args:
        identity: Who speaks from here on; None at the end of a transaction: the session's subject.
        is_local: Whether until the end of the transaction alone.
        took: Whether the server took it; None as long as it has not answered.
    """

    identity: Identity | None
    is_local: bool
    took: bool | None = None

    def after(self, session: Identity) -> tuple[Identity, Identity | None]:
        """Return who speaks for the session, so far `session`, and for the transaction after it."""
        if self.identity is None:
            return session, None
        return (session, self.identity) if self.is_local else (self.identity, None)


def read_token_set(text: str) -> TokenSet | None:
    """Return what `text` sets if it is exactly that statement, else None."""
    found = _SET_TOKEN.fullmatch(text)
    if found is None or len(found["token"] or "") > TOKEN_CHARS_MAX:
        return None
    return TokenSet(found["token"] or "", (found["reach"] or "").upper() == "LOCAL")
