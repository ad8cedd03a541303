"""Exit codes: what scripts and supervisors of ours read. A code never changes its meaning."""

from typing import Final

from sidecar.terms.errors import (
    ConfigError,
    EnvelopeError,
    LedgerBroken,
    LedgerUnwritable,
    ParseError,
    PolicyError,
    SidecarError,
)

OK: Final = 0
UNEXPECTED: Final = 1
USAGE: Final = 2
BUNDLE: Final = 3
FAILED: Final = 4
COVERAGE: Final = 5
EMPTY: Final = 6
DENIED: Final = 10
PENDING: Final = 11
LEDGER: Final = 20
UNWRITABLE: Final = 21

_CODES: Final[tuple[tuple[type[SidecarError], int], ...]] = (
    (PolicyError, BUNDLE),
    (ConfigError, USAGE),
    (EnvelopeError, USAGE),
    (ParseError, USAGE),
    (LedgerBroken, LEDGER),
    (LedgerUnwritable, UNWRITABLE),
)


def exit_code(error: SidecarError) -> int:
    """Return the exit code that says what kind of failure this is."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), UNEXPECTED)
