"""From an AWS request to the one operation that it is, by the routes of the service's own model.

REST: path first (literal segments before labels), then everything in the query must be accounted
for by the operation, then the required query and header members; the candidate that explains most
wins, and a tie is refused. Services ignore query keys that they do not know, so an unknown one is
refused here: what we do not know, a newer server may.
"""

import re
from typing import Final

from sidecar.domains.infrastructure.parse.aws.models import Model, Node, Operation
from sidecar.domains.infrastructure.parse.aws.wire import Pairs, Wire
from sidecar.domains.infrastructure.parse.payload import decoded, has_control, refuse
from sidecar.syntax.limits import PATH_SEGMENTS_MAX

_DOTS: Final = frozenset((".", ".."))
_FORBIDDEN: Final = re.compile(r"[\\;%#?]")
# A hint of newer SDKs that names the operation in the query.
_HINT: Final = "x-id"


def segments(path: str) -> tuple[str, ...]:
    """Return the decoded segments of a REST path; one trailing slash says nothing.

    An encoded slash is read only inside an ARN, where SDKs put one; anywhere else two servers would
    split such a path differently.
    """
    raw = path[1:].removesuffix("/")
    if not raw:
        return ()
    parts = raw.split("/")
    if len(parts) > PATH_SEGMENTS_MAX:
        raise refuse("parse.too_large", f"more than {PATH_SEGMENTS_MAX} path segments")
    return tuple(map(_segment, parts))


def _segment(raw: str) -> str:
    text = decoded(raw)
    if not text or text in _DOTS:
        raise refuse("parse.path", "an empty or dot segment")
    if has_control(text) or _FORBIDDEN.search(text):
        raise refuse(
            "parse.path", "a control character, a separator or a double encoding in a path"
        )
    if "/" in text and (not text.startswith("arn:") or _DOTS & set(text.split("/"))):
        raise refuse("parse.path", "an encoded slash outside of an ARN")
    return text


def rest_operation(model: Model, wire: Wire, path: tuple[str, ...]) -> Operation:
    """Return the operation of a rest-json or rest-xml request."""
    if "x-amz-target" in wire.headers:
        raise refuse("parse.ambiguous", "X-Amz-Target on a service that does not read it")
    found = _walk(model.routes, path, 0, wire.method)
    if not found:
        if any(_walk(model.routes, path, 0, method) for method in _methods(model)):
            raise refuse("parse.method", "no operation of this path has the method")
        raise refuse("parse.unknown_operation", "no operation has this path")
    names = {key for key, _ in wire.query}
    ranked = sorted(
        ((_rank(operation, wire, names), operation.name, operation) for operation in found),
        key=lambda entry: entry[:2],
        reverse=True,
    )
    best = [operation for rank, _, operation in ranked if rank == ranked[0][0]]
    if ranked[0][0] < (0, 0):
        raise _unexplained(found, names)
    if len(best) > 1:
        raise refuse("parse.ambiguous", "two operations explain the request equally well")
    _check_repeats(best[0], wire.query)
    return best[0]


def _methods(model: Model) -> frozenset[str]:
    return frozenset(operation.method for operation in model.operations.values())


def _walk(node: Node, path: tuple[str, ...], at: int, method: str) -> list[Operation]:
    """Return the operations of the most specific path; its depth is bounded by the trie's own."""
    if at == len(path):
        return [operation for operation in node.operations if operation.method == method]
    branches = (node.literals.get(path[at]), node.label)
    for branch in branches:
        found = _walk(branch, path, at + 1, method) if branch is not None else []
        if found:
            return found
    return _greedy([found for found in node.greedy if found.method == method], path, at)


def _greedy(operations: list[Operation], path: tuple[str, ...], at: int) -> list[Operation]:
    """Return the operations whose greedy label stands at `at`, the longest tail first."""
    fitting: dict[int, list[Operation]] = {}
    for operation in operations:
        tail = operation.template[at + 1 :]
        # The label takes at least one segment.
        if at + 1 + len(tail) <= len(path) and _fits(tail, path[len(path) - len(tail) :]):
            fitting.setdefault(len(tail), []).append(operation)
    return fitting[max(fitting)] if fitting else []


def _fits(tail: tuple[str, ...], path: tuple[str, ...]) -> bool:
    return all(
        part.startswith("{") or part == segment for part, segment in zip(tail, path, strict=True)
    )


def _rank(operation: Operation, wire: Wire, names: set[str]) -> tuple[int, int]:
    """Return how much of the request the operation explains, (-1, 0) with something left over."""
    values = dict(wire.query)
    for key, value in operation.literals:
        if key not in names or (values[key] or None) != value:
            return -1, 0
    members = operation.at("querystring")
    if any(member.kind == "map" for member in members):
        explained = names
    else:
        explained = {key for key, _ in operation.literals} | {member.wire for member in members}
    if values.get(_HINT, operation.name) != operation.name or names - explained - {_HINT}:
        return -1, 0
    wanted = [member for member in members if member.required]
    if not all(values.get(member.wire) for member in wanted):
        return -1, 0
    headers = [member for member in operation.at("header") if member.required]
    if not all(member.wire.lower() in wire.headers for member in headers):
        return -1, 0
    return len(operation.literals), len(wanted) + len(headers)


def _unexplained(found: list[Operation], names: set[str]) -> Exception:
    """Return why no operation fits: two that contradict each other, or a key that none has."""
    named = {key for operation in found for key, _ in operation.literals} & names
    if len(named) > 1:
        return refuse("parse.ambiguous", "two sub-resources in one request")
    known = {member.wire for operation in found for member in operation.at("querystring")}
    if names - known - named - {_HINT}:
        return refuse("parse.unexpected", "a query key that no operation of this path has")
    return refuse("parse.unknown_operation", "no operation takes this query and these headers")


def _check_repeats(operation: Operation, query: Pairs) -> None:
    many = {m.wire for m in operation.at("querystring") if m.kind in ("list", "map")}
    if any(member.kind == "map" for member in operation.at("querystring")):
        return
    seen: set[str] = set()
    for key, _ in query:
        if key in seen and key not in many:
            raise refuse("parse.ambiguous", "a single-valued query key stands twice")
        seen.add(key)


def label_values(operation: Operation, path: tuple[str, ...]) -> dict[str, str]:
    """Return the labels of the operation's path by their name in the template."""
    found: dict[str, str] = {}
    at = 0
    for part in operation.template:
        if part.endswith("+}"):
            # What is longer than the template is the greedy label's.
            taken = 1 + len(path) - len(operation.template)
            found[part[1:-2]] = "/".join(path[at : at + taken])
            at += taken
        else:
            if part.startswith("{"):
                found[part[1:-1]] = path[at]
            at += 1
    return found


def raw_key(raw: str) -> str:
    """Return an S3 key, decoded once and otherwise left alone: `..` and `//` are ordinary in it.

    An unencoded `+` is refused: S3 reads it as a space where others read a plus.
    """
    if "+" in raw:
        raise refuse("parse.ambiguous", "an unencoded `+` in a key")
    key = decoded(raw)
    if "\x00" in key:
        raise refuse("parse.path", "a NUL in a key")
    return key
