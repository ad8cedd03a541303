"""HTTP/1.1 on a raw protocol, for the listener that is asked with every call."""
