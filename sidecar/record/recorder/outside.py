"""What a recorder is given, and the records that it makes itself."""

from collections.abc import Callable

import msgspec

from sidecar.record.limits import AHEAD_RECORDS_MAX
from sidecar.terms.record import SCHEMA, GapRecord, OutcomeRecord
from sidecar.terms.words import CallId


class Outside(msgspec.Struct, frozen=True):
    """What is not the recorder's own.

    Args:
        new_id: Returns ids of records.
        now: Returns times of records.
        stuck: Is told of a worker that does not take a revocation, or has let go of the recorder;
            it has to be ended, if it lives.
        committed: Is told of each batch, on the ledger's thread and once its writers are: how many
            records, how long it took in seconds.
    """

    new_id: Callable[[], CallId]
    now: Callable[[], str]
    stuck: Callable[[str], None]
    committed: Callable[[int, float], None]

    def unknown(self, decision: str) -> OutcomeRecord:
        """Return the outcome of a call of which nobody can tell it any more."""
        return OutcomeRecord(SCHEMA, self.new_id(), CallId(decision), self.now(), "unknown")

    def gap(self) -> GapRecord:
        """Return what says that a worker may have answered for records that are not there."""
        return GapRecord(SCHEMA, self.new_id(), self.now(), "ahead", AHEAD_RECORDS_MAX)
