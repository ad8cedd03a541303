"""A bundle as one file: a deterministic tar with the manifest that freezes its label.

The archive's label runs bare (`1.2.0`) because its digest is checked on every load; a directory
runs as `1.2.0-dev+<digest12>`.
"""

import hmac
import io
import tarfile
from collections.abc import Mapping
from typing import Final

import msgspec

from sidecar.policy.bundle import digest_of
from sidecar.policy.limits import BUNDLE_BYTES_MAX, BUNDLE_FILES_MAX
from sidecar.syntax import json
from sidecar.terms.errors import PolicyError

MANIFEST: Final = "MANIFEST.json"


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which label stands for which digest."""

    name: str
    version: str
    digest: str


def pack(files: Mapping[str, bytes], manifest: Manifest) -> bytes:
    """Return the archive of `files`; the same files give the same bytes."""
    head = {MANIFEST: json.canonical(msgspec.to_builtins(manifest))}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, data in [*head.items(), *sorted(files.items())]:
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            entry.mode = 0o444
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def unpack(name: str, data: bytes) -> tuple[dict[str, bytes], Manifest]:
    """Return the files and the manifest of an archive whose digest is what its manifest says.

    Raises:
        PolicyError: Not an archive of ours, over its bounds, or changed since it was built.
    """
    if len(data) > BUNDLE_BYTES_MAX:
        raise PolicyError(f"{name}:1:1: larger than {BUNDLE_BYTES_MAX} bytes")
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            files = _read(name, tar)
    except (tarfile.TarError, ValueError):
        raise PolicyError(
            f"{name}:1:1: not a bundle archive (`sidecar bundle build` makes one)"
        ) from None
    head = files.pop(MANIFEST, None)
    if head is None:
        raise PolicyError(f"{name}:1:1: holds no {MANIFEST}")
    try:
        manifest = msgspec.json.decode(head, type=Manifest)
    except msgspec.MsgspecError:
        raise PolicyError(f"{name}:1:1: {MANIFEST} is not of its shape") from None
    if not hmac.compare_digest(digest_of(files).encode(), manifest.digest.encode()):
        raise PolicyError(
            f"{name}:1:1: the files are not those that `{manifest.version}` was built from"
        )
    return files, manifest


def _read(name: str, tar: tarfile.TarFile) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for entry in tar:
        if len(files) > BUNDLE_FILES_MAX:
            raise PolicyError(f"{name}:1:1: more than {BUNDLE_FILES_MAX} files")
        steps = entry.name.split("/")
        # No extended headers: ten kilobytes of a sparse file would be read as gigabytes of zeros.
        is_plain = entry.type == tarfile.REGTYPE and not entry.pax_headers
        if not is_plain or entry.name in files or ".." in steps or entry.name.startswith("/"):
            raise PolicyError(f"{name}:1:1: holds an entry that a bundle cannot have")
        content = tar.extractfile(entry)
        assert content is not None
        files[entry.name] = content.read()
    return files
