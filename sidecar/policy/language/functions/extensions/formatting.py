"""`format`: `%s %d %f %e %b %o %x %X %%`, with a precision for `%f` and `%e`.

A clause takes the next argument of the list; arguments left over are ignored. Doubles are rounded
half to even, as written exactly. Maps are written with their keys in the order of their texts.

Source: https://github.com/google/cel-go/blob/master/ext/README.md#format
"""

import math
import re
from collections.abc import Callable
from typing import Final

from sidecar.policy.language.faults import BudgetExceeded, InvalidArgument, NoSuchOverload
from sidecar.policy.language.functions.signature import member
from sidecar.policy.language.functions.standard.conversions import encoded, to_string
from sidecar.policy.language.values.equality import Walk, key_value
from sidecar.policy.language.values.kinds import Duration, Timestamp, TypeValue, Uint
from sidecar.policy.language.values.limits import PRECISION_MAX, TEXT_CHARS_MAX
from sidecar.policy.language.values.texts import timestamp_text

_CLAUSE: Final = re.compile(r"%(?:%|(?:\.([0-9]{1,6}))?([sdfeboxX]))")
_SPECIAL: Final = ("NaN", "Infinity", "-Infinity")
# Written as `string()` has them, but for what a double has no digits for.
_AS_STRINGS: Final = frozenset({str, bool, int, Uint, float, bytes, Duration})


class _Writer:
    """Collects what one call writes, within its bounds."""

    __slots__ = ("parts", "room", "walk")

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.room = TEXT_CHARS_MAX
        self.walk = Walk()

    def put(self, text: str) -> None:
        self.room -= len(text)
        if self.room < 0:
            raise BudgetExceeded
        self.parts.append(text)


def format_text(template: object, args: object) -> str:
    """Return `template` with its clauses replaced by the elements of `args`.

    Raises:
        InvalidArgument: A clause is unknown, or has no argument, or cannot show the one it has.
    """
    if type(template) is not str or type(args) is not list:
        raise NoSuchOverload
    out = _Writer()
    at, taken = 0, 0
    while (start := template.find("%", at)) >= 0:
        out.put(template[at:start])
        clause = _CLAUSE.match(template, start)
        if clause is None:
            raise InvalidArgument
        at = clause.end()
        if clause[2] is None:
            out.put("%")
            continue
        if taken >= len(args):
            raise InvalidArgument
        _write(clause, args[taken], out)
        taken += 1
    out.put(template[at:])
    return "".join(out.parts)


def _write(clause: re.Match[str], value: object, out: _Writer) -> None:
    precision = 6 if clause[1] is None else int(clause[1])
    if precision > PRECISION_MAX:
        raise InvalidArgument
    if clause[2] == "s":
        _text(value, out, 0)
    elif clause[2] in "fe":
        out.put(_fixed(value, f".{precision}{clause[2]}"))
    else:
        out.put(_WRITE[clause[2]](value))


def _text(value: object, out: _Writer, depth: int) -> None:
    out.walk.spend(1, depth)
    if type(value) is list:
        out.put("[")
        for position, item in enumerate(value):
            out.put(", " if position else "")
            _text(item, out, depth + 1)
        out.put("]")
    elif type(value) is dict:
        out.put("{")
        for position, (key, item) in enumerate(_sorted(value)):
            out.put(f", {key}: " if position else f"{key}: ")
            _text(item, out, depth + 1)
        out.put("}")
    else:
        out.put(_scalar(value))


def _sorted(mapping: dict[object, object]) -> list[tuple[str, object]]:
    entries = [(_scalar(key_value(key)), item) for key, item in mapping.items()]
    return sorted(entries, key=lambda entry: entry[0])


def _scalar(value: object) -> str:
    if type(value) is float and not math.isfinite(value):
        return _special(value)
    if type(value) in _AS_STRINGS:
        return to_string(value)
    if value is None:
        return "null"
    if type(value) is Timestamp:
        return timestamp_text(value, is_trimmed=True)
    if type(value) is TypeValue:
        return value.name
    raise InvalidArgument


def _special(value: float) -> str:
    return _SPECIAL[0] if math.isnan(value) else _SPECIAL[1 if value > 0 else 2]


def _fixed(value: object, form: str) -> str:
    if type(value) is str and value in _SPECIAL:
        return value
    if type(value) is int or type(value) is Uint:
        return format(float(value), form)
    if type(value) is float:
        return format(value, form) if math.isfinite(value) else _special(value)
    raise InvalidArgument


def _decimal(value: object) -> str:
    if type(value) is int or type(value) is Uint:
        return str(int(value))
    if type(value) is float:
        return _fixed(value, ".6f")
    raise InvalidArgument


def _binary(value: object) -> str:
    if type(value) is int or type(value) is Uint or type(value) is bool:
        return format(int(value), "b")
    raise InvalidArgument


def _octal(value: object) -> str:
    if type(value) is int or type(value) is Uint:
        return format(int(value), "o")
    raise InvalidArgument


def _hexadecimal(value: object) -> str:
    if type(value) is int or type(value) is Uint:
        return format(int(value), "x")
    if type(value) is str:
        return encoded(value).hex()
    if type(value) is bytes:
        return value.hex()
    raise InvalidArgument


_WRITE: Final[dict[str, Callable[[object], str]]] = {
    "d": _decimal,
    "b": _binary,
    "o": _octal,
    "x": _hexadecimal,
    "X": lambda value: _hexadecimal(value).upper(),
}

DECLARED: Final = (member("format", format_text, "string, list(dyn) -> string"),)
