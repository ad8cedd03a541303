"""Lint: what loads and is still likely wrong; errors fail the run, warnings with `--strict`."""

from itertools import chain

from sidecar.policy.bundle import Bundle
from sidecar.review.finding import Finding
from sidecar.review.linting.checks import EVERY
from sidecar.review.linting.exempt import settled
from sidecar.review.linting.looked import Looked
from sidecar.review.linting.table import CHECKS, described, page

__all__ = ["CHECKS", "Looked", "described", "inspect", "lint", "page"]


def lint(bundle: Bundle) -> list[Finding]:
    """Return what is likely wrong with a bundle, but for what it exempts with a reason."""
    return [finding for finding in inspect(Looked(bundle)) if finding.accepted is None]


def inspect(looked: Looked, more: tuple[Finding, ...] = ()) -> list[Finding]:
    """Return every finding in the order of the files, those that are exempt with their reasons.

    Args:
        looked: A bundle that loads.
        more: What was found elsewhere, to be exempted and sorted as well.
    """
    found = [*chain.from_iterable(check(looked) for check in EVERY), *more]
    return sorted(settled(found, looked), key=_place)


def _place(finding: Finding) -> tuple[str, int, str]:
    file, line, _ = finding.where.rsplit(":", 2)
    return file, int(line), finding.code
