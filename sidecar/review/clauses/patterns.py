"""What two globs have in common, without a text at hand: coverage, overlap, an example of both."""

import functools
from collections.abc import Callable
from typing import Final

from sidecar.syntax.glob import compiled, pieces

# Stands for "anything at all": no id holds it, so only another star takes it.
_ANYTHING: Final = "\ue000"
_FILLER: Final = "x"
_SEPARATORS: Final = (":", ".", "/")
# Longer patterns are compared by their beginnings alone.
_CHARS_MAX: Final = 200


@functools.lru_cache(maxsize=65_536)
def covers(general: str, special: str) -> bool:
    """Return whether every text of `special` is one of `general`; in doubt it is not."""
    return compiled(general)(_ANYTHING.join(pieces(special)))


def overlap(one: str, other: str) -> bool:
    """Return whether some text is of both patterns; in doubt there is one."""
    first, second = _literal(one), _literal(other)
    if not (first.startswith(second) or second.startswith(first)):
        return False
    if len(one) > _CHARS_MAX or len(other) > _CHARS_MAX:
        return True
    return meet(one, other) is not None


@functools.lru_cache(maxsize=16_384)
def meet(one: str, other: str) -> str | None:
    """Return a text that is of both patterns, None when there is none."""
    found = _Meeting(_tokens(one), _tokens(other)).of(0, 0)
    if found is None:
        return None
    return _filled(found, compiled(one), compiled(other))


def _filled(found: str, *fit: Callable[[str], bool]) -> str:
    """Return a text with something between its separators: an empty component names nothing."""
    at = 0
    while at <= len(found):
        is_open = at == 0 or found[at - 1] in _SEPARATORS
        longer = found[:at] + _FILLER + found[at:]
        if is_open and found[at : at + 1] in ("", *_SEPARATORS) and all(one(longer) for one in fit):
            found = longer
        at += 1
    return found


@functools.lru_cache(maxsize=65_536)
def _literal(pattern: str) -> str:
    return pieces(pattern)[0]


def _tokens(pattern: str) -> tuple[str, ...]:
    """Return the characters of a pattern, its stars as empty texts."""
    first, *rest = pieces(pattern)
    found = list(first)
    for run in rest:
        found += ["", *run]
    return tuple(found)


class _Meeting:
    """Walks two patterns side by side."""

    def __init__(self, one: tuple[str, ...], other: tuple[str, ...]) -> None:
        self._one = one
        self._other = other
        self._known: dict[tuple[int, int], str | None] = {}

    def of(self, at: int, by: int) -> str | None:
        """Return a text of what is left of both, None when there is none."""
        # Why from the end: a pattern is longer than the interpreter's stack is deep.
        for left in range(len(self._one), at - 1, -1):
            for right in range(len(self._other), by - 1, -1):
                self._known[left, right] = self._step(left, right)
        return self._known[at, by]

    def _step(self, left: int, right: int) -> str | None:
        one = self._one[left] if left < len(self._one) else None
        other = self._other[right] if right < len(self._other) else None
        if one is None and other is None:
            return ""
        if one == "":
            return self._starred((left + 1, right), (left, right + 1), other)
        if other == "":
            return self._starred((left, right + 1), (left + 1, right), one)
        below = self._known.get((left + 1, right + 1)) if one == other else None
        return None if below is None or one is None else one + below

    def _starred(
        self, ended: tuple[int, int], taken: tuple[int, int], char: str | None
    ) -> str | None:
        """Return a text where a star takes `char`, or nothing more."""
        found = self._known.get(ended)
        if found is not None or char is None:
            return found
        rest = self._known.get(taken)
        return None if rest is None else char + rest
