"""Bounds on statements, each with its reason."""

from typing import Final

# Longer statements cost milliseconds on the loop and are a loader's, not an agent's.
TEXT_BYTES_MAX: Final = 32 * 1024
# Brackets of any kind; deeper nesting is nobody's query and everybody's stack.
NESTING_MAX: Final = 48
# Comments inside comments: PostgreSQL's scanner takes time by the square of their depth.
COMMENT_NESTING_MAX: Final = 16
# What PostgreSQL keeps of a name (NAMEDATALEN - 1): it cuts longer ones to other names.
NAME_BYTES_MAX: Final = 63
# Statements of one application are few; each entry is some kilobytes.
CACHE_ENTRIES_MAX: Final = 4096
# Longer statements, and those that touch more, are read anew: a cache is bounded in bytes.
CACHED_CHARS_MAX: Final = 4096
CACHED_TARGETS_MAX: Final = 256
# FROM items of one statement: names are looked for in each of them.
RELATIONS_MAX: Final = 128
# PostgreSQL's own limit for a select list; nested `*, *` doubles at each level.
COLUMNS_MAX: Final = 1664
# `catalog` of a dry run, not of the wire.
PAYLOAD_TABLES_MAX: Final = 20_000
