"""The strings extension without `format`: positions are code points, results are bounded.

`indexOf` and `lastIndexOf` without a start are declared in `aggregates`, for lists have them too.

`lastIndexOf` searches the reversed text: Python's search forwards is linear, its search backwards
is not. White space is Unicode's White_Space property, which is not what `str.strip` removes.

Source: https://github.com/google/cel-go/blob/master/ext/README.md#strings
"""

from typing import Final

from sidecar.policy.language.faults import (
    BudgetExceeded,
    IndexOutOfRange,
    InvalidArgument,
    NoSuchOverload,
)
from sidecar.policy.language.functions.signature import function, member
from sidecar.policy.language.values.limits import ITEMS_MAX, TEXT_CHARS_MAX

_WHITE: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_ASCII: Final = range(26)
_UPPER: Final = {97 + letter: 65 + letter for letter in _ASCII}
_LOWER: Final = {65 + letter: 97 + letter for letter in _ASCII}
_QUOTED: Final = str.maketrans(
    {
        "\a": r"\a",
        "\b": r"\b",
        "\f": r"\f",
        "\n": r"\n",
        "\r": r"\r",
        "\t": r"\t",
        "\v": r"\v",
        "\\": r"\\",
        '"': r"\"",
    }
)


def _bounded(size: int) -> None:
    if size > TEXT_CHARS_MAX:
        raise BudgetExceeded


def _within(position: int, text: str) -> None:
    if not 0 <= position <= len(text):
        raise IndexOutOfRange


def char_at(text: object, position: object) -> str:
    """Return the code point at `position`, or nothing at the end of the text."""
    if type(text) is str and type(position) is int:
        _within(position, text)
        return text[position : position + 1]
    raise NoSuchOverload


def index_of(text: object, part: object, start: object = 0) -> int:
    """Return where `part` first stands at or after `start`, or -1."""
    if type(text) is str and type(part) is str and type(start) is int:
        _within(start, text)
        return text.find(part, start)
    raise NoSuchOverload


def last_index_of(text: object, part: object) -> int:
    """Return where `part` last stands, or -1."""
    if type(text) is str and type(part) is str:
        return _last_index(text, part, len(text))
    raise NoSuchOverload


def last_index_of_from(text: object, part: object, last: object) -> int:
    """Return where `part` last stands at or before `last`, or -1."""
    if type(text) is str and type(part) is str and type(last) is int:
        _within(last, text)
        return _last_index(text, part, last)
    raise NoSuchOverload


def _last_index(text: str, part: str, last: int) -> int:
    end = min(last + len(part), len(text))
    at = text[:end][::-1].find(part[::-1])
    return -1 if at < 0 else end - at - len(part)


def substring(text: object, start: object) -> str:
    """Return the text from `start`."""
    if type(text) is str and type(start) is int:
        _within(start, text)
        return text[start:]
    raise NoSuchOverload


def substring_to(text: object, start: object, end: object) -> str:
    """Return the text from `start` up to `end`."""
    if type(text) is str and type(start) is int and type(end) is int:
        _within(start, text)
        _within(end, text)
        if start > end:
            raise InvalidArgument
        return text[start:end]
    raise NoSuchOverload


def lower_ascii(text: object) -> str:
    """Return `text` with A to Z in lower case and all else as it is."""
    if type(text) is str:
        return text.translate(_LOWER)
    raise NoSuchOverload


def upper_ascii(text: object) -> str:
    """Return `text` with a to z in upper case and all else as it is."""
    if type(text) is str:
        return text.translate(_UPPER)
    raise NoSuchOverload


def trim(text: object) -> str:
    """Return `text` without white space at its ends."""
    if type(text) is str:
        return text.strip(_WHITE)
    raise NoSuchOverload


def replace(text: object, old: object, new: object) -> str:
    """Return `text` with every `old` replaced; an empty `old` stands around each code point."""
    return replace_some(text, old, new, -1)


def replace_some(text: object, old: object, new: object, count: object) -> str:
    """Return `text` with the first `count` of `old` replaced; all if it is negative."""
    if not (type(text) is str and type(old) is str and type(new) is str and type(count) is int):
        raise NoSuchOverload
    if len(new) > len(old):
        there = text.count(old)
        times = there if count < 0 else min(there, count)
        _bounded(len(text) + times * (len(new) - len(old)))
    return text.replace(old, new, min(count, len(text) + 1))


def split(text: object, separator: object) -> list[object]:
    """Return the parts of `text` between separators; an empty one parts the code points."""
    return split_some(text, separator, -1)


def split_some(text: object, separator: object, count: object) -> list[object]:
    """Return at most `count` parts, the last with all the rest; all parts if it is negative."""
    if not (type(text) is str and type(separator) is str and type(count) is int):
        raise NoSuchOverload
    if count == 0:
        return []
    most = ITEMS_MAX + 1 if count < 0 else min(count, ITEMS_MAX + 1)
    if separator:
        parts: list[object] = list(text.split(separator, most - 1))
    else:
        parts = [*text[: most - 1], text[most - 1 :]] if len(text) > most - 1 else list(text)
        parts = parts or [""]
    if len(parts) > ITEMS_MAX:
        raise BudgetExceeded
    return parts


def join(parts: object, separator: object = "") -> str:
    """Return the strings of a list one after the other."""
    if type(parts) is not list or type(separator) is not str:
        raise NoSuchOverload
    size = len(separator) * max(len(parts) - 1, 0)
    for part in parts:
        if type(part) is not str:
            raise NoSuchOverload
        size += len(part)
    _bounded(size)
    return separator.join(parts)


def quote(text: object) -> str:
    """Return `text` as a literal in double quotes."""
    if type(text) is str:
        _bounded(2 * len(text))
        return f'"{text.translate(_QUOTED)}"'
    raise NoSuchOverload


DECLARED: Final = (
    member("charAt", char_at, "string, int -> string"),
    member("indexOf", index_of, "string, string, int -> int"),
    member("lastIndexOf", last_index_of_from, "string, string, int -> int"),
    member("substring", substring, "string, int -> string"),
    member("substring", substring_to, "string, int, int -> string"),
    member("lowerAscii", lower_ascii, "string -> string"),
    member("upperAscii", upper_ascii, "string -> string"),
    member("trim", trim, "string -> string"),
    member("replace", replace, "string, string, string -> string"),
    member("replace", replace_some, "string, string, string, int -> string"),
    member("split", split, "string, string -> list(string)"),
    member("split", split_some, "string, string, int -> list(string)"),
    member("join", join, "list(string) -> string"),
    member("join", join, "list(string), string -> string"),
    function("strings.quote", quote, "string -> string"),
)
