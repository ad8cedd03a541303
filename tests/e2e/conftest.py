"""A site for each test, in a folder of its own that is gone afterwards."""

from collections.abc import Iterator

import pytest

from tests.e2e.harness import Site, short_folder


@pytest.fixture
def site() -> Iterator[Site]:
    with short_folder() as folder:
        yield Site(folder)
