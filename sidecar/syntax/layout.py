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
    """One comment, its `#` included; `trails` where something stands before it on its line."""

    at: int
    text: str
    trails: bool


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
        above: Comments on lines of their own, before it.
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
    """A mapping or a sequence, in flow style (`{a: b}`) or in block style."""

    start: int
    end: int
    kind: Literal["mapping", "sequence"]
    is_flow: bool
    entries: list[Entry]


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
            yield Comment(found.start(), found.group().rstrip(), trails)
        at = max(at, end)


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
            entry.apart = self._is_apart(entry.start)
        return Collection(start, end, kind, bool(node.flow_style), entries)

    def _dash(self, item: Any, parent: Any) -> int:
        """Return where the dash of an item stands, or in flow style the item itself."""
        start = int(item.start_mark.index)
        if parent.flow_style:
            return start
        return max((dash for dash in self._dashes if dash <= start), default=start)

    def _is_apart(self, start: int) -> bool:
        """Return whether an empty line stands above a place, or above the comments before it."""
        line = self._text.rfind("\n", 0, start)
        while line >= 0:
            above = self._text.rfind("\n", 0, line)
            told = self._text[above + 1 : line].strip()
            if not told.startswith("#"):
                return not told
            line = above
        return False


def _placed(text: str, nodes: list[Node], comments: list[Comment]) -> Iterator[Layout]:
    """Yield the documents with each comment at the entry that it is about."""
    for number, node in enumerate(nodes):
        last = number == len(nodes) - 1
        until = len(text) if last else _separator(text, node, nodes[number + 1])
        own = [each for each in comments if each.at < until]
        comments = comments[len(own) :]
        entries = sorted(_entries(node), key=lambda entry: entry.start)
        head, tail = [], []
        for comment in own:
            if comment.trails and _beside(entries, comment):
                continue
            following = next((each for each in entries if each.start > comment.at), None)
            if comment.at < node.start:
                head.append(comment.text)
            elif following is None:
                tail.append(comment.text)
            else:
                following.above.append(comment.text)
        yield Layout(node, head, tail)


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
