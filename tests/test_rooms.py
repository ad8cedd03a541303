"""Every room says what each of its files is for, and names none that is gone."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sidecar"
MODULES = frozenset(PACKAGE.rglob("*.py"))
PAGES = sorted(PACKAGE.rglob("README.md"))
# In every room these are what AGENTS.md says they are; a room may say more of them.
SHAPE = frozenset({"__init__", "__main__", "limits"})
DOMAIN_SHAPE = SHAPE | {"vocabulary", "catalogue", "parse", "enforce"}
# Written by the sidecar, for an auditor: no file of ours.
PRODUCTS = frozenset({"verifier.py"})

_CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
_FILE = re.compile(r"(?<![\w*-])[\w./-]+\.py\b")


def of_room(page: Path) -> Iterator[Path]:
    """Yield the modules for which this page and no page further down is there."""
    for module in sorted(MODULES):
        above = (folder for folder in module.parents if (folder / "README.md").exists())
        if next(above) == page.parent:
            yield module


def unnamed(page: Path) -> Iterator[str]:
    """Yield the files and folders of a room that its page does not speak of."""
    room = page.parent
    said = " ".join(_CODE.findall(page.read_text("utf-8")))
    shape = DOMAIN_SHAPE if room.parent == PACKAGE / "domains" else SHAPE
    parts = {module.relative_to(room).parts[0].removesuffix(".py") for module in of_room(page)}
    for name in sorted(parts - shape):
        if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said) is None:
            yield name


@cache
def _exists(room: Path, name: str) -> bool:
    if name in PRODUCTS or any((base / name).exists() for base in (room, PACKAGE, ROOT)):
        return True
    below = (module for module in MODULES if module.is_relative_to(room))
    return any(f"/{module.relative_to(room).as_posix()}".endswith(f"/{name}") for module in below)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.relative_to(ROOT).as_posix())
def test_a_room_speaks_of_each_of_its_files(page: Path) -> None:
    assert list(unnamed(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.relative_to(ROOT).as_posix())
def test_a_room_names_no_file_that_is_gone(page: Path) -> None:
    named = set(_FILE.findall(page.read_text("utf-8")))

    assert sorted(name for name in named if not _exists(page.parent, name)) == []
