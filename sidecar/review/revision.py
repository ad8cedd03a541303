"""A bundle as it stood at a revision of git, read from the object store without a checkout.

Why not `git archive`: it does what `.gitattributes` says, which is a part of what is being
reviewed; a file marked `export-ignore` would be missing from the comparison, and `export-subst`
would change one. So the tree is listed and its blobs are read as they are.
"""

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from sidecar.domains import by_protocol
from sidecar.policy.archive import unpack
from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.policy.limits import BUNDLE_BYTES_MAX, BUNDLE_FILES_MAX
from sidecar.terms.errors import ConfigError, PolicyError

_SECONDS_MAX: Final = 60
_PLAIN: Final = frozenset({"100644", "100755"})
_HIDDEN: Final = re.compile(r"(?:^|/)(?:\.[^/]*|__pycache__)(?:/|\Z)")


class _Blob(NamedTuple):
    mode: str
    id: str
    path: str


def bundle_at(stated: str, load: Callable[[Path], Bundle], beside: Path | None = None) -> Bundle:
    """Return the bundle that somebody names.

    Args:
        stated: A folder or an archive; else a git revision: `REV:path`, or `REV` alone, which is
            the state of `beside` at that revision.
        load: Loads what is on the disk.
        beside: Where the bundle is that this one is compared with.

    Raises:
        ConfigError: It is neither, or git does not know it.
        PolicyError: Every problem of the bundle.
    """
    if Path(stated).exists():
        return load(Path(stated))
    revision, path = _parted(stated)
    if not revision or revision.startswith("-"):
        raise ConfigError(f"`{stated}` is no folder, no archive and no revision of git")
    folder, inside = _place(stated, path, beside)
    commit = _commit(folder, revision, stated)
    return _compiled(stated, _files(folder, commit, inside, stated))


def _parted(stated: str) -> tuple[str, str | None]:
    """Return a revision and the path behind it, parted as git does (`gitrevisions(7)`).

    A colon within braces is the revision's own (`HEAD@{2026-01-05 12:00:00}`), and so is
    everything behind `:/`, which looks for a message.
    """
    if stated.startswith(":/"):
        return stated, None
    depth = 0
    for at, char in enumerate(stated):
        if char == "{":
            depth += 1
        elif char == "}" and depth:
            depth -= 1
        elif char == ":" and not depth:
            return stated[:at], stated[at + 1 :]
    return stated, None


def _place(stated: str, path: str | None, beside: Path | None) -> tuple[Path, str]:
    """Return a folder inside the repository, and the path below its root."""
    if path is not None:
        return Path(), path.strip("/")
    if beside is None or not beside.exists():
        raise ConfigError(
            f"{stated}: there is no such folder or archive; of a revision of git write `REV:path`"
        )
    folder = beside.resolve() if beside.is_dir() else beside.resolve().parent
    try:
        top = _git(folder, "rev-parse", "--show-toplevel").decode().rstrip("\n")
    except ConfigError as error:
        raise ConfigError(f"{stated}: there is no such folder or archive; {error}") from None
    inside = beside.resolve().relative_to(Path(top).resolve()).as_posix()
    return folder, "" if inside == "." else inside


def _commit(folder: Path, revision: str, stated: str) -> str:
    # In two steps: behind `:/message` nothing can be asked for, it would be looked for too.
    try:
        return _verified(folder, f"{_verified(folder, revision)}^{{commit}}")
    except ConfigError:
        raise ConfigError(f"`{stated}` is no folder, no archive and no revision of git") from None


def _verified(folder: Path, revision: str) -> str:
    return _git(folder, "rev-parse", "--verify", "--end-of-options", revision).decode().strip()


def _files(folder: Path, commit: str, inside: str, stated: str) -> Mapping[str, bytes]:
    """Return the blobs below a path of a commit; of a file, that file under the name ``."""
    tree = f"{commit}:{inside}"
    kind = _git(folder, "cat-file", "-t", tree).decode().strip()
    if kind == "blob":
        return {"": _git(folder, "cat-file", "blob", tree)}
    listed = [blob for blob in _listed(folder, tree) if not _HIDDEN.search(blob.path)]
    if len(listed) > BUNDLE_FILES_MAX:
        raise PolicyError(f"{stated}: more than {BUNDLE_FILES_MAX} files")
    odd = next((blob for blob in listed if blob.mode not in _PLAIN), None)
    if odd is not None:
        raise PolicyError(f"{stated}: `{odd.path}` is a link or a submodule, not a file")
    return dict(zip((blob.path for blob in listed), _read(folder, listed, stated), strict=True))


def _listed(folder: Path, tree: str) -> Iterator[_Blob]:
    for entry in _git(folder, "ls-tree", "-r", "-z", "--full-tree", tree).split(b"\0"):
        if entry:
            head, _, path = entry.partition(b"\t")
            mode, _, blob = head.decode().split(" ")
            yield _Blob(mode, blob, path.decode("utf-8", "surrogateescape"))


def _read(folder: Path, blobs: list[_Blob], stated: str) -> Iterator[bytes]:
    """Yield the bytes of blobs."""
    asked = "".join(f"{blob.id}\n" for blob in blobs).encode()
    answer = memoryview(_git(folder, "cat-file", "--batch", given=asked))
    if len(answer) > 2 * BUNDLE_BYTES_MAX:
        raise PolicyError(f"{stated}: larger than {BUNDLE_BYTES_MAX} bytes")
    at = 0
    for _ in blobs:
        end = bytes(answer[at : at + 128]).index(b"\n") + at
        size = int(bytes(answer[at:end]).split(b" ")[2])
        yield bytes(answer[end + 1 : end + 1 + size])
        at = end + 1 + size + 1


def _compiled(stated: str, files: Mapping[str, bytes]) -> Bundle:
    if set(files) == {""}:
        inner, _ = unpack(stated, files[""])
        return compile_bundle(inner, by_protocol())
    return compile_bundle(files, by_protocol())


def _git(folder: Path, *arguments: str, given: bytes = b"") -> bytes:
    """Return what git answers. Raises ConfigError with its first line where it does not."""
    command = ["git", "-C", str(folder), "--no-replace-objects", *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - no shell; what begins with `-` was refused
            command, input=given, capture_output=True, check=False, timeout=_SECONDS_MAX
        )
    except (OSError, subprocess.TimeoutExpired):
        raise ConfigError("git cannot be run, so no revision can be read") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
        raise ConfigError(f"git: {said}")
    return done.stdout
