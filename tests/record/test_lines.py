"""Sockets of workers: what is said goes out whole, whoever says it, and nobody is waited for."""

import socket
import threading
import time

import pytest

from sidecar.record.recorder import lines, wire
from sidecar.record.recorder.lines import Connection, Lines


@pytest.fixture
def ends():
    """Return a connection and the socket of its worker."""
    one, other = socket.socketpair()
    connection = Connection("worker-0", one)
    with other:
        other.settimeout(5)
        yield connection, other
        connection.close()


def test_what_two_threads_say_goes_out_whole_frame_by_frame(ends):
    connection, worker = ends
    said = [wire.Revoked(number, ("x" * 1000,)) for number in range(300)]

    def say(part: list[wire.Revoked]) -> None:
        for one in part:
            connection.tell(one)

    speakers = [threading.Thread(target=say, args=(said[half::2],)) for half in (0, 1)]
    for speaker in speakers:
        speaker.start()
    frames = wire.Frames()
    found: list[wire.Revoked] = []
    while len(found) < len(said):
        connection.flush()
        for body in frames.feed(worker.recv(65536)):
            one = wire.read_recorder(body)
            assert isinstance(one, wire.Revoked)
            found.append(one)
    for speaker in speakers:
        speaker.join()

    assert sorted(one.epoch for one in found) == list(range(300))
    for half in (0, 1):
        mine = [one.epoch for one in found if one.epoch % 2 == half]
        assert mine == sorted(mine)


def test_who_does_not_read_holds_nobody_up_and_is_cut_off_in_the_end(ends, monkeypatch):
    connection, _ = ends
    monkeypatch.setattr(lines, "UNTAKEN_BYTES_MAX", 1_000_000)
    began = time.monotonic()

    connection.say(bytes(900_000))
    assert (connection.is_alive, connection.is_behind) == (True, True)
    connection.say(bytes(900_000))

    # Whoever waits for it waits for ever; a busy machine takes its time.
    assert not connection.is_alive
    assert time.monotonic() - began < 5


def test_what_was_not_taken_goes_out_once_there_is_room(ends):
    connection, worker = ends
    all_lines = Lines()
    all_lines.add(connection)
    connection.say(bytes(3_000_000))
    taken = 0

    while taken < 3_000_000:
        taken += len(worker.recv(65536))
        assert all_lines.wait(0) == []

    assert not connection.is_behind
    all_lines.close()


def test_a_line_that_another_thread_cuts_is_found_with_nobody_there(ends):
    connection, _ = ends
    all_lines = Lines()
    all_lines.add(connection)
    threading.Timer(0.05, connection.cut).start()

    assert all_lines.wait(5) == [connection]

    assert connection.read() is None
    all_lines.close()


def test_whoever_waits_is_woken_also_when_that_was_before(ends):
    all_lines = Lines()

    for _ in range(5_000):
        all_lines.wake()
    began = time.monotonic()

    assert all_lines.wait(5) == []
    assert time.monotonic() - began < 4
    all_lines.close()
