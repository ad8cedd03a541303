"""Descriptors that connections leave to what comes besides: the next recorder's socket, a file."""

import resource
import socket

from sidecar.intercept.limits import DESCRIPTORS_SPARE


def is_spare_left() -> bool:
    """Return whether a descriptor is free that is not kept back."""
    try:
        # What a further one would be is found by having one for a moment.
        with socket.socket(socket.AF_UNIX) as further:
            return is_to_spare(further.fileno())
    except OSError:
        return False


def is_to_spare(fd: int) -> bool:
    """Return whether a descriptor of this number is none of those that are kept back.

    The lowest number that is free is given, so at least as many as it says are in use.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit == resource.RLIM_INFINITY or fd < limit - DESCRIPTORS_SPARE
