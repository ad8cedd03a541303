"""Every address of a configuration, bound once by the supervisor, without SO_REUSEPORT.

Another process of the same user could otherwise take a share of the traffic. Workers get the
descriptors, so a restart loses no connection that waits.
"""

import contextlib
import os
import socket
import stat
from pathlib import Path

from sidecar.runtime.config import Address, Config, Tcp, Unix
from sidecar.runtime.limits import BACKLOG
from sidecar.terms.errors import ConfigError


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
                bound = bind_unix(address.path, self._unix_mode)
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


def bind_unix(path: Path, mode: int) -> socket.socket:
    """Return a listening socket at `path`; a stale one is replaced. Raises ConfigError."""
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


def remove_bound(path: Path) -> None:
    """Remove a socket of ours, where it still stands."""
    with contextlib.suppress(OSError):
        path.unlink()


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
