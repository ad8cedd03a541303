"""Coverage: what of the policies the tests reached, and what they never saw the other side of."""
