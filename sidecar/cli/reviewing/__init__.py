"""Verbs that ask the reviewer: test, lint, fmt, replay, suggest, surface."""
