"""Parses a call, and holds what was read against the words of its protocol and phase.

The types are those that rules are checked against, so that a parser which says more than its
vocabulary, or something else, fails in whichever table meets it first.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from sidecar.domains import by_protocol
from sidecar.policy.language.types import BOOL, DOUBLE, DYN, INT, STRING, AnyType, Record
from sidecar.policy.vocabulary.roots import Roots
from sidecar.terms.call import Call
from sidecar.terms.domain import Catalogue, Domain, Needs
from sidecar.terms.request import Parsed

_PYTHON = {BOOL: (bool,), INT: (int,), DOUBLE: (int, float), STRING: (str,)}


def parse(
    domain: Domain,
    call: Call,
    catalogue: Catalogue,
    spec: Mapping[str, Any] | None = None,
    needs: Needs | None = None,
) -> Parsed:
    """Return what `call` means, once it is as its protocol's words say.

    Args:
        domain: Of the call.
        call: As it came.
        catalogue: Compiled from `spec`.
        spec: Gives properties of its own, which are words too.
        needs: Of the bundle; everything when absent.
    """
    parsed = domain.parse(call, catalogue, needs or Needs())
    assert list(misfits(parsed, call.protocol, domain, spec or {})) == []
    return parsed


def misfits(
    parsed: Parsed, protocol: str, domain: Domain, spec: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the path of each value that is no word of its protocol, or not of its type."""
    assert parsed.phase in domain.vocabulary.phases[protocol]
    roots = Roots(by_protocol(), {}, {}, [(domain.name, spec)]) if spec else _known()
    seen = roots.seen(frozenset({(protocol, parsed.phase)}))
    yield from _wrong({protocol: parsed.native}, seen["request"], "request")
    for target in parsed.targets:
        for root, one in (("action", target.action), ("resource", target.resource)):
            yield from _wrong({"properties": dict(one.properties)}, seen[root], root)


@lru_cache
def _known() -> Roots:
    return Roots(by_protocol(), {}, {}, ())


def _wrong(value: Any, wanted: AnyType, path: str) -> Iterator[str]:
    if wanted == DYN:
        return
    if isinstance(wanted, Record) or wanted.name == "map":
        yield from _wrong_fields(value, wanted, path)
    elif wanted.name == "list":
        if not isinstance(value, list | tuple):
            yield f"{path} is no list"
        else:
            for one in value:
                yield from _wrong(one, wanted.args[0], f"{path}[]")
    # Of the types of Python a bool is an int too.
    elif type(value) not in _PYTHON[wanted]:
        yield f"{path} is {type(value).__name__}, not {wanted}"


def _wrong_fields(value: Any, wanted: AnyType, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} is no object"
        return
    for key, one in value.items():
        if not isinstance(wanted, Record):
            yield from _wrong(one, wanted.args[1], f"{path}.{key}")
        elif key in wanted.fields:
            yield from _wrong(one, wanted.fields[key], f"{path}.{key}")
        elif not wanted.is_open:
            yield f"{path}.{key} is no word of it"
