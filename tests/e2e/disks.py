"""Disks that fail as disks do: full, unwritable, gone. Each `harm` is undone by its `heal`.

A full disk is a real one, of two megabytes, mounted where only the sidecar and this process look.
"""

import os
import shutil
import subprocess
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Protocol

import pytest

from tests.e2e.harness import Site

DISK_BYTES = 2 * 1024 * 1024


class Fault(Protocol):
    """Something that happens to a ledger's disk, and ends."""

    def prepared(self, site: Site) -> AbstractContextManager[object]:
        """Make the site ready before its sidecar starts; skip the test where that cannot be."""
        ...

    def harm(self, site: Site) -> None: ...

    def heal(self, site: Site) -> None: ...


class Full:
    """No space is left."""

    _filler = "filler"

    def prepared(self, site: Site) -> AbstractContextManager[object]:
        return small_disk(site)

    def harm(self, site: Site) -> None:
        with suppress(OSError), (site.ledger / self._filler).open("wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass
        assert os.statvfs(site.ledger).f_bavail == 0

    def heal(self, site: Site) -> None:
        (site.ledger / self._filler).unlink()


class Unwritable:
    """The folder may not be written: no segment and no checkpoint can be made in it."""

    def prepared(self, site: Site) -> AbstractContextManager[object]:
        if os.geteuid() == 0:
            if shutil.which("setpriv") is None:
                pytest.skip("no `setpriv`: root writes where it may not")
            site.prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
        return nullcontext()

    def harm(self, site: Site) -> None:
        site.ledger.chmod(0o500)

    def heal(self, site: Site) -> None:
        site.ledger.chmod(0o700)


class Moved:
    """The folder is not where it was, as when a volume is not mounted."""

    def prepared(self, site: Site) -> AbstractContextManager[object]:
        return nullcontext()

    def harm(self, site: Site) -> None:
        site.ledger.rename(site.folder / "moved")

    def heal(self, site: Site) -> None:
        (site.folder / "moved").rename(site.ledger)


class Replaced(Moved):
    """A file stands where the folder was."""

    def harm(self, site: Site) -> None:
        super().harm(site)
        site.ledger.touch()

    def heal(self, site: Site) -> None:
        site.ledger.unlink()
        super().heal(site)


FAULTS: dict[str, Fault] = {
    "full": Full(),
    "unwritable": Unwritable(),
    "gone": Moved(),
    "replaced by a file": Replaced(),
}


def small_disk(site: Site) -> ExitStack:
    """Mount a small disk at the ledger's folder, in a mount namespace that the sidecar enters.

    Neither root nor a clean-up is needed: the disk goes with the last process that looks at it.
    """
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        pytest.skip("no `unshare`: a small disk cannot be mounted")
    site.ledger.mkdir(mode=0o700, parents=True)
    site.state.chmod(0o700)
    mount = f'mount -t tmpfs -o size={DISK_BYTES},mode=0700 ledger "$0" && echo mounted && exec cat'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount]
    pipe = subprocess.PIPE
    stack = ExitStack()
    # It lives for as long as its standard input is open, so at most as long as this process.
    holder = stack.enter_context(
        subprocess.Popen([*command, str(site.ledger)], stdin=pipe, stdout=pipe, stderr=pipe)
    )
    assert holder.stdout is not None
    assert holder.stderr is not None
    if holder.stdout.readline() != b"mounted\n":
        why = holder.stderr.read().decode().strip()
        stack.close()
        pytest.skip(f"a small disk cannot be mounted: {why}")
    site.prefix = ("nsenter", f"--target={holder.pid}", "--user", "--mount")
    site.prefix += ("--preserve-credentials", "--")
    site.ledger = Path(f"/proc/{holder.pid}/root") / site.ledger.relative_to("/")
    return stack
