"""Bounds on what an AI call may hold, each with its reason."""

from typing import Final

# Names of tools, prompts, servers, agents, models: the longest in use are far below.
NAME_BYTES_MAX: Final = 256
# Ids of tasks and documents are opaque; longer ones do not fit a record.
OPAQUE_BYTES_MAX: Final = 1024
URI_BYTES_MAX: Final = 2048
# Each SQL text found in an argument becomes a call of its own, with its own analysis.
INNER_MAX: Final = 64
# Four statements of the largest size: together they hold every other call up for half a second.
INNER_CHARS_MAX: Final = 128 * 1024
# JSON inside a JSON string inside a JSON string: deeper is an attempt to hide.
TEXT_JSON_DEPTH_MAX: Final = 3
# Every element of a list is one target, and every target is decided.
ELEMENTS_MAX: Final = 1000
LABELS_MAX: Final = 64
MESSAGES_MAX: Final = 4096
TOOLS_MAX: Final = 512
# The provider's own bound for answers of one call.
ANSWERS_MAX: Final = 128
# 2^53 - 1: an id beyond it is another id to a reader of doubles (RFC 8259 §6).
ID_MAX: Final = 2**53 - 1
