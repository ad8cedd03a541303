"""What stands for the persons of one call wherever they are named in it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from sidecar.record.persons.names import NAMELESS, PERSON_RESOURCES, is_person_resource

MASK: Final = "***"


class Names(NamedTuple):
    """The persons of one call.

    Args:
        handles: `type:id` → handle.
        exact: Texts that are a person's id, or `type:id` → what stands in their place.
        types: Of these persons: a resource of one of them may be a person.
        mails: Ids that cannot be mistaken for another word; they are found inside of texts too.
    """

    handles: Mapping[str, str]
    exact: Mapping[str, str]
    types: frozenset[str]
    mails: tuple[tuple[str, str], ...]

    def id_of(self, type: str, id: str) -> str:
        """Return the handle of a person, and never the id."""
        return self.handles.get(f"{type}:{id}", NAMELESS)

    def key(self, type: str, id: str) -> str:
        """Return `type:id` of a resource, with the handle where it is a person."""
        if is_person_resource(type) or (type in self.types and f"{type}:{id}" in self.handles):
            return f"{type}:{self.id_of(type, id)}"
        return self.text(f"{type}:{id}") if self.mails else f"{type}:{id}"

    def text(self, text: str) -> str:
        """Return `text` with handles for what can only be a person's id."""
        for mail, handle in self.mails:
            if mail in text:
                text = text.replace(mail, handle)
        return text

    def told(self, text: str) -> str:
        """Return a sentence with handles for whoever is named in it."""
        for name, handle in self.exact.items():
            if name in text:
                text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", handle, text)
        return text

    def arguments(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """Return the arguments of a fact; a person of whom the call says nothing is not named."""
        if len(arguments) == 1:
            (argument,) = arguments
            if argument in self.exact:
                return (self.exact[argument],)
            if argument.partition(":")[0] not in PERSON_RESOURCES and not self.mails:
                return arguments
        if len(arguments) == 2 and is_person_resource(arguments[0]):
            return (arguments[0], self.exact.get(arguments[1], MASK))
        return tuple([self._argument(argument) for argument in arguments])

    def _argument(self, text: str) -> str:
        if text in self.exact:
            return self.exact[text]
        type_, colon, _ = text.partition(":")
        return f"{type_}:{MASK}" if colon and is_person_resource(type_) else self.text(text)


NOBODY: Final = Names({}, {}, frozenset(), ())
# The same few persons call again and again. A handle that has changed since is found to have.
_RECENT_MAX: Final = 1024
_recent: dict[tuple[str, ...], Names] = {}


def names_of(persons: Sequence[str], known: Mapping[str, str]) -> Names:
    """Return what stands for `persons`, each `type:id`; one without a handle has no name."""
    if not persons:
        return NOBODY
    key = tuple(persons)
    found = _recent.get(key)
    if found is not None and _is_so(found, known):
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
    mails = []
    for person in persons:
        type_, _, id_ = person.partition(":")
        handle = handles[person] = known.get(person, NAMELESS)
        exact[id_] = handle
        exact[person] = f"{type_}:{handle}"
        if "@" in id_:
            mails.append((id_, handle))
    types = frozenset([person.partition(":")[0] for person in handles])
    # The longest first: a name may be the end of another.
    mails.sort(key=lambda mail: -len(mail[0]))
    return Names(handles, exact, types, tuple(mails))
