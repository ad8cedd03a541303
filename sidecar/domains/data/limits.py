"""Bounds on statements, each with its reason."""

from typing import Final

# Longer statements cost milliseconds on the loop and are a loader's, not an agent's.
TEXT_BYTES_MAX: Final = 32 * 1024
# Brackets of any kind; deeper nesting is nobody's query and everybody's stack.
NESTING_MAX: Final = 48
# What PostgreSQL keeps of a name (NAMEDATALEN - 1): it cuts longer ones to other names.
NAME_BYTES_MAX: Final = 63
# Statements of one application are few; each entry is some kilobytes.
CACHE_ENTRIES_MAX: Final = 4096
# `catalog` of a dry run, not of the wire.
PAYLOAD_TABLES_MAX: Final = 20_000
