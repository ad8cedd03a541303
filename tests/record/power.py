"""A disk that remembers what it was asked, and what a loss of power could have left of it.

`TracingDisk` is the real disk and writes down each call that changes something. `after_loss` takes
the first calls of such a trace and returns one of the states in which a machine may come up again:

- what was written and not synced is there by pages of 4 KiB: each new, old, or zeros where nothing
  durable was; or not at all, with the old length;
- what was done to names in a folder, and not synced there, has happened or not, each for itself.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sidecar.record.disk import Disk

PAGE = 4096


class Call(NamedTuple):
    """One call that changed something: of a file by its number, or of a name."""

    what: str
    file: int = 0
    path: str = ""
    data: bytes = b""
    size: int = 0
    new: str = ""


class TracingDisk(Disk):
    """The real disk; `before` is what stood in a folder at first, `trace` what was asked of it."""

    def __init__(self, folder: Path, fails: Callable[[str], int] = lambda _name: 0) -> None:
        files = [path for path in folder.rglob("*") if path.is_file()]
        # A file's number is ours: the number that the system gave it is given again to another as
        # soon as it is gone, and it may come back when the power is lost.
        self._numbers = {path.stat().st_ino: nth for nth, path in enumerate(files)}
        self.before = {str(path): (nth, path.read_bytes()) for nth, path in enumerate(files)}
        self._next = len(files)
        self.trace: list[Call] = []
        self.fails = fails
        self._files: dict[int, int] = {}
        self._paths: dict[int, str] = {}

    def open(self, path: Path, flags: int) -> int:
        self._maybe("open")
        is_new = bool(flags & os.O_CREAT) and not path.exists()
        fd = super().open(path, flags)
        system = os.fstat(fd).st_ino
        if is_new:
            self._numbers[system], self._next = self._next, self._next + 1
        # A folder is known by its path.
        number = self._numbers.get(system, -1)
        self._files[fd], self._paths[fd] = number, str(path)
        if is_new:
            self.trace.append(Call("create", number, str(path)))
        elif flags & os.O_TRUNC:
            self.trace.append(Call("cut", number))
        return fd

    def write(self, fd: int, data: bytes) -> int:
        self._maybe("write")
        taken = super().write(fd, data)
        self.trace.append(Call("write", self._files[fd], data=data[:taken]))
        return taken

    def fdatasync(self, fd: int) -> None:
        self._maybe("fdatasync")
        super().fdatasync(fd)
        self.trace.append(Call("sync", self._files[fd]))

    def fsync(self, fd: int) -> None:
        self._maybe("fsync")
        super().fsync(fd)
        what = "sync names" if Path(self._paths[fd]).is_dir() else "sync"
        self.trace.append(Call(what, self._files[fd], self._paths[fd]))

    def ftruncate(self, fd: int, size: int) -> None:
        self._maybe("ftruncate")
        super().ftruncate(fd, size)
        self.trace.append(Call("cut", self._files[fd], size=size))

    def rename(self, old: Path, new: Path) -> None:
        self._maybe("rename")
        super().rename(old, new)
        self.trace.append(Call("rename", path=str(old), new=str(new)))

    def unlink(self, path: Path) -> None:
        self._maybe("unlink")
        super().unlink(path)
        self.trace.append(Call("unlink", path=str(path)))

    def _maybe(self, name: str) -> None:
        number = self.fails(name)
        if number:
            raise OSError(number, os.strerror(number))


class _File:
    def __init__(self, data: bytes = b"") -> None:
        self.synced = data
        self.now = bytearray(data)
        # The shortest that it was since it was synced: no loss leaves less.
        self.shortest = len(data)


class _Machine:
    """Files and names, as they are and as they are durable."""

    def __init__(self, before: dict[str, tuple[int, bytes]]) -> None:
        self.files = {number: _File(data) for number, data in before.values()}
        self.now = {path: number for path, (number, _) in before.items()}
        self.durable = dict(self.now)
        self.pending: list[Call] = []

    def do(self, call: Call) -> None:
        """Let one call happen."""
        if call.what == "write":
            self.files[call.file].now += call.data
        elif call.what == "cut":
            file = self.files[call.file]
            del file.now[call.size :]
            file.shortest = min(file.shortest, call.size)
        elif call.what == "sync":
            file = self.files[call.file]
            file.synced, file.shortest = bytes(file.now), len(file.now)
        elif call.what == "sync names":
            mine = [one for one in self.pending if str(Path(one.path).parent) == call.path]
            self.pending = [one for one in self.pending if one not in mine]
            for one in mine:
                _rename(self.durable, one)
        else:
            if call.what == "create":
                self.files[call.file] = _File()
            elif call.what == "rename":
                call = call._replace(file=self.now[call.path])
            _rename(self.now, call)
            self.pending.append(call)


def _rename(names: dict[str, int], call: Call) -> None:
    if call.what == "create":
        names[call.path] = call.file
    elif call.what == "rename":
        # Of the file itself: what happened to its old name before may be lost.
        if names.get(call.path) == call.file:
            del names[call.path]
        names[call.new] = call.file
    else:
        names.pop(call.path, None)


def after_loss(
    disk: TracingDisk, cut: int, chance: random.Random, into: Callable[[str], Path]
) -> None:
    """Write what a loss of power after the first `cut` calls may have left."""
    machine = _Machine(disk.before)
    for call in disk.trace[:cut]:
        if call.what != "acknowledged":
            machine.do(call)
    names = dict(machine.durable)
    for call in machine.pending:
        if chance.random() < 0.5:
            _rename(names, call)
    for path, number in names.items():
        target = into(path)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.write_bytes(_left(machine.files[number], chance))
        target.chmod(0o600)


def _left(file: _File, chance: random.Random) -> bytes:
    """Return what is left of a file."""
    old, new = file.synced, bytes(file.now)
    kind = chance.randrange(4)
    if kind == 0 or old == new:
        return old
    if kind == 1:
        return new
    found = bytearray()
    for at in range(0, len(new), PAGE):
        then, now = old[at : at + PAGE], new[at : at + PAGE]
        # What was durable in a page stays; the rest of it was never written, or is zeros.
        kept = then + bytes(max(len(now) - len(then), 0))
        found += now if chance.random() < 0.5 else kept[: len(now)]
    if kind == 3:
        # The length came to the disk, or a part of it.
        del found[chance.randrange(file.shortest, len(new) + 1) :]
    return bytes(found)


def acknowledged(trace: list[Call]) -> list[Any]:
    """Return what was acknowledged in `trace`, in order."""
    return [call.path for call in trace if call.what == "acknowledged"]
