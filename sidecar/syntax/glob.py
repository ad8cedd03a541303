r"""The one glob of policies: `*` is any run of characters; `\*` is a literal star.

Case-sensitive, anchored at both ends. The same function stands behind `match` and CEL's `glob()`.
Linear time: the pieces between the stars are looked for left to right, never backtracked.
"""

from collections.abc import Callable
from functools import lru_cache, partial

from sidecar.syntax.limits import GLOB_CHARS_MAX
from sidecar.terms.call import remembers


def pieces(pattern: str) -> tuple[str, ...]:
    r"""Return the literal runs between the stars; `a*b` is `("a", "b")`, `\*` a star in a run.

    Raises:
        ValueError: A backslash stands before anything but `*` or another backslash, or the pattern
            is too long.
    """
    if len(pattern) > GLOB_CHARS_MAX:
        msg = f"a glob longer than {GLOB_CHARS_MAX} characters"
        raise ValueError(msg)
    found = [""]
    index = 0
    while index < len(pattern):
        char = pattern[index]
        if char == "*":
            if found[-1] or len(found) == 1:
                found.append("")
        elif char == "\\":
            index += 1
            if index >= len(pattern) or pattern[index] not in "*\\":
                msg = r"in a glob a backslash stands only before `*` or `\`"
                raise ValueError(msg)
            found[-1] += pattern[index]
        else:
            found[-1] += char
        index += 1
    return tuple(found)


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> Callable[[str], bool]:
    """Return the matcher of `pattern`; see `pieces` for the syntax and the error."""
    runs = pieces(pattern)
    if len(runs) == 1:
        literal = runs[0]
        return lambda text: text == literal
    first, *middle, last = runs
    if not middle and not last:
        return partial(_begins, first) if first else _anything
    return partial(_matches, first, tuple(middle), last)


remembers(compiled.cache_clear)


# Why partial: a bundle keeps thousands of matchers, and closures are thrice as large.
def _anything(_text: str) -> bool:
    return True


def _begins(first: str, text: str) -> bool:
    return text.startswith(first)


def _matches(first: str, middle: tuple[str, ...], last: str, text: str) -> bool:
    if len(text) < len(first) + len(last):
        return False
    if not (text.startswith(first) and text.endswith(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for run in middle:
        at = text.find(run, at, end)
        if at < 0:
            return False
        at += len(run)
    return True


def glob(pattern: str, text: str) -> bool:
    """Return whether `text` matches `pattern` as a whole."""
    return compiled(pattern)(text)


def literal_prefix(pattern: str) -> tuple[str, bool]:
    """Return the text before the first star, and whether the pattern is that text alone."""
    runs = pieces(pattern)
    return runs[0], len(runs) == 1
