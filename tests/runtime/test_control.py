"""What a process has of its line to the supervisor."""

import resource
import socket

import pytest

from sidecar.runtime.processes.control import Post
from sidecar.terms.errors import RecordError


@pytest.fixture
def handing():
    """Return a process's post, and the end at which descriptors are handed to it."""
    control, descriptors = socket.socketpair(), socket.socketpair()
    post = Post([str(control[1].detach()), str(descriptors[1].detach())])
    yield post, descriptors[0]
    for one in (control[0], descriptors[0], post.control, post._descriptors):
        one.close()


def test_a_socket_that_was_handed_in_is_had(handing):
    post, hands = handing
    with socket.socket(socket.AF_UNIX) as one:
        socket.send_fds(hands, [b"."], [one.fileno()])
        with post.handed() as handed:
            assert handed.family == socket.AF_UNIX


def test_without_a_free_descriptor_it_is_said_why_and_the_next_one_is_had(handing):
    post, hands = handing
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket(socket.AF_UNIX) as one:
        socket.send_fds(hands, [b"."], [one.fileno()])
        resource.setrlimit(resource.RLIMIT_NOFILE, (one.fileno() + 1, hard))
        try:
            with pytest.raises(RecordError, match="no descriptor is free"):
                post.handed()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

        socket.send_fds(hands, [b"."], [one.fileno()])
        post.handed().close()
