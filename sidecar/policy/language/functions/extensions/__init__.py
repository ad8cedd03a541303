"""The functions that the common extensions define, and our own `glob`."""
