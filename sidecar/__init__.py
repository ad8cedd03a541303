"""Decide, enforce and record every call before it happens."""

__version__ = "0.1.0"
