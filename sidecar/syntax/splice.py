"""Puts another text in the place of one inside of a value; all else stays as it is.

JSON that is held as text or bytes on the way there stays byte for byte what it was, but for the one
string: a reader that tells `1.0` from `1.00`, or cares for the order of keys, reads the rest as it
was judged. The string itself is written by the serializer.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

import orjson

from sidecar.terms.call import Json

Step = str | int

# Of a text that is JSON already: a string, a mark, or a number or a word.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}:,]|[^\s\[\]{}:,"]++', re.DOTALL)
_DEEPER: Final = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}
_Tokens = Iterator["re.Match[bytes]"]


def spliced(value: Json, steps: Sequence[Step], text: str) -> Json:
    """Return `value` with `text` in the place of the text at `steps`; `value` stays as it is.

    Args:
        value: Objects and lists, or JSON of them as text or bytes, which `json.loads` reads.
        steps: Keys and indexes, from the outermost; each of them is there.
        text: What stands there from now on.
    """
    if not steps:
        assert isinstance(value, str), "only a text is replaced"
        return text
    if isinstance(value, bytes):
        return _in_json(value, steps, text)
    if isinstance(value, str):
        return _in_json(value.encode(), steps, text).decode()
    copy = value.copy()
    copy[steps[0]] = spliced(value[steps[0]], steps[1:], text)
    return copy


def _in_json(raw: bytes, steps: Sequence[Step], text: str) -> bytes:
    start, end = _span(_TOKEN.finditer(raw), steps)
    assert raw[start:end].startswith(b'"'), "only a text is replaced"
    return raw[:start] + orjson.dumps(text) + raw[end:]


def _span(tokens: _Tokens, steps: Sequence[Step]) -> tuple[int, int]:
    """Return where the value at `steps` of the value that comes next begins and ends."""
    first = next(tokens)
    for step in steps:
        if isinstance(step, int):
            assert first.group() == b"[", "an index of what is no list"
            _skip(tokens, step)
        else:
            assert first.group() == b"{", "a key of what is no object"
            _find(tokens, step)
        first = next(tokens)
    return first.span()


def _skip(tokens: _Tokens, values: int) -> None:
    """Read over so many values, each with what follows it."""
    for _ in range(values):
        depth = 0
        for token in tokens:
            depth += _DEEPER.get(token.group(), 0)
            if depth == 0:
                break
        next(tokens)


def _find(tokens: _Tokens, key: str) -> None:
    """Read up to the value of a key of the object that was begun."""
    while True:
        name, _colon = next(tokens), next(tokens)
        if orjson.loads(name.group()) == key:
            return
        _skip(tokens, 1)
