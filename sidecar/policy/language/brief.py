"""Values and texts cut to what a person reads: bounded, on one line, without hidden characters.

What is shown comes from calls. So whatever is long is cut and says so, and whatever a terminal
would act upon or hide (escapes, marks that turn the direction of text) is spelt out.
"""

import json
from typing import Final

from sidecar.policy.language.values import Maybe, key_value, to_json
from sidecar.terms.call import Json

TEXT_CHARS_MAX: Final = 120
ITEMS_MAX: Final = 8
DEPTH_MAX: Final = 4
# Of a part of an expression.
SOURCE_CHARS_MAX: Final = 160


def brief(value: object, depth: int = 0) -> Json:
    """Return a value in plain JSON, cut where it is long, wide or deep."""
    if type(value) is str:
        return _cut(value, TEXT_CHARS_MAX)
    if type(value) is Maybe:
        return {"optional": brief(value.value, depth + 1)} if value.has else {"optional": None}
    if type(value) is list:
        return _list(value, depth)
    if type(value) is dict:
        return _map(value, depth)
    if isinstance(value, bytes):
        return _cut(str(to_json(value[:TEXT_CHARS_MAX])), TEXT_CHARS_MAX)
    return to_json(value)


def _list(value: list[object], depth: int) -> Json:
    if depth >= DEPTH_MAX and value:
        return [f"… {len(value)}"]
    more = [f"… {len(value) - ITEMS_MAX} more"] if len(value) > ITEMS_MAX else []
    return [*(brief(one, depth + 1) for one in value[:ITEMS_MAX]), *more]


def _map(value: dict[object, object], depth: int) -> Json:
    if depth >= DEPTH_MAX and value:
        return {"…": str(len(value))}
    shown = list(value.items())[:ITEMS_MAX]
    found = {_key(key): brief(one, depth + 1) for key, one in shown}
    if len(value) > ITEMS_MAX:
        found["…"] = f"{len(value) - ITEMS_MAX} more"
    return found


def _key(key: object) -> str:
    value = key_value(key)
    return _cut(value, TEXT_CHARS_MAX) if type(value) is str else json.dumps(to_json(value))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


def written(value: object) -> str:
    """Return a value as text on one line, much as it stands in an expression."""
    return printable(json.dumps(brief(value), ensure_ascii=False))


def quoted(source: str) -> str:
    """Return a part of an expression on one line."""
    return printable(_cut(" ".join(source.split()), SOURCE_CHARS_MAX))


def printable(text: str) -> str:
    """Return `text` with what no terminal shows as itself spelt out."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else f"\\u{{{ord(one):x}}}" for one in text)
