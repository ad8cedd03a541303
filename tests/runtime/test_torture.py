"""A sidecar is killed under load, again and again: what it has answered is on the record."""

import contextlib
import http.client
import os
import signal
import threading

import orjson
import pytest

from sidecar.record.disk import DISK
from sidecar.record.ledger import ledger_paths
from sidecar.record.proof import identity
from sidecar.record.segments.walk import walk
from sidecar.record.verify import verify

pytestmark = [pytest.mark.e2e, pytest.mark.torture, pytest.mark.timeout(600)]

CLIENTS = 4
ANSWERS = 40


class Load:
    """Clients that ask until the sidecar is gone; `acknowledged` are the ids that it answered."""

    def __init__(self, running) -> None:
        self.acknowledged: list[str] = []
        self._running = running
        self._enough = threading.Event()
        self._clients = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def _ask(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                self.acknowledged.append(self._running.evaluate()["context"]["id"])
                if len(self.acknowledged) >= ANSWERS:
                    self._enough.set()

    def until_enough(self) -> None:
        for client in self._clients:
            client.start()
        assert self._enough.wait(30)

    def end(self) -> list[str]:
        for client in self._clients:
            client.join()
        return self.acknowledged


def test_no_answered_decision_is_missing_after_kills(run, home, scaled):
    acknowledged: set[str] = set()
    for number in range(scaled(4, 50)):
        running = run()
        load = Load(running)
        load.until_enough()
        # The whole sidecar, or its worker first and then the rest: neither may lose a record.
        if number % 2:
            os.kill(running.ready["workers"][0], signal.SIGKILL)
        running.process.kill()
        acknowledged.update(load.end())
        running.process.communicate()

    last = run()
    last.signal(signal.SIGTERM)
    assert last.end()[0] == 0
    folder, key_file = ledger_paths(home / "state")
    who = identity.load(DISK, key_file)
    records = [orjson.loads(entry.record) for entry in walk(DISK, folder, who.origin)]
    decided = {record["id"] for record in records if record["kind"] == "decision"}
    assert len(acknowledged) >= ANSWERS
    assert acknowledged - decided == set()
    assert verify(folder, who.verifier, who.last_signed(DISK)).intact
    assert [record["log"]["seq"] for record in records] == list(range(len(records)))
