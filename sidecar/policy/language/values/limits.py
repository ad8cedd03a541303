"""Bounds on values and on the work of one function, each with its reason."""

from typing import Final

# What a function may make, in characters or bytes. `+` and `replace` can double a text at every
# step, and a policy has no use for a text larger than the largest body that it may judge.
TEXT_CHARS_MAX: Final = 1_048_576
# What a function may make, in elements: `lists.range`, `+`, `flatten`, `split`.
ITEMS_MAX: Final = 100_000
# Values visited by one deep comparison, conversion or formatting. The same list may stand in a
# value many times (`cel.bind(b, [a, a], …)`), so that a small value can be exponentially large. So
# many take about as long as the steps of one evaluation.
NODES_MAX: Final = 50_000
# The strict reader stops at 64 levels and the parser at 100 more; Python at a thousand frames.
DEPTH_MAX: Final = 180
# Numbers, times, addresses and quantities as text: longer ones are no such thing, and Python's
# conversions of long digits are not linear.
SCALAR_CHARS_MAX: Final = 400
# Digits after the point in `format`: beyond, every double has ended.
PRECISION_MAX: Final = 1_000
# A regular expression, in characters; RE2 compiles larger ones to megabytes.
PATTERN_CHARS_MAX: Final = 4_096
# Instructions times bytes: a bound on RE2's slowest way, some 1.5 ns a step here.
PATTERN_STEPS_MAX: Final = 50_000_000
# The same, summed over all matches of one call: each starts a new search.
PATTERN_STEPS_ALL_MAX: Final = 100_000_000
# What RE2 may keep for one expression while it matches, in bytes.
PATTERN_MEMORY_MAX: Final = 1_048_576
# A quantity's size in units of 10^-9: far above any resource, far below slow arithmetic.
QUANTITY_NANOS_MAX: Final = 10**60
