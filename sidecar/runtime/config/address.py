"""Where a listener is bound: a TCP address or a Unix socket's path."""

import ipaddress
import re
from pathlib import Path

import msgspec

from sidecar.runtime.limits import UNIX_PATH_BYTES_MAX
from sidecar.terms.errors import ConfigError


class Tcp(msgspec.Struct, frozen=True):
    """A TCP address; port 0 is chosen by the system."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Return whether only this machine reaches it."""
        return ipaddress.ip_address(self.host).is_loopback


class Unix(msgspec.Struct, frozen=True):
    """A Unix socket's path."""

    path: Path


Address = Tcp | Unix


def read_address(text: str, folder: Path) -> Address:
    """Return the address that `127.0.0.1:8282`, `[::1]:8282` or `unix:ask.sock` is.

    Names other than `localhost` are refused: what a name means is decided elsewhere, later.
    """
    kind, _, rest = text.partition(":")
    if kind == "unix":
        path = folder / rest
        if not rest or len(bytes(path)) > UNIX_PATH_BYTES_MAX:
            raise ConfigError(
                f"`{text}`: a Unix socket's path has 1 to {UNIX_PATH_BYTES_MAX} bytes"
            )
        return Unix(path)
    host, _, port = text.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        found = str(ipaddress.ip_address(host))
    except ValueError:
        found = ""
    if not found or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ConfigError(
            f"`{text}` is not an address like `127.0.0.1:8282`, `[::1]:8282` or `unix:ask.sock`"
        )
    return Tcp(found, int(port))
