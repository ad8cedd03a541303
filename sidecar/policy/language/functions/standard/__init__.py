"""The functions that CEL itself defines."""
