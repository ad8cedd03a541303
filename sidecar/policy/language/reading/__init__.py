"""Text → the syntax tree of CEL, or a problem with its place."""
