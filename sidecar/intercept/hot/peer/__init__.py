"""One peer: what it sends, what comes of it, and what it is given."""
