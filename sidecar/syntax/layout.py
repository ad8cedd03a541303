"""A YAML file as it is laid out: every node with its style and text, every comment with its place.

For who writes a file anew without losing what people put into it. What is not read by `yaml12` is
not read here; a file is read by both.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import msgspec
import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_COMMENT: Final = re.compile(r"#[^\n]*")


class Comment(msgspec.Struct, frozen=True):
    """One comment, its `#` included.

    Attributes:
        trails: Whether something stands before it on its line.
        column: Where it begins on its line, from 0.
        apart: Whether an empty line stands above it.
    """

    at: int
    text: str
    trails: bool
    column: int
    apart: bool


class Scalar(msgspec.Struct, frozen=True):
    """A scalar as written: `style` is the quote, `|`, `>`, or nothing for a plain one."""

    start: int
    end: int
    value: str
    style: str
    raw: str


class Entry(msgspec.Struct):
    """One pair of a mapping, or one item of a sequence (`key` is None).

    Attributes:
        above: Comments on lines of their own, before it; an empty text for an empty line.
        beside: A comment behind it, on its line.
        apart: Whether an empty line stands before it.
    """

    start: int
    key: Scalar | None
    value: "Node"
    above: list[str] = []
    beside: str | None = None
    apart: bool = False


class Collection(msgspec.Struct, frozen=True):
    """A mapping or a sequence, in flow style (`{a: b}`) or in block style.

    Attributes:
        column: Of its first entry.
        below: Comments behind its last entry, as far to the right as its entries.
    """

    start: int
    end: int
    kind: Literal["mapping", "sequence"]
    is_flow: bool
    entries: list[Entry]
    column: int = 0
    below: list[str] = []


Node = Scalar | Collection


class Layout(msgspec.Struct, frozen=True):
    """One document: its node, the comments above its first line and those below its last."""

    node: Node
    head: list[str]
    tail: list[str]


def layouts(text: str) -> list[Layout]:
    """Return the documents of a file that `load_documents` reads."""
    tokens = [token for token in yaml.scan(text, Loader=_LOADER) if _has_text(token)]
    dashes = sorted(
        token.start_mark.index for token in tokens if isinstance(token, yaml.BlockEntryToken)
    )
    comments = list(_comments(text, tokens))
    builder = _Builder(text, dashes)
    composed: Any = yaml.compose_all(text, Loader=_LOADER)
    nodes = [builder.node(node) for node in composed if node is not None]
    return list(_placed(text, nodes, comments))


def comments_of(text: str) -> list[str]:
    """Return the comments of a file, in their order."""
    tokens = [token for token in yaml.scan(text, Loader=_LOADER) if _has_text(token)]
    return [comment.text for comment in _comments(text, tokens)]


def _has_text(token: Any) -> bool:
    return bool(token.end_mark.index > token.start_mark.index)


def _comments(text: str, tokens: Sequence[Any]) -> Iterator[Comment]:
    """Yield what stands between tokens and begins with `#`."""
    at = 0
    ends = [(token.start_mark.index, token.end_mark.index) for token in tokens]
    for start, end in [*sorted(ends), (len(text), len(text))]:
        for found in _COMMENT.finditer(text, at, max(at, start)):
            line = text.rfind("\n", 0, found.start()) + 1
            trails = bool(text[line : found.start()].strip())
            column, apart = found.start() - line, _is_below_nothing(text, line)
            yield Comment(found.start(), found.group().rstrip(), trails, column, apart)
        at = max(at, end)


def _is_below_nothing(text: str, line: int) -> bool:
    """Return whether the line above the one that begins at a place is empty."""
    above = text.rfind("\n", 0, max(0, line - 1)) + 1
    return line > 0 and not text[above : line - 1].strip()


class _Builder:
    """Turns the library's nodes into ours."""

    def __init__(self, text: str, dashes: Sequence[int]) -> None:
        self._text = text
        self._dashes = dashes

    def node(self, node: Any) -> Node:
        """Return a node with all that is below it."""
        start, end = node.start_mark.index, node.end_mark.index
        if isinstance(node, yaml.ScalarNode):
            return Scalar(start, end, node.value, node.style or "", self._text[start:end])
        kind: Literal["mapping", "sequence"] = "sequence"
        entries: list[Entry] = []
        if isinstance(node, yaml.MappingNode):
            kind = "mapping"
            for key, value in node.value:
                name = self.node(key)
                assert isinstance(name, Scalar)
                entries.append(Entry(name.start, name, self.node(value)))
        else:
            entries = [Entry(self._dash(item, node), None, self.node(item)) for item in node.value]
        for entry in entries:
            entry.apart = _is_below_nothing(self._text, self._line(entry.start))
        column = entries[0].start - self._line(entries[0].start) if entries else 0
        return Collection(start, end, kind, bool(node.flow_style), entries, column)

    def _line(self, at: int) -> int:
        return self._text.rfind("\n", 0, at) + 1

    def _dash(self, item: Any, parent: Any) -> int:
        """Return where the dash of an item stands, or in flow style the item itself."""
        start = int(item.start_mark.index)
        if parent.flow_style:
            return start
        return max((dash for dash in self._dashes if dash <= start), default=start)


def _placed(text: str, nodes: list[Node], comments: list[Comment]) -> Iterator[Layout]:
    """Yield the documents with each comment at the entry that it is about."""
    for number, node in enumerate(nodes):
        last = number == len(nodes) - 1
        until = len(text) if last else _separator(text, node, nodes[number + 1])
        own = [each for each in comments if each.at < until]
        comments = comments[len(own) :]
        entries = sorted(_entries(node), key=lambda entry: entry.start)
        layout = Layout(node, [], [])
        for comment in own:
            if not (comment.trails and _beside(entries, comment)):
                _add(_where(text, layout, entries, comment), comment)
        for entry in entries:
            _settle(entry)
        if layout.head and _is_below_nothing(text, text.rfind("\n", 0, node.start) + 1):
            layout.head.append("")
        yield layout


def _where(text: str, layout: Layout, entries: Sequence[Entry], comment: Comment) -> list[str]:
    """Return the comments to which one on a line of its own belongs."""
    if comment.at < layout.node.start:
        return layout.head
    following = next((each for each in entries if each.start > comment.at), None)
    inside = _inside(text, layout.node, comment, following)
    if inside is not None:
        return inside.below
    return layout.tail if following is None else following.above


def _add(told: list[str], comment: Comment) -> None:
    """Add a comment, and the empty line above it."""
    told += ["", comment.text] if comment.apart else [comment.text]


def _settle(entry: Entry) -> None:
    """Let an empty line stand above the comments on an entry, not between them and it."""
    if entry.above and not entry.above[0]:
        del entry.above[0]
        entry.apart = True


def _inside(text: str, node: Node, comment: Comment, following: Entry | None) -> Collection | None:
    """Return the collection at whose end a comment stands, None where that is not so.

    It ended before the comment, which stands as far to the right as its entries, and what follows
    stands less far.
    """
    least = 0
    if following is not None:
        least = following.start - (text.rfind("\n", 0, following.start) + 1)
    found = None
    while isinstance(node, Collection) and not node.is_flow:
        before = [entry for entry in node.entries if entry.start < comment.at]
        if not before or comment.trails:
            break
        if least < node.column <= comment.column:
            found = node
        node = before[-1].value
    return found


def _separator(text: str, node: Node, following: Node) -> int:
    """Return where the line stands that keeps two documents apart."""
    found = text.find("\n---", max(0, _last(node) - 1), following.start + 1)
    return found if found >= 0 else following.start


def _last(node: Node) -> int:
    """Return where the text of a node ends; of a block that is where its last scalar does."""
    if isinstance(node, Scalar) or node.is_flow or not node.entries:
        return node.end if isinstance(node, Collection) else node.start + len(node.raw.rstrip())
    return _last(node.entries[-1].value)


def _entries(node: Node) -> Iterator[Entry]:
    if isinstance(node, Collection):
        for entry in node.entries:
            yield entry
            yield from _entries(entry.value)


def _beside(entries: Sequence[Entry], comment: Comment) -> bool:
    """Put a comment beside the last entry that begins before it, if there is room.

    What stands in `{…}` or `[…]` that ends before the comment gives way to what has it as value.
    """
    before = [entry for entry in entries if entry.start < comment.at]
    if not before:
        return False
    last = before[-1]
    whole = (each for each in before if _closes(each.value, last.start, comment.at))
    last = next(whole, last)
    if last.beside is not None:
        return False
    last.beside = comment.text
    return True


def _closes(node: Node, inside: int, until: int) -> bool:
    """Return whether a collection in flow style is around a place and ends before another."""
    if isinstance(node, Scalar) or not node.is_flow:
        return False
    return node.start < inside < node.end <= until
