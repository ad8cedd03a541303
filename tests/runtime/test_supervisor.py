"""The real `sidecar run`: it serves, reloads, drains, restarts, and leaves nothing behind."""

import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sidecar.record.disk import DISK
from sidecar.record.ledger import ledger_paths
from sidecar.record.proof import identity
from sidecar.record.read import Reader
from sidecar.record.verify import verify

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(30)]


def gone(pid: int) -> bool:
    """Return whether a process ends within seconds; one that is only not reaped is gone."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        # A descriptor may be any number here, and `select` takes small ones alone.
        waiting = select.poll()
        waiting.register(watched, select.POLLIN)
        return bool(waiting.poll(10_000))
    finally:
        os.close(watched)


def test_it_serves_what_it_says(run):
    running = run()

    assert running.ask("/healthz") == b""
    assert running.ask("/readyz") == b""
    assert running.evaluate()["decision"] is True
    assert running.ask("/v1/status")["ready"] is True
    assert b"sidecar_decisions_total{" in running.ask("/metrics")


def documented() -> dict[str, str]:
    """Return the table of metrics in the room's README: name → kind."""
    text = (ROOT / "sidecar" / "runtime" / "README.md").read_text()
    return dict(re.findall(r"^\| `(sidecar_\w+)` \| (\w+) \|", text, re.MULTILINE))


def test_every_metric_that_is_shown_is_documented_and_every_documented_one_is_shown(run):
    running = run()
    running.evaluate()

    text = running.ask("/metrics").decode()
    shown = dict(re.findall(r"^# TYPE (sidecar_\w+) (\w+)$", text, re.MULTILINE))

    assert shown == documented()
    assert "sidecar_decisions_total" in shown


def test_metrics_are_those_of_all_processes_and_never_go_back(run):
    running = run("--workers", "2")

    def counted(name: str) -> float:
        text = running.ask("/metrics").decode()
        return sum(
            float(found) for found in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
        )

    for _ in range(20):
        running.evaluate()
    assert counted("sidecar_decisions_total") == 20
    assert counted("sidecar_workers_up") == 2
    for victim in (*running.ready["workers"], running.ready["recorder"]):
        before = counted("sidecar_ledger_records_total"), counted("sidecar_decisions_total")
        os.kill(victim, signal.SIGKILL)
        running.until_ready()
        running.evaluate()
        assert counted("sidecar_ledger_records_total") > before[0]
        assert counted("sidecar_decisions_total") > before[1]
    assert counted("sidecar_worker_restarts_total") == 2
    assert counted("sidecar_recorder_restarts_total") == 1


def test_a_worker_that_does_not_take_a_revocation_is_ended_and_another_serves(run, home):
    with (home / "sidecar.yaml").open("a") as config:
        config.write("facts: {revoked: ./revoked.yaml}\n")
    (home / "revoked.yaml").write_text("[]")
    running = run("--workers", "2")
    os.kill(running.ready["workers"][0], signal.SIGSTOP)

    (home / "revoked.yaml").write_text('["service:app"]')

    running.until_told("does not do what it must")
    running.until_told("died (signal 9); started again")
    running.until_ready()
    assert running.evaluate()["context"]["reason"] == "revoked"


def test_two_workers_serve_one_address_and_each_dies_alone(run):
    running = run("--workers", "2")
    before = running.ready

    os.kill(before["workers"][0], signal.SIGKILL)
    running.until_ready()

    assert len(running.ready["workers"]) == 2
    assert len(set(before["workers"]) & set(running.ready["workers"])) == 1
    assert running.ask("/v1/status")["workers"] == {"wanted": 2, "up": 2}


def test_a_reload_is_over_when_every_worker_judges_by_the_new_bundle(run, home, write_bundle):
    running = run("--workers", "3")
    for number in (2, 3):
        write_bundle(home / "bundle", number)
        running.signal(signal.SIGHUP)
        running.until_told(f"bundle active: trial {number}.0")
        # Each request is a new connection, taken by whichever worker is first.
        seen = {running.evaluate()["context"]["policy"]["version"] for _ in range(30)}
        assert {version.partition("-")[0] for version in seen} == {f"{number}.0"}


def test_a_worker_started_while_a_reload_came_judges_by_what_is_in_force(run, home, write_bundle):
    running = run("--workers", "2")
    write_bundle(home / "bundle", 2)
    running.signal(signal.SIGHUP)

    os.kill(running.ready["workers"][1], signal.SIGKILL)

    running.until_ready()
    running.until_told("bundle active: trial 2.0")
    seen = {running.evaluate()["context"]["policy"]["version"] for _ in range(30)}
    assert {version.partition("-")[0] for version in seen} == {"2.0"}


def test_the_recorder_alone_has_the_ledger_open(run, home):
    running = run()
    key = str(ledger_paths(home / "state")[1])

    def opened(pid: int) -> set[str]:
        return {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}

    ledger = str(ledger_paths(home / "state")[0])
    holders = {
        name: any(path.startswith(ledger) for path in opened(pid))
        for name, pid in (
            ("recorder", running.ready["recorder"]),
            ("worker", running.ready["workers"][0]),
        )
    }
    assert holders == {"recorder": True, "worker": False}
    assert Path(key).stat().st_mode & 0o777 == 0o600


def test_its_unix_socket_is_its_users_alone(run, home):
    run()

    assert (home / "ask.sock").stat().st_mode & 0o777 == 0o600


def test_a_hangup_takes_in_a_changed_bundle(run, home, write_bundle):
    running = run()
    running.until_told("bundle active: trial 1.0")
    write_bundle(home / "bundle", 2)

    running.signal(signal.SIGHUP)

    running.until_told("bundle active: trial 2.0")
    assert running.ask("/v1/status")["policy"]["version"].startswith("2.0-dev+")
    assert running.evaluate()["context"]["policy"]["version"].startswith("2.0-dev+")


def test_a_changed_file_is_taken_in_without_being_told(run, home, write_bundle):
    running = run()
    running.until_told("bundle active: trial 1.0")

    write_bundle(home / "bundle", 2)

    running.until_told("bundle active: trial 2.0")


def test_a_reload_under_load_fails_no_request_and_mixes_no_versions(run, home, write_bundle):
    running = run()
    running.until_told("bundle active: trial 1.0")
    is_asking, is_over = threading.Event(), threading.Event()
    seen: list[tuple[str, str]] = []
    failed: list[Exception] = []

    def load() -> None:
        try:
            while not is_over.is_set():
                said = running.ask(
                    "/v1/decide", {"protocol": "authzen", "call": running.evaluation}
                )
                seen.append((said["policy"]["version"], said["rules"][0]["id"]))
                is_asking.set()
        except (OSError, http.client.HTTPException, KeyError, IndexError) as error:
            failed.append(error)

    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()
    assert is_asking.wait(10)
    for number in range(2, 8):
        write_bundle(home / "bundle", number)
        running.signal(signal.SIGHUP)
        running.until_told(f"bundle active: trial {number}.0")
    is_over.set()
    for client in clients:
        client.join()

    assert failed == []
    assert seen[0][0].startswith("1.0-dev+")
    assert running.ask("/v1/status")["policy"]["version"].startswith("7.0-dev+")
    assert all(version.startswith(f"{rule[len('rule-') :]}.0-dev+") for version, rule in seen)


def test_a_broken_bundle_keeps_the_old_one_in_force(run, home):
    running = run()
    (home / "bundle" / "policy.yaml").write_text("apiVersion: sidecar/v1\nkind: Polic\n")

    running.signal(signal.SIGHUP)

    running.until_told("bundle refused")
    running.until_told("policy.yaml:")
    assert running.ask("/v1/status")["policy"]["version"].startswith("1.0-dev+")
    assert running.evaluate()["decision"] is True


def test_it_ends_when_told_and_leaves_an_intact_ledger(run, home):
    running = run()
    running.evaluate()

    running.signal(signal.SIGTERM)

    code, _ = running.end()
    ledger, key_file = ledger_paths(home / "state")
    report = verify(ledger, identity.load(DISK, key_file).verifier)
    assert code == 0
    assert gone(running.ready["workers"][0])
    assert not (home / "ask.sock").exists()
    # start, bundle_activated, the decision, stop: all of them signed.
    assert (report.intact, report.records, report.signed) == (True, 4, 4)


def test_a_keyboard_interrupt_ends_it_as_well(run):
    running = run()

    running.signal(signal.SIGINT)

    assert running.end()[0] == 0


def test_a_call_under_way_is_answered_before_it_ends(run):
    running = run()
    host, _, port = running.base.removeprefix("http://").rpartition(":")
    body = json.dumps(running.evaluation).encode()
    head = (
        f"POST /access/v1/evaluation HTTP/1.1\r\nHost: {host}:{port}\r\n"
        f"Authorization: Bearer {running.key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + body[:10])
        # The head has been read when the other request, sent after it, is answered.
        running.ask("/v1/status")
        running.signal(signal.SIGTERM)
        connection.sendall(body[10:])
        answer = connection.makefile("rb").readline()

    assert answer.startswith(b"HTTP/1.1 200")
    assert running.end()[0] == 0


def test_a_supervisor_that_is_killed_leaves_nothing_running(run):
    running = run()

    running.signal(signal.SIGKILL)

    assert gone(running.ready["workers"][0])


def test_a_worker_that_is_killed_is_started_again_behind_the_same_port(run):
    running = run()
    before = running.ready

    os.kill(before["workers"][0], signal.SIGKILL)
    running.until_ready()

    assert running.ready["listeners"] == before["listeners"]
    assert running.ready["workers"] != before["workers"]
    assert running.ready["recorder"] == before["recorder"]
    assert running.evaluate()["decision"] is True


def test_a_worker_started_again_serves_the_last_good_bundle(run, home):
    running = run()
    (home / "bundle" / "policy.yaml").write_text("kind: [")

    os.kill(running.ready["workers"][0], signal.SIGKILL)
    running.until_ready()

    assert running.ask("/v1/status")["policy"]["version"].startswith("1.0-dev+")


def test_a_broken_bundle_does_not_start(run, home):
    (home / "bundle" / "policy.yaml").write_text("kind: [")

    code, said = run(ready=False).end()

    assert code == 3
    assert "sidecar: policy.yaml:2:1:" in said
    assert not (home / "ask.sock").exists()


def test_a_configuration_that_cannot_be_used_says_where(run, home):
    with (home / "sidecar.yaml").open("a") as text:
        text.write("port: 1\n")

    code, said = run(ready=False).end()

    assert code == 2
    assert "sidecar.yaml:5:7: unknown field `port`" in said


def test_a_second_sidecar_on_the_same_ledger_does_not_start(run, home):
    run()
    other = home / "sidecar.yaml"
    other.write_text(other.read_text().replace("unix:ask.sock", "unix:other.sock"))

    code, said = run(ready=False).end()

    assert code == 20
    assert "ledger" in said


def test_a_ledger_that_was_changed_does_not_start(run, home):
    first = run()
    first.evaluate()
    first.signal(signal.SIGTERM)
    first.end()
    (segment,) = (home / "state" / "ledger").glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)

    assert run(ready=False).end()[0] == 20


def test_a_socket_that_another_process_answers_on_is_not_taken(run, home):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(home / "ask.sock"))
        other.listen()

        code, said = run(ready=False).end()

    assert code == 2
    assert "another process answers there" in said
    assert (home / "ask.sock").exists()


def test_a_socket_that_nobody_answers_on_is_replaced(run, home):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(home / "ask.sock"))

    assert run().evaluate()["decision"] is True


def test_a_file_where_the_socket_belongs_is_let_be(run, home):
    (home / "ask.sock").write_text("precious")

    assert run(ready=False).end()[0] == 2
    assert (home / "ask.sock").read_text() == "precious"


def test_a_port_that_is_taken_is_said(run, home):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        file = home / "sidecar.yaml"
        file.write_text(file.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))

        code, said = run(ready=False).end()

    assert code == 2
    assert f"cannot bind 127.0.0.1:{port}" in said


def test_a_state_that_others_look_into_is_refused(run, home):
    (home / "state").mkdir(mode=0o755)

    code, said = run(ready=False).end()

    assert code == 2
    assert "chmod 700" in said


def test_a_number_of_workers_that_is_a_mistake_is_said(run):
    code, said = run("--workers", "1000", ready=False).end()

    assert code == 2
    assert "`workers` is a number from 1 to" in said


def test_nobody_else_may_listen_on_its_port(run):
    running = run()
    host, _, port = running.base.removeprefix("http://").rpartition(":")

    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="in use"):
            thief.bind((host, int(port)))


HTTP_POLICY = """\
apiVersion: sidecar/v1
kind: Policy
metadata: {name: reads}
spec:
  match: {protocols: [http], classes: [read]}
  rules:
    - {id: reads-are-open, effect: allow, when: "resource.upstream == 'shop'"}
"""


class Upstream(BaseHTTPRequestHandler):
    """Answers with what reached it."""

    def do_GET(self) -> None:
        body = json.dumps({"path": self.path, "authorization": self.headers["Authorization"]})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    do_DELETE = do_GET  # noqa: N815 - the standard library's own word

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as above
        pass


@pytest.fixture
def proxied(run, home):
    """A sidecar with all three kinds of listeners, in front of an upstream that answers."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        (home / "bundle" / "http.yaml").write_text(HTTP_POLICY)
        (home / "secret").write_text("Bearer upstream-key\n")
        (home / "login").write_text("agent:hunter2\n")
        with (home / "sidecar.yaml").open("a") as text:
            text.write(
                "  - {name: api, protocol: http, bind: '127.0.0.1:0', upstream: "
                f"{{name: shop, url: 'http://127.0.0.1:{server.server_port}', "
                "credential: {file: secret}}}\n"
                "  - {name: erp, protocol: postgres, bind: '127.0.0.1:0', upstream: "
                "{url: 'postgres://127.0.0.1:1/erp', credential: {file: login}}}\n"
            )
        yield run()
        server.shutdown()
        serving.join()


def through(running, method: str) -> tuple[int, dict]:
    (address,) = running.ready["listeners"]["api"]
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request(method, "/a?b=c", headers={"Sidecar-Authorization": f"Bearer {running.key}"})
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return answer.status, content


def test_what_is_allowed_goes_through_with_the_upstreams_own_credential(proxied):
    status, seen = through(proxied, "GET")

    assert status == 200
    assert seen == {"path": "/a?b=c", "authorization": "Bearer upstream-key"}


def test_what_is_not_allowed_does_not_go_through(proxied):
    status, said = through(proxied, "DELETE")

    assert status == 403
    assert said["reason"] == "no_rule"


def test_what_comes_of_a_call_is_counted_for_every_listener(proxied):
    through(proxied, "GET")
    through(proxied, "DELETE")

    told = proxied.ask("/metrics").decode()
    for outcome in ("allow", "deny"):
        assert (
            f'sidecar_answers_total{{listener="api",outcome="{outcome}",protocol="http"}} 1.0'
            in told
        )


def test_a_database_that_is_down_does_not_keep_the_others_from_serving(proxied):
    assert proxied.ask("/v1/status")["listeners"] == ["api", "ask", "erp"]
    assert len(proxied.ready["listeners"]["erp"]) == 1


def test_who_is_put_on_the_revocation_list_is_denied_from_the_record_on(run, home):
    with (home / "sidecar.yaml").open("a") as config:
        config.write("facts: {revoked: ./revoked.yaml}\n")
    (home / "revoked.yaml").write_text("[]")
    running = run()
    assert running.evaluate()["decision"] is True

    (home / "revoked.yaml").write_text('["service:app"]')
    running.until_told("revoked: service:app")

    said = running.evaluate()
    assert said["decision"] is False
    assert said["context"]["reason"] == "revoked"


def test_a_revocation_outlives_the_process_and_ends_with_the_list(run, home):
    with (home / "sidecar.yaml").open("a") as config:
        config.write("facts: {revoked: ./revoked.yaml}\n")
    (home / "revoked.yaml").write_text('["service:app"]')
    first = run()
    assert first.evaluate()["decision"] is False
    first.signal(signal.SIGTERM)
    first.end()

    second = run()
    assert second.evaluate()["decision"] is False
    (home / "revoked.yaml").write_text("[]")
    second.until_told("no longer revoked: service:app")

    assert second.evaluate()["decision"] is True


@pytest.mark.parametrize("text", ["{a: b}", "[alice]", "[1]", "user:alice", "[':x']"])
def test_a_revocation_list_that_cannot_be_read_does_not_start(run, home, text):
    with (home / "sidecar.yaml").open("a") as config:
        config.write("facts: {revoked: ./revoked.yaml}\n")
    (home / "revoked.yaml").write_text(text)

    code, said = run(ready=False).end()

    assert code == 2
    assert "revoked.yaml" in said


def test_who_is_refused_before_there_is_a_call_is_told_and_on_the_record(run, home):
    running = run()
    for _ in range(3):
        asked = urllib.request.Request(
            running.base + "/v1/status", headers={"Authorization": "Bearer swk_wrong"}
        )
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(asked, timeout=10)
    running.until_told("refused before there was a call: credential, over tcp at listener ask")
    running.signal(signal.SIGTERM)
    code, _ = running.end()

    assert code == 0
    assert sum(one["detail"]["count"] for one in told(home, "refusals")) == 3


def told(home, event: str) -> list[dict]:
    """Return the records of an event."""
    records = map(json.loads, Reader(ledger_paths(home / "state")[0]).new())
    return [one for one in records if one.get("event") == event]


def test_entities_that_change_are_taken_in_on_the_record(run, home):
    with (home / "sidecar.yaml").open("a") as config:
        config.write("facts: {entities: ./entities.yaml}\n")
    (home / "entities.yaml").write_text("user: {alice: {role: admin}}")
    running = run()
    running.until_told("entities active: entities.yaml sha256:")

    (home / "entities.yaml").write_text("user: {alice: {role: guest}}")
    running.until_told("entities active: entities.yaml sha256:")
    (home / "entities.yaml").write_text("user: [alice]")
    running.until_told("entities.yaml:1:7: expected a mapping of ids")
    running.signal(signal.SIGTERM)
    assert running.end()[0] == 0

    digests = [one["detail"]["digest"] for one in told(home, "entities_activated")]
    kept = [home / "state" / "entities" / f"{digest[7:]}.yaml" for digest in digests]
    assert ["admin" in file.read_text() for file in kept] == [True, False]
    assert len(told(home, "entities_refused")) == 1


def test_what_init_writes_runs_after_its_key_was_handed_over(run, home):
    shop = home / "shop"
    command_line(home, "init", shop)
    config = shop / "sidecar.yaml"
    config.write_text(config.read_text().replace("127.0.0.1:8282", "127.0.0.1:0"))
    key = command_line(home, "log", "key", "-c", config).strip()
    assert (shop / "state").stat().st_mode & 0o777 == 0o700

    running = run(folder=shop)
    running.signal(signal.SIGTERM)
    assert running.end()[0] == 0

    assert "intact  " in command_line(home, "log", "verify", shop / "state/ledger", "--key", key)


def command_line(folder, *arguments) -> str:
    """Run `sidecar` and return what it prints; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
