"""`sidecar fmt`: the files of a bundle laid out alike, comments kept, nothing that decides changed.

The result is read again: where a value, a comment or the digest of a rule would differ, or where a
second time would change it further, the file is left as it is and that is said.
"""

from collections.abc import Iterable, Mapping

import msgspec

from sidecar.policy.sources import BUNDLE_FILE
from sidecar.review.formatting.writing import written
from sidecar.syntax.layout import comments_of, layouts
from sidecar.syntax.yaml12 import Document, load_documents
from sidecar.terms.call import Json
from sidecar.terms.errors import PolicyError

_KINDS = frozenset({"Policy", "Test", "Catalog", "Params", "Attributes"})


# The keys and places from the top of a document down to a value.
Place = tuple[str | int, ...]


class Formatted(msgspec.Struct, frozen=True):
    """One file: as it is, as it would be, and why it is left alone where it has to be."""

    path: str
    before: bytes
    after: bytes
    refused: str | None = None

    @property
    def changes(self) -> bool:
        """Return whether it is laid out otherwise."""
        return self.before != self.after


def formatted(files: Mapping[str, bytes]) -> list[Formatted]:
    """Return each file of a bundle that is ours to lay out, by path.

    Raises:
        PolicyError: A file is no YAML that we read.
    """
    found = []
    for path, data in sorted(files.items()):
        if path.endswith((".yaml", ".yml")):
            kinds = _kinds(path, load_documents(path, data))
            if kinds:
                found.append(_one(path, data, kinds))
    return found


def _kinds(path: str, documents: list[Document]) -> list[str]:
    """Return the kind of each document, nothing where one is not ours."""
    if path == BUNDLE_FILE:
        return ["Bundle"] * len(documents)
    kinds = [each.value.get("kind") if isinstance(each.value, dict) else None for each in documents]
    return [str(kind) for kind in kinds] if all(kind in _KINDS for kind in kinds) else []


def _one(path: str, data: bytes, kinds: list[str]) -> Formatted:
    text = data.decode("utf-8").replace("\r\n", "\n")
    after = _laid_out(text, kinds)
    why = _difference(path, data, after)
    if why is None and _laid_out(after, kinds) != after:
        why = "it would be laid out otherwise a second time"
    if why is not None:
        return Formatted(path, data, data, why)
    return Formatted(path, data, after.encode("utf-8"))


def _laid_out(text: str, kinds: list[str]) -> str:
    found = layouts(text)
    assert len(found) == len(kinds)
    return "---\n".join(written(each, kind) for each, kind in zip(found, kinds, strict=True))


def _first_change(one: Json, other: Json, path: Place = ()) -> Place | None:
    """Return where two values differ first, None where they do not."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return _first_of(one, other, one, path)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return _first_of(one, other, range(len(one)), path)
    return None if type(one) is type(other) and one == other else path


def _first_of(one: Json, other: Json, steps: Iterable[str | int], path: Place) -> Place | None:
    found = (_first_change(one[step], other[step], (*path, step)) for step in steps)
    return next((at for at in found if at is not None), None)


def _difference(path: str, data: bytes, after: str) -> str | None:
    """Return what would be lost, None where nothing is."""
    try:
        read = load_documents(path, after.encode("utf-8"))
    except PolicyError as error:
        return f"it could not be read again: {error}"
    before = load_documents(path, data)
    if len(before) != len(read):
        return "a document would be lost"
    for one, other in zip(before, read, strict=True):
        at = _first_change(one.value, other.value)
        if at is not None:
            return f"a value would change: write `{one.where(*at)}` in double quotes"
    if sorted(comments_of(after)) != sorted(comments_of(data.decode("utf-8"))):
        return "a comment would be lost"
    return None
