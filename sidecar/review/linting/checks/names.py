"""Names in `match` that nothing has: resources of no catalogue, actions of no protocol, slips.

A catalogue is taken at its word only where it lists all there is: of SQL tables and columns, of MCP
tools, of HTTP routes that it names itself.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Final

from sidecar.review.clauses import overlap
from sidecar.review.finding import Finding
from sidecar.review.linting.looked import Looked
from sidecar.review.linting.places import Place, patterns_of
from sidecar.syntax.glob import literal_prefix
from sidecar.terms.call import Json
from sidecar.terms.words import component

_NEAR: Final = 0.7
# Of which form the action of a call is, by protocol; README, "Resources".
_ACTIONS: Final[Mapping[str, re.Pattern[str]]] = {
    "sql": re.compile(r"[a-z_0-9.]+"),
    "k8s": re.compile(r"[a-z]+"),
    "terraform": re.compile(r"[a-z-]+"),
    "aws": re.compile(r"[a-z0-9-]+:[A-Za-z0-9]+"),
    "mcp": re.compile(r"[A-Za-z]+(?:/[A-Za-z_]+)*"),
    "llm": re.compile(r"[a-z_]+(?:\.[a-z_]+)*"),
    "a2a": re.compile(r"[A-Za-z]+(?:/[A-Za-z]+)*"),
    "rag": re.compile(r"[a-z_]+"),
}
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# `%` alone would be an encoded character; two dots, brackets and `?` are other languages' globs.
_ODD: Final = re.compile(r"%(?![0-9A-F]{2})|\.\*|\[[^\]]*\]|\?|\.\+|\^|\$$")
_CUT: Final = re.compile(r"[.:/_-]\Z")


def unknown_resources(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each pattern that fits nothing of a catalogue that lists all."""
    listed = {kind: sorted(keys) for kind, keys in _listed(looked.catalogues).items()}
    for field in ("resources", "except"):
        for place in patterns_of(looked, field):
            kind = place.pattern.partition(":")[0]
            keys = listed.get(kind)
            if keys is None or _is_elsewhere(kind, place):
                continue
            if not any(overlap(place.pattern, key) for key in keys):
                near = get_close_matches(place.pattern.rstrip("*."), keys, 1, _NEAR)
                hint = f"; did you mean `{near[0]}`" if near else ""
                text = f"`{place.pattern}` fits nothing of the catalogue{hint}"
                yield place.finding("unknown-resource", text)


def _is_elsewhere(kind: str, place: Place) -> bool:
    """Return whether another protocol that the rule meets has resources of this type as well."""
    others = {"tool": {"llm", "authzen"}, "route": {"authzen"}}.get(kind, {"authzen"})
    return bool(place.spoken & others)


def _listed(catalogues: Iterable[Json]) -> dict[str, set[str]]:
    """Return the keys that catalogues list, by type; a type of which more may be is left out."""
    found: dict[str, set[str]] = {}
    open_types: set[str] = set()
    for spec in catalogues:
        protocol = spec.get("protocol")
        if protocol == "sql":
            _tables(spec, found)
        elif protocol == "mcp":
            _tools(spec, found, open_types)
        elif protocol == "http":
            _routes(spec, found, open_types)
    return {kind: keys for kind, keys in found.items() if kind not in open_types and keys}


def _tables(spec: Json, found: dict[str, set[str]]) -> None:
    for schema, inside in (spec.get("schemas") or {}).items():
        for table, described in ((inside or {}).get("tables") or {}).items():
            name = f"{component(schema)}.{component(table)}"
            found.setdefault("table", set()).add(f"table:{name}")
            columns = (described or {}).get("columns") or ()
            keys = {f"column:{name}.{component(column)}" for column in columns}
            # A table whose columns nobody lists may have any.
            found.setdefault("column", set()).update(keys or {f"column:{name}.*"})


def _tools(spec: Json, found: dict[str, set[str]], open_types: set[str]) -> None:
    for server, inside in (spec.get("servers") or {}).items():
        tools = (inside or {}).get("tools")
        if not isinstance(tools, dict) or any("*" in tool for tool in tools):
            open_types.add("tool")
            continue
        found.setdefault("tool", set()).update(f"tool:{server}/{tool}" for tool in tools)


def _routes(spec: Json, found: dict[str, set[str]], open_types: set[str]) -> None:
    if "openapi" in spec:
        open_types.add("route")
    for route in spec.get("routes") or ():
        if isinstance(route, dict) and isinstance(route.get("path"), str):
            found.setdefault("route", set()).add(f"route:{route['path']}")


def unknown_actions(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each action of a form that no protocol which the rule meets gives one."""
    routes = {
        route["name"]
        for spec in looked.catalogues
        if spec.get("protocol") == "http" and "openapi" not in spec
        for route in spec.get("routes") or ()
        if isinstance(route, dict) and "name" in route
    }
    is_open = any("openapi" in spec for spec in looked.catalogues)
    for place in patterns_of(looked, "actions"):
        if "authzen" in place.spoken or "*" in place.pattern:
            continue
        if any(_may_be(place.pattern, each, routes, is_open=is_open) for each in place.spoken):
            continue
        text = f"`{place.pattern}`: no call that `match` takes has such an action"
        yield place.finding("unknown-action", text + _like(place.pattern, place.spoken))


def _may_be(action: str, protocol: str, routes: set[str], *, is_open: bool) -> bool:
    if protocol == "http":
        return (
            is_open or action in _METHODS or action in routes or (not routes and action.isalnum())
        )
    form = _ACTIONS.get(protocol)
    return form is None or form.fullmatch(action) is not None


def _like(action: str, spoken: frozenset[str]) -> str:
    if action.lower() != action and spoken <= {"sql", "k8s", "terraform"}:
        return f"; it is written `{action.lower()}`"
    return "; it is `service:Operation` there" if spoken == {"aws"} else ""


def odd_patterns(looked: Looked) -> Iterator[Finding]:
    """Yield a finding for each pattern that is hardly meant as it is written."""
    for field in ("resources", "except"):
        for place in patterns_of(looked, field):
            why = _oddity(place)
            if why is not None:
                yield place.finding("odd-pattern", f"`{place.pattern}`: {why}")


def _oddity(place: Place) -> str | None:
    kind, _, name = place.pattern.partition(":")
    literal, is_whole = literal_prefix(place.pattern)
    if kind in {"table", "column"} and place.spoken & {"sql"}:
        dots = name.count(".")
        if is_whole and dots != (1 if kind == "table" else 2):
            wanted = "schema.table" if kind == "table" else "schema.table.column"
            return f"a {kind} is `{kind}:{wanted}`"
        if name != name.lower() and '"' not in name:
            return "names in SQL are folded to lower case unless they were made with quotes"
    if is_whole and _CUT.search(name):
        return f"it ends with `{literal[-1]}`, so that it is no name; `*` stands for the rest"
    if not is_whole and kind in {"table", "column"} and re.search(r"[a-z0-9_]\*\Z", name):
        return None
    odd = _ODD.search(name) if kind in {"table", "column", "tool", "route", "mcp_server"} else None
    if odd is not None and not (kind == "route" and odd[0] in {"?", ".*"}):
        return None if _is_glob(odd[0], kind) else f"`{odd[0]}` is literal; `*` is the one wildcard"
    return None


def _is_glob(odd: str, kind: str) -> bool:
    """Return whether `.*` is what it looks like: everything below a schema or a table."""
    return odd == ".*" and kind in {"table", "column"}
