"""The composition root: configuration, wiring, supervision, reload, health and metrics."""
