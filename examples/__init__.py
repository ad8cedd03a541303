"""Runnable stories; each is executed by a test."""
