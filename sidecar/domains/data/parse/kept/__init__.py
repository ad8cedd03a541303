"""What was found out of texts, for those that come again: by all that it depends on, bounded.

```
text ─▶ texts ─┬▶ known
               └▶ forms ─┬▶ known but for its digest   (text/alike: other values alone)
                         └▶ shapes ─▶ our own reading known; PostgreSQL's grammar reads it again
```
All connections of a process share it: nothing in it hangs on whose they are. In each key stand the
catalogue's digest, the search path and the upstream. The oldest goes first, asked for or not: what
is asked for often is then found out once more for thousands that were not.
"""

import threading
from collections import OrderedDict, deque
from typing import Final, Generic, TypeVar

from sidecar.domains.data.limits import (
    CACHE_BYTES_MAX,
    CACHE_ENTRIES_MAX,
    CACHED_CHARS_MAX,
    CACHED_TARGETS_MAX,
)
from sidecar.domains.data.parse.statement import Statement
from sidecar.domains.data.parse.text.lexer import Token
from sidecar.terms.call import remembers
from sidecar.terms.request import Parsed

# What an analysis takes in any case, and for each of its targets (measured).
_BYTES: Final = 1536
_TARGET_BYTES: Final = 384

Key = TypeVar("Key")
Value = TypeVar("Value")


class Kept(Generic[Key, Value]):
    """Values by their keys, up to so many and so many bytes; looked up from any thread."""

    def __init__(self) -> None:
        self._found: OrderedDict[Key, Value] = OrderedDict()
        # In the same order.
        self._sizes: deque[int] = deque()
        self._lock = threading.Lock()
        self.size = 0
        self.get = self._found.get
        remembers(self.forget)

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._found)

    def put(self, key: Key, value: Value, size: int) -> None:
        """Keep what takes about `size` bytes; let go of the oldest where there is no room."""
        with self._lock:
            if key in self._found:
                return
            self._found[key] = value
            self._sizes.append(size)
            self.size += size
            while self.size > CACHE_BYTES_MAX or len(self._found) > CACHE_ENTRIES_MAX:
                self._found.popitem(last=False)
                self.size -= self._sizes.popleft()

    def forget(self) -> None:
        """Let go of all."""
        with self._lock:
            self._found.clear()
            self._sizes.clear()
            self.size = 0


# By the text or its form, the catalogue's digest, the search path, the upstream. Nothing in an
# analysis is ever changed.
TextKey = tuple[str, str, tuple[str, ...], str]
FormKey = tuple[bytes, str, tuple[str, ...], str]
texts: Final[Kept[TextKey, Parsed]] = Kept()
forms: Final[Kept[FormKey, Parsed]] = Kept()
# What our own reader makes of texts that differ in literals, space and comments alone.
ShapeKey = tuple[tuple[Token, ...], str, tuple[str, ...], str]
shapes: Final[Kept[ShapeKey, tuple[Statement, Parsed]]] = Kept()


def is_kept(text: str, parsed: Parsed) -> bool:
    """Return whether a text is short enough, and touches little enough, for this."""
    return len(text) <= CACHED_CHARS_MAX and len(parsed.targets) <= CACHED_TARGETS_MAX


def size_of(text: str, parsed: Parsed) -> int:
    """Return about how many bytes an analysis takes, with a text of which it is kept."""
    # Of a character four bytes in memory, where some are beyond the common ones.
    return _BYTES + 4 * len(text) + _TARGET_BYTES * len(parsed.targets)
