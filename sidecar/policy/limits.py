"""Bounds on a bundle, each with its reason."""

from typing import Final

# A bundle is read whole and kept for ever beside the ledger.
BUNDLE_BYTES_MAX: Final = 32 * 1024 * 1024
BUNDLE_FILES_MAX: Final = 2_000
# Above this a rule set is generated, and the next step is a table in params.
RULES_MAX: Final = 20_000
EXPRESSION_CHARS_MAX: Final = 8_192
# Brackets in the text and levels of the tree; well above what a person can follow.
EXPRESSION_NESTING_MAX: Final = 100
# Buckets are keyed by words that a caller may choose (resource types of AuthZEN).
INDEX_BUCKETS_MAX: Final = 4_096
