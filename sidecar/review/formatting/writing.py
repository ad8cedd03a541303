"""Write a document anew: two spaces a level, keys in their order, quotes where they are needed.

A collection in flow style stays one while it fits on a line and holds no comment. Texts that go
over several lines keep their lines, which are only moved.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from sidecar.review.formatting.order import ITEM, Path, order_of
from sidecar.syntax.layout import Collection, Entry, Layout, Node, Scalar

COLUMNS_MAX: Final = 160
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*\Z")
_HEADER: Final = re.compile(r"[|>](?:([+-]?)[1-9]?|[1-9]([+-]))(?P<rest>\s.*)?\Z")
# What a plain word would be read as instead of a text; the last are other readers' booleans.
_TAKEN: Final = re.compile(r"(?:null|true|false|yes|no|on|off|y|n)\Z", re.IGNORECASE)


def written(layout: Layout, kind: str) -> str:
    """Return the text of one document."""
    tail = layout.tail[1:] if _keeps(layout.node) and layout.tail[:1] == [""] else layout.tail
    return "\n".join([*layout.head, *_Writer(kind).block(layout.node, 0, ()), *tail]) + "\n"


class _Writer:
    """Writes the nodes of one document."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def block(self, node: Node, indent: int, path: Path) -> Iterator[str]:
        """Yield the lines of a node that begins a line."""
        if isinstance(node, Scalar):
            yield from _indented(_scalar(node), indent)
        elif not node.entries:
            yield " " * indent + ("{}" if node.kind == "mapping" else "[]")
        else:
            before: Entry | None = None
            for entry in self._ordered(node, path):
                # Behind a text that keeps its end, an empty line would be more of it.
                if entry.apart and before is not None and not _keeps(before.value):
                    yield ""
                yield from _indented(entry.above, indent)
                yield from self._entry(entry, indent, path)
                before = entry
            yield from _indented(_below(node), indent)

    def _entry(self, entry: Entry, indent: int, path: Path) -> Iterator[str]:
        lead = " " * indent + ("- " if entry.key is None else f"{_scalar(entry.key)[0]}:")
        below = (*path, ITEM if entry.key is None else entry.key.value)
        lines = list(self._value(entry, lead, indent, below))
        if entry.beside is not None:
            lines[0] = f"{lines[0].rstrip()}  {entry.beside}"
        yield from lines

    def _value(self, entry: Entry, lead: str, indent: int, path: Path) -> Iterator[str]:
        node, gap = entry.value, "" if entry.key is None else " "
        if isinstance(node, Scalar):
            first, *rest = _scalar(node)
            yield (lead + gap + first) if first else lead.rstrip()
            yield from _indented(rest, indent + 2)
            return
        flat = self.flow(node, path) if node.is_flow or not node.entries else None
        if flat is not None and len(lead + gap + flat) <= COLUMNS_MAX:
            yield lead + gap + flat
        elif entry.key is None:
            # The first line of an item stands behind its dash.
            first, *rest = self.block(node, indent + 2, path)
            told = [first, *rest]
            at = next(number for number, line in enumerate(told) if not _is_comment(line))
            yield from _indented([line.lstrip() for line in told[:at]], indent)
            yield lead + told[at].lstrip(" ")
            yield from told[at + 1 :]
        else:
            yield lead
            yield from self.block(node, indent + 2, path)

    def flow(self, node: Node, path: Path) -> str | None:
        """Return a node on one line, None where a comment or a text of lines forbids it."""
        if isinstance(node, Scalar):
            lines = _scalar(node)
            return lines[0] if len(lines) == 1 else None
        parts = []
        for entry in self._ordered(node, path):
            below = (*path, ITEM if entry.key is None else entry.key.value)
            told = self.flow(entry.value, below)
            if told is None or entry.above or entry.beside is not None:
                return None
            name = None if entry.key is None else _scalar(entry.key)[0]
            parts.append(told if name is None else f"{name}: {told}".rstrip())
        inside = ", ".join(parts)
        return f"{{{inside}}}" if node.kind == "mapping" else f"[{inside}]"

    def _ordered(self, node: Collection, path: Path) -> list[Entry]:
        if node.kind == "sequence":
            return node.entries
        order = {name: place for place, name in enumerate(order_of(self._kind, path))}
        return sorted(node.entries, key=lambda each: order.get(_name(each), len(order)))


def _name(entry: Entry) -> str:
    return "" if entry.key is None else entry.key.value


def _is_comment(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _keeps(node: Node) -> bool:
    """Return whether a node ends with a text to which the empty lines behind it belong."""
    while isinstance(node, Collection) and node.entries and not node.below:
        node = node.entries[-1].value
    return isinstance(node, Scalar) and _header(node)[1] == "+"


def _below(node: Collection) -> list[str]:
    """Return the comments at the end of a collection."""
    drops = node.below[:1] == [""] and _keeps(node.entries[-1].value)
    return node.below[1:] if drops else node.below


def _indented(lines: Sequence[str], indent: int) -> Iterator[str]:
    yield from (" " * indent + line if line else "" for line in lines)


def _scalar(node: Scalar) -> list[str]:
    """Return the lines of a scalar; all but the first still want their indentation."""
    if node.style in {"|", ">"}:
        return _literal(node)
    lines = [line.strip() for line in node.raw.rstrip().split("\n")]
    if len(lines) > 1 or not node.style:
        return lines
    return [_quoted(node.value, node.raw)]


def _quoted(value: str, raw: str) -> str:
    """Return a text that was quoted: bare where it is a word, else in double quotes."""
    if _WORD.match(value) and not _TAKEN.match(value):
        return value
    if raw.startswith("'") and not re.search(r'["\\\x00-\x1f\x7f-\xa0\u2028\u2029\ufeff]', value):
        return f'"{value}"'
    return raw


def _literal(node: Scalar) -> list[str]:
    """Return the lines of a block scalar, without the indentation that they had."""
    style, chomping, rest = _header(node)
    lines = _filled(node.value, chomping) if style == "|" else _folded(node, chomping)
    told = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
    # How far to the right it stands cannot be seen where it begins with spaces.
    width = "2" if any(line.startswith(" ") for line in lines[: told + 1]) else ""
    return [f"{style}{width}{chomping}{rest}", *lines]


def _header(node: Scalar) -> tuple[str, str, str]:
    """Return style, chomping, and the comment of the first line of a block scalar."""
    if node.style not in {"|", ">"}:
        return node.style, "", ""
    found = _HEADER.match(node.raw.partition("\n")[0].rstrip())
    assert found is not None
    return node.style, found[1] or found[2] or "", found["rest"] or ""


def _filled(value: str, chomping: str) -> list[str]:
    """Return the lines of a text that keeps its lines."""
    lines = value.split("\n")
    return lines if chomping == "-" and value else lines[:-1]


def _folded(node: Scalar, chomping: str) -> list[str]:
    """Return the lines of a text whose lines are joined, as they were written."""
    lines = node.raw.rstrip().split("\n")[1:]
    first = next((line for line in lines if line.strip()), "")
    value = node.value.lstrip("\n")
    least = _spaces(first) - _spaces(value)
    kept = len(node.value) - len(node.value.rstrip("\n")) if chomping == "+" else 0
    return [*(line[least:] for line in lines), *[""] * (kept - bool(first))]


def _spaces(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
