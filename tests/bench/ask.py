"""Decisions a second of `/v1/decide`, beside others that answer the same, in one run.

Every decision is authenticated, judged by ten rules that match, and recorded before it is answered:
`strict` when it is on the disk, `group` when the recorder has it. The servers of the first table
have one core, all their processes together, and the load has the other; CPU is that of all
processes of a server. In the second table servers and load share what there is.

A ledger seals what is full once nobody writes. So each server is given the time to come to rest
before the next is asked, and what it used for that stands in a column of its own.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import orjson

from sidecar.syntax.yaml12 import dump, load_documents
from tests.bench import mix, peers, wrk
from tests.bench.load import Seen
from tests.bench.peers import Absent
from tests.bench.report import cpu_s, say, table
from tests.bench.rules import CALL, SQL_CALL, bundle_of
from tests.bench.wrk import Ask, Load, loaded
from tests.e2e.harness import EVALUATION, ROOT, Sidecar, Site, living

CONNECTIONS = 64
# Of a service with many callers.
CONNECTIONS_MANY = 256
RULES = 10
COSTS = ("CPU us each", "behind it", "CPU of nginx")
HEADS = ("", "a second", "of nginx", *COSTS, "p50 us", "p99 us")
STRICT, GROUP, NGINX = "sidecar, strict", "sidecar, group", "nginx `return 200`"
# Who asks the same again is answered sooner: in the first of these rows nobody has asked before
# what is asked, in the second some of it was asked often, and much seldom (`mix.py`).
OTHERS, MIX = ", never the same", ", a mix"
MANY = f", a mix over {CONNECTIONS_MANY} connections"
CERBOS, OPA = "Cerbos, audit to a file", "OPA, decision log"
ONE, TWO = "strict, one worker", "strict, two workers"
# Of whose rate a row is to have how much at least.
GOALS = (
    (STRICT, NGINX, 0.20),
    (GROUP, NGINX, 0.28),
    (STRICT, CERBOS, 12.0),
    (STRICT, OPA, 6.0),
    # Beside one worker that has a core and its recorder on it, and beside one that has both.
    *((TWO + what, STRICT + what, 1.2) for what in ("", OTHERS, MIX)),
    *((TWO + what, ONE + what, 1.2) for what in ("", OTHERS, MIX, MANY)),
)
P99_US_MAX = 6000.0
JSON = {"Content-Type": "application/json"}
CORES = frozenset(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ())
# With one core alone, or where nobody can choose, nobody is bound to any.
SERVED = frozenset({min(CORES)}) if len(CORES) > 1 else frozenset[int]()
LOADED = CORES - SERVED if SERVED else frozenset[int]()
ROUNDS, ROUNDS_QUICK = 5, 3
# A server that uses less than this share of a core for so long has come to rest.
REST_SHARE, REST_S, REST_S_MAX = 0.05, 0.3, 10.0
Row = Seen | str
Peer = Callable[[Path], AbstractContextManager[tuple[Ask, int]]]


class Asked(NamedTuple):
    """What a sidecar is asked: where, one call, or a script that makes them, and by how many."""

    path: str
    body: object = None
    script: str = ""
    connections: int = CONNECTIONS


class Served(NamedTuple):
    """A server that can be asked: what, which group of processes it is, and by how many."""

    ask: Ask
    group: int
    connections: int = CONNECTIONS


class Cores(NamedTuple):
    """Where servers run, where the load; how often each server is asked, and how long."""

    served: frozenset[int]
    loaded: frozenset[int]
    rounds: int
    seconds: float


# Starts servers, which end with the stack; a row for each, or why it is not there.
Start = Callable[[AsyncExitStack], Awaitable[dict[str, Served | str]]]


def measure(folder: Path, seconds: float, *, quick: bool) -> None:
    """Print the tables, and how far they are from the goals."""
    rounds = ROUNDS_QUICK if quick else ROUNDS
    peer_of: dict[str, Peer] = {
        NGINX: peers.nginx,
        "bare answer of aiohttp": _bare,
        CERBOS: partial(peers.cerbos, rules=RULES),
        OPA: partial(peers.opa, rules=RULES),
    }
    starts: list[Start] = [
        partial(_peer, _made(folder / f"peer{number}"), name, peer)
        for number, (name, peer) in enumerate(peer_of.items())
    ]
    same = {"": Asked("/v1/decide", CALL)}
    varied = {
        **same,
        OTHERS: Asked("/v1/decide", script=mix.never_the_same()),
        MIX: Asked("/v1/decide", script=mix.mix()),
    }
    asks = {**varied}
    if not quick:
        asks[", AuthZEN"] = Asked("/access/v1/evaluation", EVALUATION)
        asks[", sql call"] = Asked("/v1/decide", SQL_CALL)
    starts.append(_sidecar(folder / "s", STRICT, asks))
    starts.append(_sidecar(folder / "g", GROUP, same, durability="group"))
    found = asyncio.run(_seen(starts, Cores(SERVED, LOADED, rounds, seconds)))
    _show(f"ask: {CONNECTIONS} connections, {RULES} matching rules, one core", found, found[NGINX])
    if not SERVED:
        return
    many = Asked("/v1/decide", script=mix.mix(), connections=CONNECTIONS_MANY)
    starts = [
        _sidecar(folder / "1", ONE, {**varied, MANY: many}),
        _sidecar(folder / "2", TWO, {**varied, MANY: many}, workers=2),
    ]
    shared = asyncio.run(_seen(starts, Cores(CORES, CORES, rounds, seconds)))
    _show("ask: workers and load on the same cores", shared, found[NGINX])
    _judge(found | shared)


def _show(title: str, rows: dict[str, Row], nginx: Row) -> None:
    table(title, HEADS, [_row(name, seen, nginx) for name, seen in rows.items()])


def _row(name: str, seen: Row, nginx: Row) -> Sequence[str]:
    if isinstance(seen, str):
        return (name, f"skipped: {seen}")
    each = None if seen.cpu_s is None else seen.cpu_s / seen.answers * 1e6
    behind = f"{seen.after_s / seen.answers * 1e6:.1f}"
    rate, cpu = "-", "-"
    if isinstance(nginx, Seen):
        rate = f"{seen.rate / nginx.rate:.2f}"
        if each is not None and nginx.cpu_s:
            cpu = f"{nginx.cpu_s / nginx.answers * 1e6 / each:.2f}"
    told = "-" if each is None else f"{each:.1f}"
    waits = (f"{seen.p50_us:.0f}", f"{seen.p99_us:.0f}")
    return (name, f"{seen.rate:.0f}", rate, told, behind, cpu, *waits)


def _judge(found: dict[str, Row]) -> None:
    """Say which goals are met; a peer that is not there says nothing."""
    for name, beside, goal in GOALS:
        ours, theirs = found[name], found[beside]
        if isinstance(ours, Seen) and isinstance(theirs, Seen):
            ratio = ours.rate / theirs.rate
            _verdict(f"{name} / {beside}: {ratio:.2f}, goal {goal:g}", met=ratio >= goal)
    for name in (STRICT, GROUP):
        ours = found[name]
        if isinstance(ours, Seen):
            text = f"{name}: p99 {ours.p99_us / 1e3:.1f} ms, goal {P99_US_MAX / 1e3:g}"
            _verdict(text, met=ours.p99_us <= P99_US_MAX)


def _verdict(text: str, *, met: bool) -> None:
    say(f"  {'met  ' if met else 'MISSED'} {text}")


# --- who is measured ---


async def _seen(starts: Sequence[Start], cores: Cores) -> dict[str, Row]:
    """Return for each row its middle round.

    All servers are there at once and are asked in turn, again and again: what else the machine
    does, and how fast it is just then, meets all of them.
    """
    async with AsyncExitStack() as stack:
        servers: dict[str, Served | str] = {}
        with _on(cores.served):
            for start in starts:
                servers |= await start(stack)
        asked = {name: one for name, one in servers.items() if isinstance(one, Served)}
        rounds = [await _round(asked, cores, is_first=not nth) for nth in range(cores.rounds)]
    middle = {name: _middle([one[name] for one in rounds]) for name in asked}
    return {name: middle.get(name) or str(served) for name, served in servers.items()}


async def _round(asked: dict[str, Served], cores: Cores, *, is_first: bool) -> dict[str, Seen]:
    warm_s = cores.seconds / 3 if is_first else 0.0
    seen: dict[str, Seen] = {}
    for name, served in asked.items():
        row = await asyncio.to_thread(_asked, served, cores, warm_s)
        seen[name] = msgspec.structs.replace(row, after_s=await _rested(served.group))
    return seen


def _middle(rounds: Sequence[Seen]) -> Seen:
    return sorted(rounds, key=lambda seen: seen.rate)[len(rounds) // 2]


def _asked(served: Served, cores: Cores, warm_s: float) -> Seen:
    how = Load(served.connections, warm_s, cores.seconds)
    with _on(cores.loaded):
        return loaded(served.ask, how, lambda: cpu_s(living(served.group)))


async def _rested(group: int) -> float:
    """Return what CPU time a server uses until it is at rest, once it is."""
    ends_s, used_s = time.monotonic() + REST_S_MAX, 0.0
    while time.monotonic() < ends_s:
        before = cpu_s(living(group))
        await asyncio.sleep(REST_S)
        after = cpu_s(living(group))
        if before is None or after is None:
            break
        used_s += after - before
        if after - before < REST_SHARE * REST_S:
            break
    return used_s


async def _peer(
    folder: Path, name: str, peer: Peer, stack: AsyncExitStack
) -> dict[str, Served | str]:
    try:
        return {name: Served(*stack.enter_context(peer(folder)))}
    except Absent as reason:
        return {name: str(reason)}


def _sidecar(
    folder: Path,
    name: str,
    asks: dict[str, Asked],
    *,
    durability: str = "strict",
    workers: int = 1,
) -> Start:
    site = Site.made(_made(folder))
    for file, text in bundle_of(RULES, RULES).items():
        site.put(file, text)
    (config,) = load_documents(site.config.name, site.config.read_bytes())
    (workload,) = config.value["workloads"]
    # Persons are asked for by who serves them.
    speaks = {**workload, "may_assert": {"subjects": ["user"]}}
    told = {
        **config.value,
        "workloads": [speaks],
        "workers": workers,
        "ledger": {"durability": durability},
    }
    site.config.write_text(dump(told))
    return partial(_started, site, name, asks)


async def _started(
    site: Site, name: str, asks: dict[str, Asked], stack: AsyncExitStack
) -> dict[str, Served | str]:
    sidecar = await stack.enter_async_context(site.running())
    stack.push_async_callback(_stopped, sidecar)
    head = {**JSON, "Sidecar-Authorization": f"Bearer {site.key}"}
    rows: dict[str, Served | str] = {}
    for more, (path, body, script, connections) in asks.items():
        if script and wrk.program() is None:
            rows[name + more] = "wrk is not on the PATH"
            continue
        ask = Ask(sidecar.port("ask"), path, head, orjson.dumps(body), script)
        rows[name + more] = Served(ask, sidecar.supervisor, connections)
    return rows


async def _stopped(sidecar: Sidecar) -> None:
    assert await sidecar.stop() == 0


@contextmanager
def _bare(_folder: Path) -> Iterator[tuple[Ask, int]]:
    """Serve nothing with the library whose raw protocol is not used."""
    command, pipe = [sys.executable, "-m", "tests.bench.bare"], subprocess.PIPE
    server = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, start_new_session=True)
    with server:
        assert server.stdin is not None
        assert server.stdout is not None
        port = int(server.stdout.readline())
        yield Ask(port, "/v1/decide", JSON, orjson.dumps(CALL)), server.pid
        server.stdin.close()


@contextmanager
def _on(cores: frozenset[int]) -> Iterator[None]:
    """Start what is started here on these cores, where the system lets us choose."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    return folder
