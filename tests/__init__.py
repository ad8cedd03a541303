"""The specification: tables, laws, golden files and house rules."""
