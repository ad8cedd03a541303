"""A syntax tree → the same with its names resolved, its type, and every mistake with its place."""
