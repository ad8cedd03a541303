"""What changes between two bundles: which requests gain or lose permission, asked of both."""

from sidecar.review.diff.calls import Asked, understood
from sidecar.review.diff.compare import Difference, compare

__all__ = ["Asked", "Difference", "compare", "understood"]
