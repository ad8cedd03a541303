"""PostgreSQL's protocol without a socket: messages in, messages out."""
