"""Route templates and the trie that finds the one a path means.

A template is `/users/{id}`: a parameter fills a whole segment. A literal goes before a parameter at
each place. Two templates of one method that can match the same path must be comparable: one is at
least as literal as the other at every place. `/users/{id}` and `/{a}/me` are not, and frameworks
answer `/users/me` by whichever rule of their own; that is an error at load, so a lookup has exactly
one answer and no order of declaration matters. A lookup visits each node at most once.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from sidecar.syntax.rawpath import segment
from sidecar.terms.errors import ParseError
from sidecar.terms.words import ActionClass

_PARAMETER = re.compile(r"\{([A-Za-z0-9_.-]+)\}\Z")
_HOLE = re.compile(r"\{([A-Za-z0-9_.-]+)\}")

# A segment of a template: its decoded text, or None where a parameter stands.
Shape = tuple[str | None, ...]


class Route(msgspec.Struct, frozen=True):
    """One operation of an application.

    Args:
        method: Upper case.
        template: As declared, `/users/{id}`.
        where: `file:line:column` of the declaration.
        name: operationId or declared name; None leaves the method as the action's name.
        cls: Class of the action; None leaves the method's.
        labels: Of the route's resource.
        object_: `(type, id template)` of the thing behind the route, a second target.
        body: Whether a method without a body may carry one here.
        scalars: Query keys declared as single values: they may not repeat.
    """

    method: str
    template: str
    where: str
    name: str | None = None
    cls: ActionClass | None = None
    labels: tuple[str, ...] = ()
    object_: tuple[str, str] | None = None
    body: bool = False
    scalars: frozenset[str] = frozenset()


class Found(msgspec.Struct, frozen=True):
    """The route that a path means, with its parameters, each decoded once."""

    route: Route
    params: dict[str, str]


def read_template(template: str) -> tuple[Shape, tuple[str, ...]]:
    """Return the shape of a template and the names of its parameters, left to right.

    Raises:
        ValueError: It is not a template; the text says why.
    """
    if not template.startswith("/"):
        msg = "a template starts with `/`"
        raise ValueError(msg)
    parts = template[1:].split("/") if template != "/" else []
    shape: list[str | None] = []
    names: list[str] = []
    for place, part in enumerate(parts):
        named = _PARAMETER.match(part)
        if named:
            names.append(named[1])
            shape.append(None)
        elif part == "" and place == len(parts) - 1:
            shape.append("")
        else:
            shape.append(_literal(part))
    if len(set(names)) != len(names):
        msg = "a parameter is named twice"
        raise ValueError(msg)
    return tuple(shape), tuple(names)


def _literal(part: str) -> str:
    if "{" in part or "}" in part:
        msg = "a parameter fills a whole segment: `/{name}/`"
        raise ValueError(msg)
    try:
        return segment(part)
    except ParseError as error:
        raise ValueError(str(error)) from None


def fill(id_template: str, params: Mapping[str, str]) -> str:
    """Return `id_template` with `{name}` replaced by `params[name]`; an unknown name stays."""
    return _HOLE.sub(lambda hole: params.get(hole[1], hole[0]), id_template)


@dataclass(slots=True)
class _Node:
    """One place in the trie; `parameter` is what follows any segment that is not a literal here."""

    literals: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    entry: "_Entry | None" = None


@dataclass(frozen=True, slots=True)
class _Entry:
    route: Route
    shape: Shape
    names: tuple[str, ...]


class Routes:
    """The routes of one upstream, by method. Built once, then only read."""

    def __init__(self) -> None:
        self._tries: dict[str, _Node] = {}

    def add(self, route: Route) -> list[str]:
        """Add `route` and return the problems with it; with any, it is not added."""
        try:
            shape, names = read_template(route.template)
        except ValueError as error:
            return [f"{route.where}: {error}; found `{route.template}`"]
        root = self._tries.setdefault(route.method, _Node())
        clashes = [
            other for other in _overlapping(root, shape) if not _comparable(shape, other.shape)
        ]
        if clashes:
            return [_clash(route, other.route) for other in clashes]
        _insert(root, _Entry(route, shape, names))
        return []

    def find(self, method: str, path: Sequence[str]) -> Found | None:
        """Return what decoded `path` means; HEAD is GET unless it is declared itself."""
        for tried in (method, "GET") if method == "HEAD" else (method,):
            root = self._tries.get(tried)
            entry = _lookup(root, path, 0) if root else None
            if entry:
                values = (
                    text for text, literal in zip(path, entry.shape, strict=True) if literal is None
                )
                return Found(entry.route, dict(zip(entry.names, values, strict=True)))
        return None


def _lookup(node: _Node, path: Sequence[str], place: int) -> _Entry | None:
    if place == len(path):
        return node.entry
    text = path[place]
    exact = node.literals.get(text)
    found = _lookup(exact, path, place + 1) if exact else None
    # The empty segment is a trailing slash and never a parameter's value.
    if found or node.parameter is None or text == "":
        return found
    return _lookup(node.parameter, path, place + 1)


def _overlapping(node: _Node, shape: Shape) -> Iterator[_Entry]:
    """Yield each entry that matches some path that `shape` matches."""
    if not shape:
        if node.entry:
            yield node.entry
        return
    first, rest = shape[0], shape[1:]
    if first is None:
        following = [child for text, child in node.literals.items() if text]
    else:
        following = [node.literals[first]] if first in node.literals else []
    if node.parameter and first != "":
        following.append(node.parameter)
    for child in following:
        yield from _overlapping(child, rest)


def _comparable(one: Shape, other: Shape) -> bool:
    """Return whether one of two overlapping shapes is strictly the more literal."""
    only_one = any(a is not None and b is None for a, b in zip(one, other, strict=True))
    only_other = any(a is None and b is not None for a, b in zip(one, other, strict=True))
    return only_one != only_other


def _insert(node: _Node, entry: _Entry) -> None:
    for text in entry.shape:
        if text is not None:
            node = node.literals.setdefault(text, _Node())
            continue
        if node.parameter is None:
            node.parameter = _Node()
        node = node.parameter
    node.entry = entry


def _clash(route: Route, other: Route) -> str:
    return (
        f"{route.where}: `{route.method} {route.template}` and `{other.template}` ({other.where}) "
        "match the same path and neither is more specific"
    )
