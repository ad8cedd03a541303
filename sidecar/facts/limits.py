"""Bounds on what this room reads, each with its reason."""

from typing import Final

# An issued key has 47 characters; longer texts are refused before they are hashed.
KEY_CHARS_MAX: Final = 512
# Long enough for any opaque identifier in use; short enough to stand in a record.
PARTY_TYPE_CHARS_MAX: Final = 128
PARTY_ID_CHARS_MAX: Final = 1024
# RFC 8693 puts no bound on a chain of delegation; nobody can account for a longer one than this.
ACTORS_MAX: Final = 8
# The entities file is read whole and stays in memory in every worker.
ENTITIES_BYTES_MAX: Final = 4 * 1024 * 1024
# A fact that takes longer is not had: its caller waits, and a rule that needs it denies.
FACTS_DEADLINE_S: Final = 1.0
# Of so many sets of keys facts are known again: as many as there are callers who speak for others.
STANDING_MAX: Final = 4096
# Long texts of one call that are read in another process, one after the other.
ERRANDS_MAX: Final = 16
