"""Checked trees → values: exactly, and by Python code that gives up where it is not sure."""
