"""Bounds on everything that is read from outside, each with its reason."""

from typing import Final

# Deep enough for any schema in use; far below the interpreter's recursion limit.
JSON_DEPTH_MAX: Final = 64
# A body is judged whole, so it is held whole.
JSON_BYTES_MAX: Final = 8 * 1024 * 1024
# What one value costs, from reader to record, is a fraction of a microsecond; the loop is held
# meanwhile. The largest plans and prompts have some ten thousand.
JSON_VALUES_MAX: Final = 100_000
# What operators give may take its time: as many as the bytes of such a file hold.
JSON_FILE_VALUES_MAX: Final = 4_000_000
# 2^53 - 1: beyond it consumers that read numbers as doubles see another value (RFC 8259 §6).
JSON_INT_MAX: Final = 2**63 - 1
# The largest files are catalogues of databases: six thousand tables of thirty columns.
YAML_BYTES_MAX: Final = 8 * 1024 * 1024
YAML_DEPTH_MAX: Final = 48
YAML_NODES_MAX: Final = 1_000_000
PATH_BYTES_MAX: Final = 8 * 1024
PATH_SEGMENTS_MAX: Final = 256
# An id that a path of the largest size makes; patterns may be made of what callers send, and the
# compiled ones are kept.
GLOB_CHARS_MAX: Final = 32 * 1024
