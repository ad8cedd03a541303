"""What there is to tell of decisions: noted here as answers come, recorded by `outcomes`."""

from typing import Final, TypeAlias

from sidecar.intercept.postgres.protocol.prepared import Lease, Statements

SKIPPED: Final = "skipped"

# The decisions of which there is something to tell, in order.
Touched: TypeAlias = dict[Lease, None]


def touch(touched: Touched, statements: Statements) -> None:
    """See to it that a decision that no name leads to any more is told of, used or not."""
    for one in statements:
        if one.lease is not None and not one.lease.told:
            touched[one.lease] = None


def note(touched: Touched, lease: Lease, result: str, status: str | None) -> None:
    """Note how a use of a decision ended."""
    # The worst that happened since the last outcome record is what it tells.
    if lease.result == "forwarded" or lease not in touched:
        lease.result, lease.status = result, status
    touched[lease] = None


def note_unsent(touched: Touched, lease: Lease, status: str | None = SKIPPED) -> None:
    """Note that what was permitted was not run, most often for the client is gone."""
    if lease.told or lease in touched:
        return
    if lease.result == "forwarded":
        lease.result, lease.status = "failed", status
    touched[lease] = None


def note_unused(touched: Touched, statements: Statements, status: str | None) -> None:
    """Note that a Bind or an Execute of `statements` failed, or was skipped.

    What was decided anew for it may be all that leads to its decision.
    """
    for one in statements:
        if one.lease is not None:
            note_unsent(touched, one.lease, status)


def touch_bound(touched: Touched, portals: Statements) -> None:
    """Touch those of the portals that have a decision of their own, as one with values has."""
    if portals:
        touch(touched, tuple([one for one in portals if one.said]))
