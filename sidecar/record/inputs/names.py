"""What stands for the persons of one call wherever they are named in it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from sidecar.record.inputs.sweep import ID_CHARS_MIN, MASK, Sweep
from sidecar.record.persons.names import NAMELESS, is_person_resource
from sidecar.terms.call import Json, remembers

__all__ = ["MASK", "NOBODY", "Names", "names_of"]


class Names(NamedTuple):
    """The persons of one call.

    Args:
        handles: `type:id` → handle.
        exact: Texts that are a person's id, or `type:id` → what stands in their place.
        types: Of these persons: a resource of one of them may be a person.
        sweep: Finds them inside of texts; None where there is nobody to be found.
    """

    handles: Mapping[str, str]
    exact: Mapping[str, str]
    types: frozenset[str]
    sweep: Sweep | None

    def id_of(self, type: str, id: str) -> str:
        """Return the handle of a person, and never the id."""
        return self.handles.get(f"{type}:{id}", NAMELESS)

    def key(self, type: str, id: str) -> str:
        """Return `type:id` of a resource, with the handle where it is a person."""
        if is_person_resource(type) or (type in self.types and f"{type}:{id}" in self.handles):
            return f"{type}:{self.id_of(type, id)}"
        return f"{type}:{id}"

    def text(self, text: str) -> str:
        """Return `text` with handles for whoever is named inside of it."""
        return text if self.sweep is None else self.sweep.text(text)

    def value(self, value: Json) -> Json:
        """Return a scalar, with handles if it is a text."""
        if not isinstance(value, str):
            return value
        found = self.exact.get(value)
        return self.text(value) if found is None else found

    def told(self, text: str) -> str:
        """Return a sentence with handles for whoever is named in it, however short the name."""
        for name, handle in self.exact.items():
            if name in text:
                text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", handle, text)
        return self.text(text)

    def arguments(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """Return the arguments of a fact; a person of whom the call says nothing is not named."""
        if len(arguments) == 1:
            (argument,) = arguments
            if argument in self.exact:
                return (self.exact[argument],)
            return (self._argument(argument),)
        if len(arguments) == 2 and is_person_resource(arguments[0]):
            return (arguments[0], self.exact.get(arguments[1], MASK))
        return tuple([self._argument(argument) for argument in arguments])

    def _argument(self, text: str) -> str:
        if text in self.exact:
            return self.exact[text]
        type_, colon, _ = text.partition(":")
        return f"{type_}:{MASK}" if colon and is_person_resource(type_) else self.text(text)


NOBODY: Final = Names({}, {}, frozenset(), None)
# The same few persons call again and again. A handle that has changed since is found to have.
_RECENT_MAX: Final = 1024
_recent: dict[tuple[str, ...], Names] = {}
remembers(_recent.clear)


def names_of(persons: Sequence[str], known: Mapping[str, str]) -> Names:
    """Return what stands for `persons`, each `type:id`; one without a handle has no name."""
    if not persons:
        return NOBODY
    key = tuple(persons)
    found = _recent.get(key)
    if found is not None and _is_so(found, known):
        if found.sweep is not None:
            found.sweep.begin()
        return found
    names = _made(key, known)
    if len(_recent) >= _RECENT_MAX:
        _recent.clear()
    _recent[key] = names
    return names


def _is_so(names: Names, known: Mapping[str, str]) -> bool:
    return names.handles.items() <= known.items()


def _made(persons: Iterable[str], known: Mapping[str, str]) -> Names:
    handles: dict[str, str] = {}
    exact: dict[str, str] = {}
    inside: dict[str, str] = {}
    for person in persons:
        type_, _, id_ = person.partition(":")
        handle = handles[person] = known.get(person, NAMELESS)
        exact[id_] = handle
        exact[person] = f"{type_}:{handle}"
        if len(id_) >= ID_CHARS_MIN:
            inside[id_] = handle
    types = frozenset([person.partition(":")[0] for person in handles])
    return Names(handles, exact, types, Sweep(inside) if inside else None)
