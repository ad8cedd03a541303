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
# A bucket of so many rules is made before the first call: of ten thousand it takes 0.2 s.
INDEX_PREPARED_MIN: Final = 512
# So many at most, the largest first: what no call asks for costs memory.
INDEX_PREPARED_MAX: Final = 16
# A bucket with fewer rules is scanned.
INDEX_SCAN_MAX: Final = 16
# Targets whose rules are remembered, when what names them is no longer than this together.
INDEX_TARGETS_MAX: Final = 16_384
INDEX_NAME_CHARS_MAX: Final = 512
# Rules in all of the different sets that targets have met; a large bundle has few large ones.
INDEX_RULES_MAX: Final = 131_072
# Rules in one emitted function: Python compiles such a one in some ten milliseconds.
BLOCK_RULES_MAX: Final = 32
# How often rules are asked one by one before that is worth it; whoever chooses names of resources
# must not be able to have code made at each call.
BLOCK_USES_MIN: Final = 8
# Fewer rules are asked sooner than told apart by what they compare.
GUARDED_RULES_MIN: Final = 16
GUARDED_PATHS_MAX: Final = 3
# Asking fewer rules costs less than looking at a path for their sake.
GUARDED_MIN: Final = 8
# Different lengths of the texts that a path may begin with; each is a look-up.
GUARD_LENGTHS_MAX: Final = 8
# Elements of a list that are looked up one by one; beyond, every rule is asked.
GUARD_ELEMENTS_MAX: Final = 256
# What is known to follow when certain rules of a set hold, and how many those may be.
VERDICTS_MAX: Final = 256
VERDICT_RULES_MAX: Final = 64
