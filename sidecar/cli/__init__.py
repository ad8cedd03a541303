"""Commands of `sidecar`, one file per verb."""
