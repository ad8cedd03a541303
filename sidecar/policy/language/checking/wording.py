"""What the checker says of a mistake: what was found, and what was probably meant."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final

from sidecar.policy.language.checking.names import Path
from sidecar.policy.language.functions.signature import Function
from sidecar.policy.language.types import DURATION, STRING, TIMESTAMP, AnyType, Record, fits

_SHOWN_MAX: Final = 12
_ORDER: Final = frozenset({"<", "<=", ">", ">="})
NOT_IN: Final = "`!` is read before `in`: write `!(x in list)`"
# Operators as they are written.
_WRITTEN: Final = {"@in": "in", "_[_]": "[…]", "_[?_]": "[?…]"}


def a(found: AnyType) -> str:
    """Return a type with its article."""
    said = str(found)
    article = "an" if said[0] in "aeio" else "a"
    return f"{article} {said}"


def written(function: str) -> str:
    """Return a function or operator as it is written."""
    is_operator = function.startswith(("_", "!", "-", "@"))
    return _WRITTEN.get(function) or (function.strip("_") if is_operator else function)


def unknown_word(path: Path, variables: Mapping[str, AnyType]) -> str:
    """Say that a name is declared nowhere, and what is."""
    below = is_dotted(path, variables)
    name = path.upto(1) if below else path.root.name
    known = sorted(each for each in variables if not below or each.startswith(below))
    return f"unknown word `{name}`{_offer(name, known, 'known here')}"


def is_dotted(path: Path, variables: Mapping[str, AnyType]) -> str:
    """Return the namespace of variables, `variables.`, that the path begins with, or nothing."""
    root = f"{path.root.name}."
    return root if path.fields and any(name.startswith(root) for name in variables) else ""


def unknown_field(field: str, record: Record) -> str:
    """Say that a closed record has no such field, and which it has, or where it would be."""
    if field in record.absent:
        return f"`{record}.{field}` is never there: {record.absent[field]}"
    known = sorted(record.fields)
    below = record.fields.get("properties")
    if below is not None and not get_close_matches(field, known, n=1) and _may_have(below, field):
        whole = "" if " or " in record.name else f"{record}."
        return f"unknown field `{field}` of `{record}`; did you mean `{whole}properties.{field}`?"
    offer = _offer(field, known, "it has")
    return f"unknown field `{field}` of `{record}`{offer}"


def _may_have(properties: AnyType, field: str) -> bool:
    if isinstance(properties, Record):
        return properties.is_open or field in properties.fields
    return True


def unknown_function(name: str, known: Iterable[str]) -> str:
    """Say that there is no such function; there are too many to list."""
    near = get_close_matches(name, list(known), n=1)
    return f"unknown function `{name}`" + (f"; did you mean `{near[0]}`?" if near else "")


def wrong_count(name: str, arities: list[int], count: int) -> str:
    """Say how many arguments a function takes."""
    wanted = " or ".join(map(str, arities))
    plural = "" if arities == [1] else "s"
    return f"`{written(name)}` expects {wanted} argument{plural}, found {count}"


def no_overload(function: Function, types: list[AnyType]) -> str:
    """Say which types a function takes, of those that the first argument leaves."""
    name = written(function.name)
    if name in {"==", "!="}:
        return f"`{name}` of {a(types[0])} and {a(types[1])}, which are never equal"
    if name in _ORDER:
        return f"`{name}` of {a(types[0])} and {a(types[1])}, which have no order{_in_time(types)}"
    open_ = [each for each in function.signatures if fits(types[0], each.parameters[0], {})]
    said = [f"({', '.join(map(str, each.parameters))})" for each in open_ or function.signatures]
    found = ", ".join(map(str, types))
    return f"no `{name}` of ({found}); it takes {' or '.join(dict.fromkeys(said[:_SHOWN_MAX]))}"


def _in_time(types: list[AnyType]) -> str:
    """Say how a text is compared with a time."""
    other = next((each for each in types if each in {TIMESTAMP, DURATION}), None)
    return f"; write `{other}(…)` around the string" if STRING in types and other else ""


def _offer(name: str, known: list[str], lead: str) -> str:
    near = get_close_matches(name, known, n=1)
    if near:
        return f"; did you mean `{near[0]}`?"
    if not known:
        return ""
    more = ", …" if len(known) > _SHOWN_MAX else ""
    return f"; {lead}: {', '.join(known[:_SHOWN_MAX])}{more}"
