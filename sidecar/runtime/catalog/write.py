"""Writes a catalogue as YAML, with the comments of the file that it replaces.

The same catalogue gives the same bytes. A comment belongs to the key that it stands before or
beside; one whose key is gone goes to the nearest that is left above it, so none is ever lost.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from sidecar.syntax.yaml12 import Document, load_documents
from sidecar.terms.call import Json

# What reads as nothing but a text, in flow style as well.
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*(?: [A-Za-z_][A-Za-z0-9_.]*)*\Z")
_WORDS: Final = frozenset(("null", "true", "false"))
_LINE: Final = 96
# A key of a block mapping, at the start of its line.
_KEY: Final = re.compile(
    r"""(?P<indent>[ ]*)
    (?P<key>"(?:[^"\\]|\\.)*" | '(?:[^']|'')*' | [^\s"'\#:\[\]{},-][^:\#]*?)
    [ ]*:(?:\s|$)""",
    re.VERBOSE,
)
Path_ = tuple[str | int, ...]


class Comments:
    """The comments of a file, by the path of the key that they stand before or beside."""

    def __init__(self) -> None:
        self.before: dict[Path_, list[str]] = {}
        self.beside: dict[Path_, str] = {}
        self.last: list[str] = []

    @classmethod
    def of(cls, text: str, document: Document) -> "Comments":
        """Read the comments of `text`, of which `document` is the only one."""
        found = cls()
        above: list[tuple[int, str]] = []
        waiting: list[str] = []
        for line in text.replace("\r\n", "\n").split("\n"):
            if line.strip().startswith("#"):
                waiting.append(line.strip())
                continue
            key = _KEY.match(line)
            if key is None:
                continue
            while above and above[-1][0] >= len(key["indent"]):
                above.pop()
            above.append((len(key["indent"]), _unquoted(key["key"])))
            path = tuple(name for _, name in above)
            if path not in document.positions:
                continue
            found.before.setdefault(path, []).extend(waiting)
            waiting = []
            beside = _beside(line)
            if beside:
                found.beside[path] = beside
        found.last = waiting
        return found

    def moved_to(self, kept: set[Path_]) -> None:
        """Hand the comments of keys that are gone to the nearest key above that is left."""
        gone = [(path, lines) for path, lines in self.before.items() if path not in kept]
        gone += [(path, [line]) for path, line in self.beside.items() if path not in kept]
        for path, lines in gone:
            above = path
            while above and above not in kept:
                above = above[:-1]
            if above:
                self.before.setdefault(above, []).extend(lines)
            else:
                self.last.extend(lines)


def _unquoted(key: str) -> str:
    if key.startswith('"'):
        return str(load_documents("", key.encode())[0].value)
    return key[1:-1].replace("''", "'") if key.startswith("'") else key


def _beside(line: str) -> str:
    """Return the comment at a line's end; inside quotes there is none."""
    quote = ""
    is_escaped = False
    for at, char in enumerate(line):
        if is_escaped:
            is_escaped = False
        elif quote:
            is_escaped = char == "\\" and quote == '"'
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == "#" and line[at - 1 : at].isspace():
            return line[at:].strip()
    return ""


def written(value: Mapping[str, Json], comments: Comments) -> str:
    """Return `value` as YAML."""
    comments.moved_to(set(_paths(value, ())))
    lines = list(_block(value, (), comments))
    return "\n".join([*lines, *comments.last, ""])


def _paths(value: Json, path: Path_) -> Iterator[Path_]:
    """Yield the paths of keys that get a line of their own."""
    if isinstance(value, dict) and _is_block(value, path):
        for key, one in value.items():
            yield (*path, key)
            yield from _paths(one, (*path, key))


def _is_block(value: Mapping[str, Json], path: Path_) -> bool:
    """Return whether a mapping gets a line for each key: those down to a column do not."""
    is_plain = all(
        not isinstance(one, dict) and not (isinstance(one, list) and one and _is_deep(one))
        for one in value.values()
    )
    return not (path and is_plain and value and len(_flow(value)) + 2 * len(path) <= _LINE)


def _is_deep(items: Sequence[Json]) -> bool:
    return any(isinstance(one, dict | list) for one in items)


def _block(value: Mapping[str, Json], path: Path_, comments: Comments) -> Iterator[str]:
    indent = "  " * len(path)
    for key, one in value.items():
        here = (*path, key)
        yield from (indent + line for line in comments.before.get(here, ()))
        name = indent + _scalar(key) + ":"
        beside = f"  {comments.beside[here]}" if here in comments.beside else ""
        if isinstance(one, dict) and one and _is_block(one, here):
            yield name + beside
            yield from _block(one, here, comments)
        elif isinstance(one, list) and len(name) + len(_flow(one)) > _LINE:
            yield name + beside
            yield from (f"{indent}  - {_flow(item)}" for item in one)
        else:
            yield f"{name} {_flow(one)}{beside}"


def _flow(value: Json) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: Json) -> str:
    if isinstance(value, str):
        is_plain = _PLAIN.match(value) and value.lower() not in _WORDS
        return value if is_plain else visible(json.dumps(value, ensure_ascii=False))
    return json.dumps(value)


def visible(text: str) -> str:
    """Return `text` with what is not seen, or moves what is seen, written as YAML escapes it."""
    return text if text.isprintable() else "".join(map(_seen, text))


def _seen(char: str) -> str:
    if char.isprintable():
        return char
    for letter, digits in (("x", 2), ("u", 4)):
        if ord(char) < 1 << 4 * digits:
            return f"\\{letter}{ord(char):0{digits}x}"
    return f"\\U{ord(char):08x}"


def put(path: Path, text: str) -> None:
    """Put a file in place of another at once, or leave the other as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        Path(name).chmod(mode)
        Path(name).replace(path)
    finally:
        # Once it is in its place there is nothing by this name.
        Path(name).unlink(missing_ok=True)
