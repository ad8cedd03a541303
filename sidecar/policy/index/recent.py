"""A bounded memory of what was asked for lately, for answers that can be found again."""

from collections.abc import Callable
from typing import Generic, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")


class Recent(Generic[_K, _V]):
    """Two halves: when the young one is full it becomes the old one, which is forgotten.

    What is found in the old half moves to the young. Threads may share one: at worst something is
    forgotten early.

    Attributes:
        turns: How often the old half was forgotten.
        young: For who asks so often that a call costs; what is not in it may be in the old half.
    """

    __slots__ = ("__weakref__", "_half", "_left", "_old", "_size_of", "turns", "young")

    def __init__(self, size_max: int, size_of: Callable[[_V], int] = lambda _: 1) -> None:
        self._half = self._left = size_max // 2
        self._size_of = size_of
        self.turns = 0
        self.young: dict[_K, _V] = {}
        self._old: dict[_K, _V] = {}

    def get(self, key: _K) -> _V | None:
        """Return what is remembered."""
        found = self.young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: _K, value: _V) -> None:
        """Remember; the key is of bounded size itself."""
        size = self._size_of(value)
        if self._left < size and self.young:
            self.turn()
        self._left -= size
        self.young[key] = value

    def clear(self) -> None:
        """Forget everything."""
        self.turn()
        self._old = {}

    def turn(self) -> None:
        """Forget the old half."""
        self.turns += 1
        self._old, self.young = self.young, {}
        self._left = self._half
