"""Files that a verb is told to write: where one cannot be written, that is one text and code 2."""

from pathlib import Path

import click

from sidecar.terms.errors import ConfigError


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
