"""The values of a planned change: unknown ones taken out, sensitive ones replaced.

Terraform's `after` leaves unknown values out, or puts null for them in a list, where a rule would
read them as absent or harmless. They are taken out here and named in `unknown_paths`, so that a
rule that reads one errs. A list with an unknown element is taken out whole: its indexes say
nothing.

Source: developer.hashicorp.com/terraform/internals/json-format, change representation.
"""

from typing import Final

from sidecar.domains.infrastructure.parse.payload import refuse
from sidecar.terms.call import Json

SENSITIVE: Final = "(sensitive)"
# Stands for a value that is taken out, while its parent is still being built.
_GONE: Final = object()


def known(value: Json, unknown: Json) -> tuple[bool, Json, list[str]]:
    """Return whether anything of `value` is known, what is, and the paths of what is not."""
    paths: list[str] = []
    left = _known(value, unknown, "", paths)
    return left is not _GONE, None if left is _GONE else left, paths


def _known(value: Json, unknown: Json, path: str, paths: list[str]) -> Json:
    if unknown is True:
        paths.append(path or ".")
        return _GONE
    if isinstance(unknown, dict):
        return _known_object(value, unknown, path, paths)
    if isinstance(unknown, list):
        return _known_list(value, unknown, path, paths)
    if unknown is False or unknown is None:
        return value
    raise refuse("parse.syntax", "`after_unknown` holds something else than true and false")


def _known_object(value: Json, unknown: dict[str, Json], path: str, paths: list[str]) -> Json:
    found = dict(value) if isinstance(value, dict) else {}
    for key, below in unknown.items():
        left = _known(found.get(key), below, f"{path}.{key}" if path else key, paths)
        if left is _GONE:
            found.pop(key, None)
        elif key in found:
            found[key] = left
    if isinstance(value, dict):
        return found
    return _GONE if _any_unknown(unknown) else value


def _known_list(value: Json, unknown: list[Json], path: str, paths: list[str]) -> Json:
    found = list(value) if isinstance(value, list) else []
    holds = False
    for index, below in enumerate(unknown):
        item = found[index] if index < len(found) else None
        left = _known(item, below, f"{path}[{index}]", paths)
        holds = holds or left is _GONE
        if index < len(found):
            found[index] = left
    if holds:
        return _GONE
    if isinstance(value, list):
        return found
    return _GONE if _any_unknown(unknown) else value


def _any_unknown(unknown: Json) -> bool:
    if isinstance(unknown, dict):
        return any(map(_any_unknown, unknown.values()))
    if isinstance(unknown, list):
        return any(map(_any_unknown, unknown))
    return unknown is True


def masked(value: Json, sensitive: Json) -> Json:
    """Return `value` with everything that `sensitive` marks replaced by `(sensitive)`."""
    if sensitive is True:
        return SENSITIVE
    if isinstance(sensitive, dict) and isinstance(value, dict):
        return {key: masked(item, sensitive.get(key, False)) for key, item in value.items()}
    if isinstance(sensitive, list) and isinstance(value, list):
        marks = [*sensitive, *([False] * (len(value) - len(sensitive)))]
        return [masked(item, mark) for item, mark in zip(value, marks, strict=False)]
    if sensitive is False or sensitive is None or sensitive in ({}, []):
        return value
    # The marks do not fit the value: nothing says which part of it is safe to show.
    return SENSITIVE
