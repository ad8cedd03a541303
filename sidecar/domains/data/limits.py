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
# Statements of one application are few; each entry is some kilobytes. There are three such caches:
# by text, by form, by shape.
CACHE_ENTRIES_MAX: Final = 4096
CACHE_BYTES_MAX: Final = 16 * 1024 * 1024
# Longer statements, and those that touch more, are read anew: few would push out many.
CACHED_CHARS_MAX: Final = 4096
CACHED_TARGETS_MAX: Final = 256
# Where another process reads long texts, those that take the loop more than some milliseconds: 4 ms
# a kilobyte, and a rewritten one is read four times.
READ_AT_HAND_CHARS_MAX: Final = 2048
REWRITTEN_AT_HAND_CHARS_MAX: Final = 512
# What it answers is kept by its size, of which it takes about ten times in memory. One answer must
# leave room for others of the same call.
ANSWER_BYTES_MAX: Final = 2 * 1024 * 1024
KEPT_BYTES_MAX: Final = 4 * ANSWER_BYTES_MAX
# Names by how texts write them: those of an application's tables and columns are few.
NAMES_KEPT_MAX: Final = 4096
# FROM items of one statement: names are looked for in each of them.
RELATIONS_MAX: Final = 128
# How often columns may be read, each for each value that came from it: a wide query through some
# dozen others, and a tenth of a second.
USES_MAX: Final = 200_000
# Statements of one text that are decided and sent one after another: a migration, not a loader.
APART_MAX: Final = 100
# How often bodies of recursive queries are read again; one inside another multiplies.
REPEATS_MAX: Final = 32
# PostgreSQL's own limit for a select list, and for a row; nested `*, *` doubles at each level.
COLUMNS_MAX: Final = 1664
# `catalog` of a dry run, not of the wire.
PAYLOAD_TABLES_MAX: Final = 20_000
# A view's query stands in the statement in its place, and the statement is bounded itself.
VIEW_CHARS_MAX: Final = 16 * 1024
# Views of views; each level is read again.
VIEWS_DEPTH_MAX: Final = 8
# Types in types: each is looked into for what a cast to it would run.
TYPES_WITHIN_MAX: Final = 256
