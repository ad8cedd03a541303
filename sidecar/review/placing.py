"""Where a bundle's files are for who reads a report: a code host knows them from its root alone.

A path of the machine that made the report is never told.
"""

import posixpath
from pathlib import Path


def within(bundle: Path) -> str | None:
    """Return a bundle's folder as it is named from the working folder, None where it is not below.

    Args:
        bundle: As the user named it; files of an archive have no place outside of it.
    """
    is_below = bundle.is_dir() and not bundle.is_absolute() and ".." not in bundle.parts
    return bundle.as_posix() if is_below else None


def placed(file: str, folder: str | None) -> str:
    """Return a file of a bundle as it is named from the working folder, if the bundle is below."""
    return file if folder is None else posixpath.normpath(f"{folder}/{file}")
