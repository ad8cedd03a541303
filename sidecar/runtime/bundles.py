"""A bundle on the disk → bytes of one moment, compiled; and the store of all that were ever active.

A folder is read between two equal snapshots of it, so that a bundle half old and half new is never
compiled. What was active is kept for ever as `<state>/bundles/<digest>.tar`: a record names a
digest, and an auditor wants the bytes. `labels.json` beside them holds which digest a frozen label
stands for.
"""

import contextlib
import hmac
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from sidecar.domains import by_protocol
from sidecar.policy.archive import MANIFEST, Manifest, pack, unpack
from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.policy.limits import BUNDLE_BYTES_MAX, BUNDLE_FILES_MAX
from sidecar.record.disk import DISK, read_all
from sidecar.runtime.limits import STABLE_READS_MAX
from sidecar.syntax import json
from sidecar.terms.domain import Domain
from sidecar.terms.errors import ConfigError, ParseError, PolicyError

# (path, mtime in ns, size, inode) of every file: equal twice means nothing was written between.
Snapshot = tuple[tuple[str, int, int, int], ...]
_LABELS: Final = "labels.json"


class Source(msgspec.Struct, frozen=True):
    """The bytes of a bundle; `manifest`: of an archive, whose digest was checked against it."""

    files: Mapping[str, bytes]
    manifest: Manifest | None = None


def load_bundle(path: Path, domains: Mapping[str, Domain]) -> Bundle:
    """Return the compiled bundle at `path`, a folder or an archive.

    Raises:
        PolicyError: Every problem found, each with its position.
    """
    source = read_source(path)
    return _compiled(path.name, source.files, source.manifest, domains)


def _compiled(
    name: str,
    files: Mapping[str, bytes],
    manifest: Manifest | None,
    domains: Mapping[str, Domain],
) -> Bundle:
    """Return the compiled bundle; PolicyError for an archive that goes by another name."""
    if manifest is None:
        return compile_bundle(files, domains)
    bundle = compile_bundle(files, domains, frozen=_is_frozen(manifest))
    # Records carry what bundle.yaml says: people who read the manifest must not read otherwise.
    if (manifest.name, manifest.version) != (bundle.name, bundle.version):
        raise PolicyError(
            f"{name}:1:1: {MANIFEST} says `{manifest.name}` `{manifest.version}`, "
            f"the files are `{bundle.name}` `{bundle.version}`"
        )
    return bundle


def read_source(path: Path) -> Source:
    """Return the bytes of the bundle at `path`, all of one moment."""
    before = snapshot(path)
    for _ in range(STABLE_READS_MAX):
        source = _read(path)
        after = snapshot(path)
        if before == after:
            return source
        before = after
    raise PolicyError(f"{path}: changes while it is read")


def snapshot(path: Path) -> Snapshot:
    """Return what shows that something at `path` has changed."""
    return tuple(
        (name, found.st_mtime_ns, found.st_size, found.st_ino) for name, found in _files(path)
    )


def _read(path: Path) -> Source:
    if path.is_dir():
        files = {name: _bytes(path / name) for name, _ in _files(path)}
        return Source(files)
    return Source(*unpack(path.name, _bytes(path)))


def _is_frozen(manifest: Manifest) -> bool:
    """Return whether an author froze the label: a folder's version ends with its own digest."""
    return not manifest.version.endswith(f"-dev+{manifest.digest[7:19]}")


def _files(path: Path) -> list[tuple[str, os.stat_result]]:
    """Return every file of a bundle below `path`, sorted; `path` itself when it is an archive."""
    try:
        if not path.is_dir():
            return [("", path.stat())]
        found = sorted(_walk(path, path.resolve(strict=True), ""), key=lambda entry: entry[0])
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error.strerror}") from None
    if sum(one.st_size for _, one in found) > BUNDLE_BYTES_MAX:
        raise PolicyError(f"{path}: larger than {BUNDLE_BYTES_MAX} bytes")
    return found


def _walk(folder: Path, root: Path, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            # Hidden names speak to tools (`.git`, the `..data` of a mounted ConfigMap), not to us.
            if entry.name.startswith(".") or entry.name == "__pycache__":
                continue
            count += 1
            if count > BUNDLE_FILES_MAX:
                raise PolicyError(f"{folder}: more than {BUNDLE_FILES_MAX} files")
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), root, f"{name}/")
            else:
                yield name, _regular(Path(entry.path), root)


def _regular(path: Path, root: Path) -> os.stat_result:
    """Return the file's status; links that leave the bundle, pipes and devices are refused."""
    if path.is_symlink() and not path.resolve(strict=True).is_relative_to(root):
        raise PolicyError(f"{path}: a symbolic link that leaves the bundle's folder")
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise PolicyError(f"{path}: not a regular file")
    return found


def _bytes(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        # A pipe would be waited for.
        raise PolicyError(f"{path}: not a regular file")
    try:
        with path.resolve(strict=True).open("rb") as stream:
            return stream.read(BUNDLE_BYTES_MAX + 1)
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error.strerror}") from None


def archive_of(bundle: Bundle) -> bytes:
    """Return the archive of `bundle`, under the version that it runs as."""
    return pack(bundle.files, Manifest(bundle.name, bundle.version, bundle.digest))


def built(bundle: Bundle) -> bytes:
    """Return the archive that freezes the label which `bundle.yaml` gives."""
    return pack(bundle.files, Manifest(bundle.name, bundle.label, bundle.digest))


class Store:
    """Every bundle that was active, by digest, and the labels that are taken."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, bundle: Bundle) -> None:
        """Keep `bundle` and take its label, durably.

        Raises:
            PolicyError: Its frozen label stands for another digest.
            ConfigError: The folder cannot be written.
        """
        self._refuse_taken(bundle)
        try:
            keep_bytes(self._file(bundle.digest), archive_of(bundle))
            if bundle.frozen:
                labels = {**self._labels(), _label(bundle): bundle.digest}
                keep_bytes(self._folder / _LABELS, json.canonical(labels))
        except OSError as error:
            raise ConfigError(f"{self._folder}: cannot be written: {error.strerror}") from None

    def load(self, digest: str) -> Bundle:
        """Return the kept bundle of this digest, ready to judge by; called beside the loop.

        Raises:
            PolicyError: It is absent or was changed.
        """
        file = self._file(digest)
        files, manifest = unpack(file.name, _bytes(file))
        if not hmac.compare_digest(manifest.digest, digest):
            raise PolicyError(f"{file}: holds another bundle than its name says")
        bundle = _compiled(file.name, files, manifest, by_protocol())
        bundle.prepare()
        return bundle

    def _refuse_taken(self, bundle: Bundle) -> None:
        taken = self._labels().get(_label(bundle)) if bundle.frozen else None
        if taken is not None and not hmac.compare_digest(taken, bundle.digest):
            raise PolicyError(
                f"bundle.yaml:1:1: version `{bundle.label}` of `{bundle.name}` stands for "
                f"{taken[:19]}…; a label is never given to another digest"
            )

    def _labels(self) -> dict[str, str]:
        try:
            data = read_all(DISK, self._folder / _LABELS, BUNDLE_BYTES_MAX)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigError(f"{self._folder / _LABELS}: {error.strerror}") from None
        try:
            return msgspec.convert(json.loads(data), dict[str, str])
        except (ParseError, msgspec.ValidationError):
            raise ConfigError(f"{self._folder / _LABELS}: is not what was written here") from None

    def _file(self, digest: str) -> Path:
        return self._folder / f"{digest.removeprefix('sha256:')}.tar"


def keep_bytes(file: Path, data: bytes) -> None:
    """Put `data` at `file` in one durable step; its folder is made, and both are ours alone."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _label(bundle: Bundle) -> str:
    return f"{bundle.name}@{bundle.label}"
