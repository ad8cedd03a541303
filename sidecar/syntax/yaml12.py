"""YAML 1.2 core schema, with the position of every node and nothing that surprises.

Refused: duplicate keys, anchors and aliases, tags, merge keys, directives other than %YAML, keys
that are not strings. Plain scalars are null, bool, int, float or string by the 1.2 core schema
alone, so `no`, `on`, `0o7` beyond the schema, `12:30:45` and dates are strings, as they look.

Source: https://yaml.org/spec/1.2.2/ §10.3.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

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

Step = str | int
Positions = Mapping[tuple[Step, ...], tuple[int, int]]


class Document(msgspec.Struct, frozen=True):
    """One YAML document: its value and where each node stands (line and column from 1)."""

    name: str
    value: Any
    positions: dict[tuple[Step, ...], tuple[int, int]]

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
        _refuse_aliases(name, text)
        nodes = list(yaml.compose_all(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        raise PolicyError(f"{name}:{_mark(error)}: {_cause(error)}") from None
    except yaml.YAMLError as error:
        raise PolicyError(f"{name}:1:1: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise PolicyError(f"{name}:1:1: nested deeper than {YAML_DEPTH_MAX}") from None
    documents = (_Reader(name, keys_as_text=keys_as_text).document(node) for node in nodes)
    return [document for document in documents if document is not None]


def _refuse_aliases(name: str, text: str) -> None:
    """Look at the events before any tree is built: aliases expand and tags construct."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        problem = _event_problem(event, depth, count)
        if problem:
            mark = event.start_mark
            assert mark is not None
            raise PolicyError(f"{name}:{mark.line + 1}:{mark.column + 1}: {problem}")


def _event_problem(event: Any, depth: int, count: int) -> str | None:
    if depth > YAML_DEPTH_MAX:
        return f"nested deeper than {YAML_DEPTH_MAX}"
    if count > YAML_NODES_MAX:
        return f"more than {YAML_NODES_MAX} nodes"
    if isinstance(event, yaml.AliasEvent):
        return "aliases (`*name`) are not read"
    if getattr(event, "anchor", None):
        return "anchors (`&name`) are not read"
    if getattr(event, "tag", None):
        return "tags (`!name`) are not read"
    return None


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
    """Turns one node tree into values and positions."""

    def __init__(self, name: str, *, keys_as_text: bool) -> None:
        self.name = name
        self.keys_as_text = keys_as_text
        self.positions: dict[tuple[Step, ...], tuple[int, int]] = {}

    def document(self, node: yaml.Node) -> Document | None:
        if isinstance(node, yaml.ScalarNode) and not node.style and node.value == "":
            return None
        return Document(self.name, self._value(node, ()), self.positions)

    def _value(self, node: yaml.Node, path: tuple[Step, ...]) -> Any:
        self.positions[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, i)) for i, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return node.value if node.style else self._plain(node)

    def _pairs(self, node: yaml.MappingNode, path: tuple[Step, ...]) -> Iterator[tuple[str, Any]]:
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key in seen:
                raise self._problem(key_node, f"key `{key}` stands twice")
            seen.add(key)
            yield key, self._value(value_node, (*path, key))

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._problem(node, "a key is a string")
        plain = node.value if node.style or self.keys_as_text else self._plain(node)
        if not isinstance(plain, str) or (node.value == "<<" and not node.style):
            raise self._problem(node, f"key `{node.value}` is not a string; quote it")
        text: str = node.value
        return text

    def _plain(self, node: yaml.ScalarNode) -> Any:
        text: str = node.value
        if text in _NULL:
            return None
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if _INT.match(text):
            return self._integer(node, text, 10)
        if _OCTAL.match(text) or _HEX.match(text):
            return self._integer(node, text[2:], 8 if text[1] == "o" else 16)
        if _FLOAT.match(text):
            return float(text)
        if _INF.match(text) or _NAN.match(text):
            raise self._problem(node, "infinities and NaN are not read")
        return text

    def _integer(self, node: yaml.ScalarNode, digits: str, base: int) -> int:
        if len(digits) > 20:
            raise self._problem(node, "an integer outside the 64-bit range")
        value = int(digits, base)
        if not -(2**63) <= value < 2**63:
            raise self._problem(node, "an integer outside the 64-bit range")
        return value

    def _problem(self, node: yaml.Node, text: str) -> PolicyError:
        mark = node.start_mark
        return PolicyError(f"{self.name}:{mark.line + 1}:{mark.column + 1}: {text}")


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
