"""Routes out of an OpenAPI 3.0 or 3.1 file: paths, methods, operationId, parameters, x-class.

Nothing else is read and nothing is fetched: a `$ref` that leaves the document, and a path item or
an operation with servers of its own, are errors, since guessing them would move a route. The path
of each of the document's `servers` stands before its templates.
"""

from sidecar.domains.application.catalogue.reading import Reading, Step
from sidecar.domains.application.catalogue.routes import Route
from sidecar.domains.application.vocabulary import BODILESS, METHOD_CLASSES
from sidecar.syntax.json import loads
from sidecar.syntax.limits import JSON_FILE_VALUES_MAX
from sidecar.syntax.yaml12 import Document, load_documents
from sidecar.terms.call import Json
from sidecar.terms.errors import ParseError, PolicyError

_UNREAD_METHODS = ("trace",)


def read_openapi(name: str, data: bytes, problems: list[str]) -> list[Route]:
    """Return the routes that an OpenAPI file declares; what is wrong goes to `problems`."""
    try:
        document = _document(name, data)
    except PolicyError as error:
        problems.extend(error.problems)
        return []
    reading = Reading(document.where, problems)
    root = reading.mapping(document.value)
    version = root.get("openapi")
    if not (isinstance(version, str) and version.startswith(("3.0.", "3.1."))):
        reading.wrong("expected `openapi: 3.0.x` or `3.1.x`", "openapi")
        return []
    found = _OpenApi(reading, root)
    return [route for base in found.bases() for route in found.routes(base)]


def _document(name: str, data: bytes) -> Document:
    if not name.endswith(".json"):
        documents = load_documents(name, data, keys_as_text=True)
        if len(documents) != 1:
            raise PolicyError(f"{name}:1:1: expected one document, found {len(documents)}")
        return documents[0]
    try:
        return Document(name, loads(data, values_max=JSON_FILE_VALUES_MAX), {})
    except ParseError as error:
        raise PolicyError(f"{name}:1:1: {error}") from None


class _OpenApi:
    """One document being read."""

    def __init__(self, reading: Reading, root: dict[str, Json]) -> None:
        self.reading = reading
        self.root = root

    def bases(self) -> list[str]:
        """Return what stands before every template: the paths of the servers, `""` for none."""
        found: list[str] = []
        for place, server in self.reading.items(self.root.get("servers"), "servers"):
            url = self.reading.text(server.get("url"), "servers", place, "url") or ""
            rest = url.partition("://")[2].partition("/")[2] if "://" in url else url.lstrip("/")
            base = f"/{rest}".rstrip("/")
            if any(char in base for char in "{}?#"):
                self.reading.wrong("a server's path has no variables or query", "servers", place)
            elif base not in found:
                found.append(base)
        return found or [""]

    def routes(self, base: str) -> list[Route]:
        """Return the routes of every path under `base`."""
        found: list[Route] = []
        for template, item in self.reading.mapping(self.root.get("paths"), "paths").items():
            if template.startswith("x-"):
                continue
            at = ("paths", template)
            found += self._item(base + template, self.reading.mapping(item, *at), at)
        return found

    def _item(self, template: str, item: dict[str, Json], at: tuple[Step, ...]) -> list[Route]:
        self._refuse_moved(item, at)
        shared = self._scalars(item.get("parameters"), (*at, "parameters"))
        found: list[Route] = []
        for key, operation in item.items():
            if key in _UNREAD_METHODS:
                self.reading.wrong("TRACE is never let through", *at, key)
            if key.upper() not in METHOD_CLASSES or key != key.lower():
                continue
            here = (*at, key)
            said = self.reading.mapping(operation, *here)
            self._refuse_moved(said, here)
            said_class = said.get("x-class", item.get("x-class"))
            method = key.upper()
            found.append(
                Route(
                    method=method,
                    template=template,
                    where=self.reading.where(*here),
                    name=self.reading.text(said.get("operationId"), *here, "operationId"),
                    cls=self.reading.action_class(said_class, *here, "x-class"),
                    body=method in BODILESS and "requestBody" in said,
                    scalars=shared | self._scalars(said.get("parameters"), (*here, "parameters")),
                )
            )
        return found

    def _refuse_moved(self, said: dict[str, Json], at: tuple[Step, ...]) -> None:
        for key in ("$ref", "servers"):
            if key in said:
                self.reading.wrong(f"`{key}` is not read here", *at, key)

    def _scalars(self, parameters: Json, at: tuple[Step, ...]) -> frozenset[str]:
        """Return the query keys that are declared with a single value."""
        found: set[str] = set()
        for place, declared in self.reading.items(parameters, *at):
            said = self._resolved(declared, (*at, place))
            schema = said.get("schema")
            kind = schema.get("type") if isinstance(schema, dict) else None
            single = isinstance(kind, str) and kind not in {"array", "object"}
            if said.get("in") == "query" and single and isinstance(said.get("name"), str):
                found.add(said["name"])
        return frozenset(found)

    def _resolved(self, said: dict[str, Json], at: tuple[Step, ...]) -> dict[str, Json]:
        reference = said.get("$ref")
        if reference is None:
            return said
        value: Json = self.root
        steps = reference.removeprefix("#/").split("/") if isinstance(reference, str) else []
        for step in steps:
            name = step.replace("~1", "/").replace("~0", "~")
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, dict) and "$ref" not in value and reference.startswith("#/"):
            return value
        self.reading.wrong("`$ref` names nothing in this document", *at, "$ref")
        return {}
