"""PDP: pure (Request, Bundle, facts) → Decision | NeedFacts. No I/O, no clock, no randomness."""

from sidecar.decide.pdp import decide, denial, explain, standing_facts

__all__ = ["decide", "denial", "explain", "standing_facts"]
