"""Carries decisions out on AI calls: what is kept of a list, and how a refusal sounds."""

from sidecar.domains.ai.enforce.kept import rewrite
from sidecar.domains.ai.enforce.refusal import refuse

__all__ = ["refuse", "rewrite"]
