"""Both legs up to the session: bytes, TLS, the client's way in and the sidecar's own."""
