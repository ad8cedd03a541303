"""What the proxy's tests stand on: a real upstream, a paper ledger, a raw client."""

import asyncio
import socket
from contextlib import asynccontextmanager
from itertools import count

from aiohttp import web

from sidecar import flow
from sidecar.domains.application import DOMAIN
from sidecar.intercept.http_proxy import HttpProxy, HttpProxySettings
from sidecar.policy.bundle import compile_bundle
from sidecar.terms.call import Identity, Party
from sidecar.terms.decision import Fact
from sidecar.terms.errors import RecordError
from sidecar.terms.ids import rfc3339, uuid7
from sidecar.terms.record import DecisionRecord
from tests.namebook import Namebook

KEY = "swk_test"
ALICE = Identity(Party("user", "alice"), (Party("agent", "bot"),))
BUNDLE = """\
name: app
version: "1.0.0"
"""
CATALOG = """\
apiVersion: sidecar/v1
kind: Catalog
metadata: {name: api}
spec:
  protocol: http
  routes:
    - {method: GET, path: "/users/{id}", name: getUser}
    - {method: DELETE, path: "/users/{id}", name: deleteUser}
"""
POLICY = """\
apiVersion: sidecar/v1
kind: Policy
metadata: {name: users}
spec:
  match: {protocols: [http]}
  rules:
    - {id: open, effect: allow, match: {classes: [read, write, delete]}}
    - {id: kept, effect: deny, match: {actions: [deleteUser]}, message: users are kept}
"""
READS_BODY = """\
    - id: no-admins
      effect: deny
      match: {actions: [POST]}
      when: request.http.body.role == 'admin'
"""


class PaperLedger(Namebook):
    """Keeps records in memory and says when each came; fails while `is_full`."""

    def __init__(self, events):
        self.records = []
        self.events = events
        self.is_full = False
        self.refuses_outcomes = False

    async def write(self, record, side=()):
        is_decision = isinstance(record, DecisionRecord)
        if self.is_full or (self.refuses_outcomes and not is_decision):
            raise RecordError("no space left")
        self.events.append("decision" if is_decision else "outcome")
        self.records.append(record)


class Nobody:
    """Facts: nobody is revoked."""

    def at_hand(self, keys):
        return {}

    async def fetch(self, keys):
        return {key: Fact(False, "paper", "1") for key in keys if key.function == "revoked"}


class Upstream:
    """A real server that keeps what reached it and answers as it is told by the path."""

    def __init__(self, events):
        self.events = events
        self.seen = []
        self.bodies = []
        self.go_on = asyncio.Event()

    async def answer(self, request):
        self.events.append("upstream")
        self.seen.append((request.method, request.raw_path, list(request.headers.items())))
        if request.path == "/early":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(await request.content.readany())
            self.bodies.append(await request.read())
            return response
        self.bodies.append(await request.read())
        if request.path == "/events":
            return await self._events(request)
        if request.path.startswith("/broken/"):
            length = {"Content-Length": "9"} if request.path == "/broken/length" else {}
            response = web.StreamResponse(headers=length)
            await response.prepare(request)
            await response.write(b"half")
            request.transport.abort()
            return response
        if request.path == "/moved":
            return web.Response(status=302, headers={"Location": "http://elsewhere/"})
        if request.path == "/packed":
            hops = {"Connection": "X-Hop", "X-Hop": "1", "Keep-Alive": "1"}
            packed = {"Content-Encoding": "gzip", **hops}
            return web.Response(body=b"\x1f\x8b packed", headers=packed)
        return web.Response(text="hello", headers={"X-Seen": "yes"})

    async def _events(self, request):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        await self.go_on.wait()
        await response.write(b"data: 2\n\n")
        return response

    def names(self, place=-1):
        return {name.lower() for name, _ in self.seen[place][2]}


def bound():
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    return listening


class Stand:
    """The proxy between a raw client and a real upstream."""

    def __init__(self, policy=POLICY):
        self.events: list[str] = []
        self.refusals: list[tuple[str, str, str]] = []
        self.outcomes_counted: list[str] = []
        self.ledger = PaperLedger(self.events)
        self.upstream = Upstream(self.events)
        self.known = {KEY: ALICE}
        texts = {"bundle.yaml": BUNDLE, "catalog/api.yaml": CATALOG, "policies/users.yaml": policy}
        files = {name: text.encode() for name, text in texts.items()}
        self.bundle = compile_bundle(files, dict.fromkeys(DOMAIN.protocols, DOMAIN))
        self.port = 0
        self.proxy: HttpProxy | None = None
        ticks = count(1)
        self.path = flow.Path(
            bundle=lambda: self.bundle,
            ledger=self.ledger,
            facts=Nobody(),
            new_id=lambda: uuid7(1_700_000_000_000, next(ticks).to_bytes(10, "big")),
            now=lambda: rfc3339(1_700_000_000_000_000),
        )

    def identify(self, token: str) -> Identity | None:
        return self.known.get(token)

    def refused(self, listener, code, source):
        self.refusals.append((listener, code, source))

    def decided(self, listener, protocol, decision):
        self.outcomes_counted.append(decision.outcome)

    @property
    def outcomes(self):
        return [one for one in self.ledger.records if not isinstance(one, DecisionRecord)]

    async def connect(self):
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def begin(self, line, *headers):
        """Send one head with the credential on a connection that stays open."""
        reader, writer = await self.connect()
        lines = [f"{line} HTTP/1.1", "Host: a", f"Sidecar-Authorization: Bearer {KEY}", *headers]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        return reader, writer

    async def send(self, raw):
        """Send bytes, end of input after them, and return all that comes back."""
        reader, writer = await self.connect()
        writer.write(raw)
        answer = await reader.read()
        writer.close()
        return answer

    async def ask(self, line, *headers, body=b"", key=KEY):
        """Send one request with the credential; return status, head and body."""
        lines = [f"{line} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
        if key is not None:
            lines.append(f"Sidecar-Authorization: Bearer {key}")
        answer = await self.send("\r\n".join([*lines, "", ""]).encode() + body)
        head, _, rest = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), head.decode().lower(), rest


@asynccontextmanager
async def standing(policy=POLICY, upstream_up=True, raw_upstream=None, **settings):
    """Yield a Stand with everything running, and end all of it.

    Args:
        policy: Of the bundle.
        upstream_up: Whether there is an upstream.
        raw_upstream: Handles a connection's streams in place of the upstream that answers.
        settings: Of the proxy.
    """
    stand = Stand(policy)
    behind, before = bound(), bound()
    url = f"http://127.0.0.1:{behind.getsockname()[1]}"
    server = web.Server(stand.upstream.answer, access_log=None, auto_decompress=False)
    if raw_upstream is not None:
        listening = await asyncio.start_server(raw_upstream, sock=behind)
    elif upstream_up:
        listening = await asyncio.get_running_loop().create_server(server, sock=behind)
    else:
        behind.close()
        listening = None
    proxy = HttpProxy(
        HttpProxySettings("web", "crm", url, **settings), stand.path, stand.identify, stand
    )
    stand.port = before.getsockname()[1]
    stand.proxy = proxy
    await proxy.serve([before])
    try:
        yield stand
    finally:
        await proxy.drain(0.2)
        if listening:
            listening.close()
        await server.shutdown(0.2)
