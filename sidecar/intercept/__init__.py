"""The listeners: where calls are taken off the wire and answers put back on it."""
