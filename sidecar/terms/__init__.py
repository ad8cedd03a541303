"""The nouns of the path: Call, Request, Decision, Record, errors; the Domain protocol."""
