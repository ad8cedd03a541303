"""What may stand next: names, the fields of what they stand for, functions, macros, commands."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from sidecar.cli.cel.session import COMMANDS
from sidecar.policy.bench import Bench
from sidecar.policy.language.functions import FUNCTIONS
from sidecar.policy.language.types import AnyType, Record

# The longest end of a line that is one dotted name.
_PATH: Final = re.compile(r"(?:[A-Za-z_]\w*\.\??)*\w*\Z")
_MACROS: Final = (
    *("all(", "exists(", "exists_one(", "filter(", "map(", "optFlatMap(", "optMap("),
    *("transformList(", "transformMap(", "transformMapEntry("),
)
_WORDS: Final = ("cel.bind(", "false", "has(", "in", "null", "true")


def completions(bench: Bench, line: str) -> list[str]:
    """Return what the last word of a line may become, sorted; dots are of a word."""
    if line.startswith(":") and " " not in line:
        return sorted(each for each in (*COMMANDS, ":quit") if each.startswith(line))
    match = _PATH.search(line)
    word = match.group() if match else ""
    if line[: len(line) - len(word)].endswith("."):
        # Behind brackets or a call: of what is not known, so any member may follow.
        return sorted(f".{each}" for each in _members() if each.startswith(word))
    above, dot, last = word.rpartition(".")
    if not dot:
        return sorted(each for each in {*_roots(bench)} if each.startswith(last))
    optional = "?" if last.startswith("?") else ""
    found = {*_fields(bench, above), *_members(), *_namespaced(above)}
    return sorted(
        f"{above}.{optional}{each}" for each in found if each.startswith(last.removeprefix("?"))
    )


def _roots(bench: Bench) -> Iterator[str]:
    names = {*bench.names, *bench.types}
    yield from (name.partition(".")[0] for name in names)
    yield from _WORDS
    for name, is_member, _ in FUNCTIONS:
        if not is_member and name[0].isalpha():
            space, dot, _rest = name.partition(".")
            yield f"{space}." if dot else f"{name}("


def _members() -> Iterator[str]:
    yield from _MACROS
    yield from (f"{name}(" for name, is_member, _ in FUNCTIONS if is_member)


def _namespaced(space: str) -> Iterator[str]:
    for name, is_member, _ in FUNCTIONS:
        if not is_member and name.startswith(f"{space}."):
            yield f"{name.removeprefix(f'{space}.')}("


def _fields(bench: Bench, path: str) -> Iterator[str]:
    """Yield the fields of a path: those of its value, and those that its type knows."""
    steps = [step.removeprefix("?") for step in path.split(".")]
    yield from _below({*bench.names, *bench.types}, f"{path}.")
    value, known = bench.names.get(steps[0]), bench.types.get(steps[0])
    for step in steps[1:]:
        value = value.get(step) if isinstance(value, dict) else None
        known = known.fields.get(step) if isinstance(known, Record) else None
    if isinstance(value, dict):
        yield from (key for key in value if isinstance(key, str) and key.isidentifier())
    yield from _known(known)


def _known(found: AnyType | None) -> Iterable[str]:
    return found.fields if isinstance(found, Record) else ()


def _below(names: Iterable[str], prefix: str) -> Iterator[str]:
    """Yield what stands below a prefix among dotted names: `variables.x`."""
    yield from (name.removeprefix(prefix) for name in names if name.startswith(prefix))
