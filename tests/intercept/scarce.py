"""A process with few descriptors."""

import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from sidecar.intercept.limits import DESCRIPTORS_SPARE


@contextmanager
def few_descriptors(more: int) -> Iterator[None]:
    """Let this process have `more` descriptors besides those that are kept back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as one:
        limit = one.fileno() + more + DESCRIPTORS_SPARE
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
