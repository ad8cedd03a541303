"""CEL, ours: text → tree → checked types → Python code; one job a file."""
