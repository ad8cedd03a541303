"""Verbs that read records or a whole bundle: replay, suggest, surface."""
