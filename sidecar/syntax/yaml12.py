"""YAML 1.2 core schema, with the position of every node and nothing that surprises.

Refused: duplicate keys, anchors and aliases, tags, merge keys, directives other than %YAML, keys
that are not strings. Plain scalars are null, bool, int, float or string by the 1.2 core schema
alone, so `no`, `on`, `0o7` beyond the schema, `12:30:45` and dates are strings, as they look.

Values are made from the parser's events as they come: no tree of nodes is ever built, so nothing
is there to expand or construct, and each bound holds before what lies beyond it is read.

Source: https://yaml.org/spec/1.2.2/ §10.3.
"""

import re
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Any, Final

import msgspec
import yaml

from sidecar.syntax.limits import YAML_BYTES_MAX, YAML_DEPTH_MAX, YAML_NODES_MAX
from sidecar.terms.errors import PolicyError

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE = frozenset(("true", "True", "TRUE"))
_FALSE = frozenset(("false", "False", "FALSE"))
_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL = re.compile(r"0o[0-7]+\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_INF = re.compile(r"[-+]?\.(inf|Inf|INF)\Z")
_NAN = re.compile(r"\.(nan|NaN|NAN)\Z")
# A number begins with one of these, and hardly a word does.
_NUMERIC: Final = frozenset("+-.0123456789")
# A column in the low bits, its line above; a file of the largest size has fewer of either.
_COLUMN_BITS: Final = 24
assert YAML_BYTES_MAX < 1 << _COLUMN_BITS

Step = str | int
Positions = Mapping[tuple[Step, ...], tuple[int, int]]


class _Places(Mapping[tuple[Step, ...], tuple[int, int]]):
    """Where each node of a value stands, twelve bytes a node.

    Nodes are numbered in the order of the text. `marks` has line and column of each, `after` the
    number of the first node that is not below it; the way to a number is looked for when asked.
    """

    __slots__ = ("_after", "_children", "_marks", "_value")

    def __init__(self, value: Any, marks: "array[int]", after: "array[int]") -> None:
        self._value = value
        self._marks = marks
        self._after = after
        self._children: dict[int, dict[Step, int]] = {}

    def __getitem__(self, path: tuple[Step, ...]) -> tuple[int, int]:
        node, value = 0, self._value
        for step in path:
            below = self._below(node, value)
            if step not in below:
                raise KeyError(path)
            node, value = below[step], value[step]
        mark = self._marks[node]
        return mark >> _COLUMN_BITS, mark & (1 << _COLUMN_BITS) - 1

    def __len__(self) -> int:
        return len(self._marks)

    def __iter__(self) -> Iterator[tuple[Step, ...]]:
        rest: list[tuple[tuple[Step, ...], Any]] = [((), self._value)]
        while rest:
            path, value = rest.pop()
            yield path
            if isinstance(value, dict):
                rest += [((*path, key), each) for key, each in reversed(value.items())]
            elif isinstance(value, list):
                rest += [((*path, at), value[at]) for at in reversed(range(len(value)))]

    def _below(self, node: int, value: Any) -> Mapping[Step, int]:
        """Return the numbers of the nodes directly below one, by key or index."""
        found = self._children.get(node)
        if found is None:
            steps = (
                value if isinstance(value, dict) else range(len(value) * isinstance(value, list))
            )
            found = self._children[node] = {}
            at = node + 1
            for step in steps:
                found[step] = at
                at = self._after[at]
        return found


class Document(msgspec.Struct, frozen=True):
    """One YAML document: its value and where each node stands (line and column from 1)."""

    name: str
    value: Any
    positions: Positions

    def where(self, *path: Step) -> str:
        """Return `file:line:column` of `path`, or of its nearest parent that has a position."""
        steps = path
        while steps and steps not in self.positions:
            steps = steps[:-1]
        line, column = self.positions.get(steps, (1, 1))
        return f"{self.name}:{line}:{column}"


def load_documents(name: str, data: bytes, *, keys_as_text: bool = False) -> list[Document]:
    """Return every document of a YAML file; an empty document is left out.

    Args:
        name: Of the file, for positions.
        data: Its bytes.
        keys_as_text: Read a plain `200:` as the key `"200"`, as OpenAPI documents write it;
            everywhere else a key that is not a string is refused.

    Raises:
        PolicyError: With `file:line:column` of the first thing that cannot be read.
    """
    if len(data) > YAML_BYTES_MAX:
        raise PolicyError(f"{name}:1:1: larger than {YAML_BYTES_MAX} bytes")
    try:
        text = data.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise PolicyError(f"{name}:1:1: not UTF-8") from None
    try:
        return list(_Reader(name, text, keys_as_text=keys_as_text).documents())
    except yaml.MarkedYAMLError as error:
        raise PolicyError(f"{name}:{_mark(error)}: {_cause(error)}") from None
    except yaml.YAMLError as error:
        raise PolicyError(f"{name}:1:1: {' '.join(str(error).split())}") from None


def _mark(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return "1:1" if mark is None else f"{mark.line + 1}:{mark.column + 1}"


def _cause(error: yaml.MarkedYAMLError) -> str:
    text = " ".join(str(error.problem or error.context or "not YAML").split())
    if "mapping values are not allowed" in text or "expected <block end>" in text:
        # The commonest slip: `when: a == 'b: c'` or a leading quote inside an expression.
        text += "; quote the value, for example when: \"actor.id == 'a'\""
    return text


class _Reader:
    """Turns the events of one file into values and positions."""

    __slots__ = ("_after", "_count", "_depth", "_event", "_keys_as_text", "_marks", "_name")

    def __init__(self, name: str, text: str, *, keys_as_text: bool) -> None:
        self._name = name
        self._keys_as_text = keys_as_text
        self._event: Callable[[], Any] = _LOADER(text).get_event
        self._count = 0
        self._depth = 0
        self._marks = array("Q")
        self._after = array("I")

    def documents(self) -> Iterator[Document]:
        """Yield every document that is not empty."""
        while not isinstance(event := self._next(), yaml.StreamEndEvent):
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            if event.tags:
                raise self._problem(event, "directives other than %YAML are not read")
            self._marks, self._after = array("Q"), array("I")
            first = self._next()
            value = self._value(first)
            if not (type(first) is yaml.ScalarEvent and not first.style and first.value == ""):
                yield Document(self._name, value, _Places(value, self._marks, self._after))

    def _next(self) -> Any:
        """Return the next event, which neither refers to another place nor constructs a thing."""
        event = self._event()
        self._count += 1
        if self._count > YAML_NODES_MAX:
            raise self._problem(event, f"more than {YAML_NODES_MAX} nodes")
        return event

    def _value(self, event: Any) -> Any:
        number = len(self._marks)
        mark = event.start_mark
        self._marks.append((mark.line + 1) << _COLUMN_BITS | mark.column + 1)
        self._after.append(number + 1)
        if type(event) is yaml.ScalarEvent:
            self._refuse_named(event)
            return event.value if event.style else self._plain(event)
        return self._collection(event, number)

    def _collection(self, event: Any, number: int) -> Any:
        self._depth += 1
        if self._depth > YAML_DEPTH_MAX:
            raise self._problem(event, f"nested deeper than {YAML_DEPTH_MAX}")
        self._refuse_named(event)
        is_map = type(event) is yaml.MappingStartEvent
        found = self._mapping() if is_map else self._sequence()
        self._depth -= 1
        self._after[number] = len(self._marks)
        return found

    def _refuse_named(self, event: Any) -> None:
        if type(event) is yaml.AliasEvent:
            raise self._problem(event, "aliases (`*name`) are not read")
        if event.anchor:
            raise self._problem(event, "anchors (`&name`) are not read")
        if event.tag:
            raise self._problem(event, "tags (`!name`) are not read")

    def _sequence(self) -> list[Any]:
        found = []
        while type(event := self._next()) is not yaml.SequenceEndEvent:
            found.append(self._value(event))
        return found

    def _mapping(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while type(event := self._next()) is not yaml.MappingEndEvent:
            key = self._key(event)
            if key in found:
                raise self._problem(event, f"key `{key}` stands twice")
            found[key] = self._value(self._next())
        return found

    def _key(self, event: Any) -> str:
        self._refuse_named(event)
        if type(event) is not yaml.ScalarEvent:
            raise self._problem(event, "a key is a string")
        text: str = event.value
        plain = text if event.style or self._keys_as_text else self._plain(event)
        if not isinstance(plain, str) or (text == "<<" and not event.style):
            raise self._problem(event, f"key `{text}` is not a string; quote it")
        return sys.intern(text)

    def _plain(self, event: Any) -> Any:
        text: str = event.value
        if text in _NULL:
            return None
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        return self._number(event, text) if text[0] in _NUMERIC else text

    def _number(self, event: Any, text: str) -> Any:
        """Return the number that `text` is, or `text` itself."""
        if _INT.match(text):
            return self._integer(event, text, 10)
        if _OCTAL.match(text) or _HEX.match(text):
            return self._integer(event, text[2:], 8 if text[1] == "o" else 16)
        if _FLOAT.match(text) and isfinite(float(text)):
            return float(text)
        if _FLOAT.match(text):
            raise self._problem(event, "a number beyond the range of a double")
        if _INF.match(text) or _NAN.match(text):
            raise self._problem(event, "infinities and NaN are not read")
        return text

    def _integer(self, event: Any, digits: str, base: int) -> int:
        if len(digits) > 20:
            raise self._problem(event, "an integer outside the 64-bit range")
        value = int(digits, base)
        if not -(2**63) <= value < 2**63:
            raise self._problem(event, "an integer outside the 64-bit range")
        return value

    def _problem(self, event: Any, text: str) -> PolicyError:
        mark = event.start_mark
        return PolicyError(f"{self._name}:{mark.line + 1}:{mark.column + 1}: {text}")


class _Dumper(yaml.SafeDumper):
    """Writes what `load_documents` reads back as the same value: no aliases, odd strings quoted."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never alias: our own reader refuses aliases."""
        return True


def _quoted_where_odd(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    odd = _OCTAL.match(text) or _HEX.match(text) or _FLOAT.match(text) or _INT.match(text)
    style = '"' if odd or text in ("y", "n", "Y", "N") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _quoted_where_odd)


def dump(value: Any) -> str:
    """Return `value` as YAML text that reads back as itself, keys in their own order."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text
