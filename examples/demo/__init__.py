"""The whole story on one machine: an agent with a broad grant, and the sidecar at every door."""
