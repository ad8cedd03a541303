"""Macros, exactly: what each does with the elements that it goes over.

One name stands for an element of a list or a key of a map; two for position and element, or key and
value. `all` and `exists` go on after a fault, for a later element may decide; the others need every
element. What is gone over is paid for first, see `state`.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#macros
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeAlias

from sidecar.policy.language.faults import Fault, InvalidArgument, NoSuchOverload
from sidecar.policy.language.running.state import Run
from sidecar.policy.language.tree import FoldKind
from sidecar.policy.language.values import NONE, Maybe, key_value, map_key

Step: TypeAlias = Callable[[Run], object]


class Parts(NamedTuple):
    """A macro in closures; `slots` are those of its one or two names, `weight` see `weights`."""

    over: Step
    slots: tuple[int, ...]
    condition: Step | None
    body: Step
    weight: float = 1


def folded(kind: FoldKind, parts: Parts) -> Step:
    """Return the closure of a macro."""
    return _FOLDS[kind](parts)


def pairs(over: object) -> list[tuple[object, object]]:
    """Return keys (of a list, positions) and values of what a macro goes over."""
    if type(over) is list:
        return list(enumerate(over))
    if type(over) is dict:
        return [(key_value(key), value) for key, value in over.items()]
    raise NoSuchOverload


def singles(over: object) -> list[object]:
    """Return what one name stands for: elements of a list, keys of a map."""
    if type(over) is list:
        return over
    if type(over) is dict:
        return [key_value(key) for key in over]
    raise NoSuchOverload


def _elements(parts: Parts, run: Run) -> Iterator[object]:
    """Yield what comes first of each element, with the names set."""
    over = parts.over(run)
    if len(parts.slots) == 1:
        (slot,) = parts.slots
        found = singles(over)
        run.spend(len(found) * parts.weight)
        for one in found:
            run.slots[slot] = one
            yield one
        return
    first, second = parts.slots
    paired = pairs(over)
    run.spend(len(paired) * parts.weight)
    for key, value in paired:
        run.slots[first], run.slots[second] = key, value
        yield key


def _chosen(parts: Parts, run: Run) -> Iterator[object]:
    """Yield as `_elements` does, where the condition holds."""
    for one in _elements(parts, run):
        if parts.condition is None or _is_true(parts.condition(run)):
            yield one


def _is_true(value: object) -> bool:
    if type(value) is bool:
        return value
    raise NoSuchOverload


def _deciding(parts: Parts, decides: bool) -> Step:  # noqa: FBT001  # the value itself
    body = parts.body

    def fold(run: Run) -> object:
        failed: Fault | None = None
        for _ in _elements(parts, run):
            try:
                if _is_true(body(run)) is decides:
                    return decides
            except Fault as fault:
                if not fault.is_absorbed:
                    raise
                failed = failed or fault
        if failed:
            raise failed
        return not decides

    return fold


def _exists_one(parts: Parts) -> Step:
    body = parts.body
    return lambda run: sum(_is_true(body(run)) for _ in _elements(parts, run)) == 1


def _filter(parts: Parts) -> Step:
    body = parts.body
    return lambda run: [one for one in _elements(parts, run) if _is_true(body(run))]


def _map(parts: Parts) -> Step:
    body = parts.body
    return lambda run: [body(run) for _ in _chosen(parts, run)]


def _transform_map(parts: Parts) -> Step:
    body = parts.body
    return lambda run: {map_key(key): body(run) for key in _chosen(parts, run)}


def _transform_entries(parts: Parts) -> Step:
    body = parts.body

    def fold(run: Run) -> object:
        found: dict[object, object] = {}
        for _ in _chosen(parts, run):
            entries = body(run)
            if type(entries) is not dict:
                raise NoSuchOverload
            if not found.keys().isdisjoint(entries):
                raise InvalidArgument
            run.spend(len(entries))
            found.update(entries)
        return found

    return fold


def _optional(parts: Parts, *, is_flat: bool) -> Step:
    (slot,), body = parts.slots, parts.body

    def fold(run: Run) -> object:
        over = parts.over(run)
        if type(over) is not Maybe:
            raise NoSuchOverload
        if not over.has:
            return NONE
        run.slots[slot] = over.value
        value = body(run)
        if not is_flat:
            return Maybe(value, has=True)
        if type(value) is not Maybe:
            raise NoSuchOverload
        return value

    return fold


_FOLDS: Final[dict[FoldKind, Callable[[Parts], Step]]] = {
    "all": lambda parts: _deciding(parts, decides=False),
    "exists": lambda parts: _deciding(parts, decides=True),
    "exists_one": _exists_one,
    "filter": _filter,
    "map": _map,
    "transformList": _map,
    "transformMap": _transform_map,
    "transformMapEntry": _transform_entries,
    "optMap": lambda parts: _optional(parts, is_flat=False),
    "optFlatMap": lambda parts: _optional(parts, is_flat=True),
}
