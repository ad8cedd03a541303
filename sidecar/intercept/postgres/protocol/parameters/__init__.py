"""Parameters of a statement: the types that are given to them, and their values."""
