"""Paths that verbs take, and files that they are told to write.

Where one cannot be read or written, that is one text, which names it, and code 2.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import click

from sidecar.terms.errors import ConfigError, EnvelopeError

FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)
# A bundle is a folder or an archive, records are a folder, a segment or an export.
FILE_OR_FOLDER: Final = click.Path(exists=True, path_type=Path)
# Not there yet, or not looked for here: whoever reads it says so.
NAMED_FILE: Final = click.Path(dir_okay=False, path_type=Path)
NAMED_FOLDER: Final = click.Path(file_okay=False, path_type=Path)
NAMED: Final = click.Path(path_type=Path)


class OutputFile(click.Path):
    """A file that is to be written, in a folder that is there: said before the work is done."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(
        self,
        value: str | Path,  # type: ignore[override]  # a Path is one of those that click hands in
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """Return the path. Raises ConfigError."""
        found = Path(str(super().convert(str(value), param, ctx)))
        if not found.parent.is_dir():
            raise ConfigError(f"{found}: the folder `{found.parent}` is not there")
        return found


def write(file: Path, data: bytes, *, adds: bool = False) -> None:
    """Write `data` to a file, or behind what is there.

    Raises:
        ConfigError: The disk says no.
    """
    try:
        with file.open("ab" if adds else "wb") as out:
            out.write(data)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None


@contextmanager
def named(file: BinaryIO | None) -> Iterator[None]:
    """Say which file it is that holds no envelope; standard input needs no name."""
    try:
        yield
    except EnvelopeError as error:
        name = getattr(file, "name", None)
        if not isinstance(name, str) or name == "<stdin>":
            raise
        raise EnvelopeError(f"{name}: {error}") from None
