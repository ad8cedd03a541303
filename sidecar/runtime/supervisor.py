"""The supervisor: binds every address, keeps one worker alive behind them, passes signals on.

Only this process binds, without SO_REUSEPORT: another process of the same user could otherwise
take a share of the traffic. The worker gets the descriptors, so a restart loses no connection that
waits.
The pipe to the worker is its life line: it ends with this process, whatever ends this process.

| signal | done |
|---|---|
| SIGHUP | the worker reloads the bundle and the entities |
| SIGTERM, SIGINT | what is under way ends (10 s), then exit 0 |
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import stat
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from sidecar.runtime.config import Address, Config, Tcp, Unix, prepare_state
from sidecar.runtime.exits import OK, UNEXPECTED
from sidecar.runtime.limits import (
    BACKLOG,
    DRAIN_S,
    LINE_BYTES_MAX,
    ORPHAN_EXIT_S,
    RESTART_DELAY_S_MAX,
    RESTART_DELAY_S_MIN,
    RESTART_WINDOW_S,
    RESTARTS_MAX,
    START_S,
)
from sidecar.terms.errors import ConfigError

_log = logging.getLogger("sidecar.supervisor")


class Boot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the supervisor hands to a worker it starts.

    Args:
        file: `sidecar.yaml`, where its paths begin.
        config: Its text as the supervisor has read it: the sockets fit this text.
        sockets: Listener → descriptors, in the order of its addresses.
        status: The descriptor to answer on.
        last_good: Digest of the bundle that the worker before had in force.
    """

    file: str
    config: str
    sockets: dict[str, tuple[int, ...]]
    status: int
    last_good: str | None = None


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a worker tells: it is ready, or which bundle is in force."""

    ready: bool = False
    bundle: str | None = None


class Bound:
    """Every address of a configuration, bound once and kept over restarts of the worker."""

    def __init__(self, config: Config) -> None:
        # Peers of other users can only connect where the file lets them; who they are is then
        # proven by the kernel, and who is nobody is refused.
        open_to_peers = any(set(w.uids) - {os.geteuid()} for w in config.workloads)
        self._unix_mode = 0o666 if open_to_peers else 0o600
        self._made: list[tuple[Path, int]] = []
        self.sockets: dict[str, list[socket.socket]] = {}
        try:
            for listener in config.listeners:
                self.sockets[listener.name] = []
                for address in listener.addresses:
                    self.sockets[listener.name].append(self._bind(address))
        except ConfigError:
            self.close()
            raise

    def _bind(self, address: Address) -> socket.socket:
        match address:
            case Tcp():
                return _bind_tcp(address)
            case Unix():
                bound = _bind_unix(address.path, self._unix_mode)
                self._made.append((address.path, address.path.lstat().st_ino))
                return bound

    def addresses(self) -> dict[str, list[str]]:
        """Return what each listener is reached at, with the ports that were chosen."""
        return {name: [_shown(one) for one in bound] for name, bound in self.sockets.items()}

    def descriptors(self) -> dict[str, tuple[int, ...]]:
        """Return the descriptors that a worker is handed."""
        return {name: tuple(s.fileno() for s in bound) for name, bound in self.sockets.items()}

    def close(self) -> None:
        """Close everything; remove the Unix sockets that are still ours."""
        for bound in self.sockets.values():
            for one in bound:
                one.close()
        for path, inode in self._made:
            with contextlib.suppress(OSError):
                if path.lstat().st_ino == inode:
                    path.unlink()


def _bind_tcp(address: Tcp) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # A port in TIME_WAIT after a restart may be taken again; a live one may not.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address.host, address.port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        text = f"cannot bind {address.host}:{address.port}: {error.strerror}"
        raise ConfigError(text) from None
    return bound


def _bind_unix(path: Path, mode: int) -> socket.socket:
    _remove_stale(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        bound.bind(str(path))
        path.chmod(mode)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise ConfigError(f"cannot bind {path}: {error.strerror}") from None
    finally:
        os.umask(before)
    return bound


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody answers on; anything else that stands there is refused."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"cannot bind {path}: {error.strerror}") from None
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigError(f"cannot bind {path}: something that is not a socket stands there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.settimeout(1)
        try:
            trial.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError as error:
            raise ConfigError(f"cannot bind {path}: {error.strerror}") from None
    raise ConfigError(f"cannot bind {path}: another process answers there")


def _shown(bound: socket.socket) -> str:
    name = bound.getsockname()
    if bound.family == socket.AF_UNIX:
        return f"unix:{name}"
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Supervisor:
    """Keeps one worker alive until told to stop."""

    def __init__(self, config: Config, text: str, say: Callable[[str], None]) -> None:
        self._config = config
        self._text = text
        self._say = say
        self._bound = Bound(config)
        self._child: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._was_ready = False
        self._last_good: str | None = None

    async def run(self) -> int:
        """Run until told to stop or until the worker cannot live; return the exit code."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._order, "reload")
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop)
        try:
            return await self._keep_alive()
        finally:
            self._bound.close()

    async def _keep_alive(self) -> int:
        deaths: deque[float] = deque()
        delay_s = RESTART_DELAY_S_MIN
        while True:
            code = await self._one_life()
            if self._stopping.is_set():
                return OK if self._was_ready or code == OK else code
            if not self._was_ready:
                # It has never served: a restart would fail the same way, and the code says how.
                return code if code > 0 else UNEXPECTED
            deaths.append(time.monotonic())
            while deaths[0] < time.monotonic() - RESTART_WINDOW_S:
                deaths.popleft()
                delay_s = RESTART_DELAY_S_MIN
            if len(deaths) > RESTARTS_MAX:
                _log.error("the worker died %d times in %d s", len(deaths), RESTART_WINDOW_S)
                return UNEXPECTED
            _log.error("the worker died (%s); started again in %.1f s", _fate(code), delay_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)
                return OK
            delay_s = min(delay_s * 2, RESTART_DELAY_S_MAX)

    async def _one_life(self) -> int:
        """Start a worker and wait for its end; return its exit code."""
        read_fd, write_fd = os.pipe()
        boot = Boot(
            str(self._config.file),
            self._text,
            self._bound.descriptors(),
            write_fd,
            self._last_good,
        )
        descriptors = [fd for bound in boot.sockets.values() for fd in bound]
        try:
            child = self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "sidecar.runtime.worker",
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(*descriptors, write_fd),
            )
        finally:
            os.close(write_fd)
        assert child.stdin is not None
        child.stdin.write(msgspec.json.encode(boot) + b"\n")
        if self._stopping.is_set():
            self._order("drain")
        await self._listen(read_fd)
        return await self._end(child)

    async def _listen(self, read_fd: int) -> None:
        """Hear the worker until its pipe ends, which it does with the worker."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(LINE_BYTES_MAX)
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_fd, "rb", buffering=0)
        )
        too_slow = loop.call_later(START_S, self._give_up)
        try:
            while line := await reader.readline():
                told = msgspec.json.decode(line, type=Told)
                if told.bundle is not None:
                    self._last_good = told.bundle
                if told.ready:
                    too_slow.cancel()
                    self._ready()
        finally:
            too_slow.cancel()
            transport.close()

    def _ready(self) -> None:
        self._was_ready = True
        assert self._child is not None
        told = {
            "listeners": self._bound.addresses(),
            "pid": os.getpid(),
            "worker": self._child.pid,
        }
        self._say("ready " + msgspec.json.encode(told).decode())

    async def _end(self, child: asyncio.subprocess.Process) -> int:
        try:
            async with asyncio.timeout(ORPHAN_EXIT_S):
                return await child.wait()
        except TimeoutError:
            child.kill()
            return await child.wait()

    def _order(self, word: str) -> None:
        """Tell the worker, if there is one that listens."""
        child = self._child
        if child is not None and child.stdin is not None and not child.stdin.is_closing():
            child.stdin.write(f"{word}\n".encode())

    def _stop(self) -> None:
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._order("drain")
        # Twice the time: the listeners' own limit comes first, then the record of the stop.
        asyncio.get_running_loop().call_later(DRAIN_S * 2, self._give_up)

    def _give_up(self) -> None:
        if self._child is not None and self._child.returncode is None:
            _log.error("the worker does not answer; it is killed")
            self._child.kill()


def _fate(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit {code}"


def warn_exposed(config: Config) -> None:
    """Name every address that other machines reach."""
    for listener in config.listeners:
        for address in listener.exposed:
            _log.warning(
                "INSECURE: listener `%s` on %s:%d is reached by other machines, without TLS",
                listener.name,
                address.host,
                address.port,
            )


def supervise(config: Config, text: str, workers: int, say: Callable[[str], None]) -> int:
    """Run `sidecar run`; return its exit code.

    Args:
        config: Read from `text`.
        text: Of `sidecar.yaml`: the worker reads the same.
        workers: 1.
        say: Takes the line that says that every listener serves.

    Raises:
        ConfigError: The state folder or an address cannot be had.
    """
    if workers != 1:
        raise ConfigError("`--workers` is 1 for now: the ledger has one writer, in the worker")
    prepare_state(config.state)
    warn_exposed(config)

    async def running() -> int:
        return await Supervisor(config, text, say).run()

    return asyncio.run(running())
