"""What is remembered of calls is forgotten wherever it is."""

import gc
import weakref

from sidecar.terms.call import forget_calls, remembers


class Cache:
    """Remembers, and says that it does."""

    def __init__(self) -> None:
        self.kept = ["something"]
        remembers(self.forget)

    def forget(self) -> None:
        self.kept.clear()


def test_everybody_forgets() -> None:
    one, other, kept = Cache(), Cache(), {"module": "wide"}
    remembers(kept.clear)

    forget_calls()

    assert (one.kept, other.kept, kept) == ([], [], {})


def test_who_remembers_lives_no_longer_for_that() -> None:
    cache = Cache()
    lives = weakref.ref(cache)

    del cache
    gc.collect()

    assert lives() is None
    forget_calls()


def test_what_is_remembered_afterwards_is_forgotten_the_next_time() -> None:
    cache = Cache()
    forget_calls()
    cache.kept.append("again")

    forget_calls()

    assert cache.kept == []
