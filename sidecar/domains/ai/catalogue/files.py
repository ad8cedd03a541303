"""Compiles catalogue files; unknown fields and impossible names are refused with position.

```yaml
protocol: mcp
servers:
  crm:
    labels: [customers]
    tools:
      query:
        class: read
        labels: [pii]
        arguments: {sql: {protocol: sql, dialect: postgres, upstream: crm-db}}
```
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sidecar.domains.ai.catalogue import AiCatalogue, Argument, Statement, Tool
from sidecar.domains.ai.catalogue.names import name, named_id, opaque_glob
from sidecar.domains.ai.vocabulary import NAMED_TYPES, RESOURCE_TYPES
from sidecar.syntax.glob import pieces
from sidecar.terms.call import Json
from sidecar.terms.domain import CatalogueFile
from sidecar.terms.errors import ParseError, PolicyError
from sidecar.terms.words import CLASSES

Steps = tuple[str | int, ...]

_ABOUT: Final = frozenset(("labels", "properties"))
_SECTIONS: Final = {"mcp": "servers", "llm": "models", "rag": "collections", "a2a": "agents"}
_ARGUMENT_KEYS: Final = {
    "sql": frozenset(("protocol", "dialect", "upstream", "max_length")),
    "http": frozenset(("protocol", "method", "upstream")),
    "text": frozenset(("protocol",)),
}


def compile_files(files: Sequence[CatalogueFile]) -> AiCatalogue:
    """Return the catalogue that `files` make together.

    Raises:
        PolicyError: With every problem of every file, each `file:line:column: text`.
    """
    readers = [_Reader(file) for file in files]
    tools: dict[str, tuple[Tool, ...]] = {}
    problems: list[str] = []
    for reader in readers:
        reader.read()
        for id, (tool, path) in reader.tools.items():
            earlier = tools.get(id, ())
            if any(t.upstream is None or tool.upstream in (None, t.upstream) for t in earlier):
                reader.problem("this tool is described in another file already", path)
            tools[id] = (*earlier, tool)
        problems += reader.problems
    if problems:
        raise PolicyError(*problems)
    return AiCatalogue(tuple(s for r in readers for s in r.statements), tools)


class _Reader:
    """Reads one file into statements and tools, going on after a problem to find the others."""

    def __init__(self, file: CatalogueFile) -> None:
        self.file = file
        self.problems: list[str] = []
        self.statements: list[Statement] = []
        self.tools: dict[str, tuple[Tool, Steps]] = {}
        self.protocol: str = file.spec.get("protocol", "")
        self.upstream: str | None = None

    def problem(self, text: str, path: Steps) -> None:
        self.problems.append(f"{self.file.where(*path)}: {text}")

    def read(self) -> None:
        section = _SECTIONS.get(self.protocol)
        if section is None:
            return self.problem(f"`protocol` is one of {', '.join(_SECTIONS)}", ("protocol",))
        allowed = frozenset(("protocol", "upstream", "resources", section))
        self.mapping(self.file.spec, (), allowed)
        self.upstream = self.text(self.file.spec.get("upstream"), ("upstream",))
        readers: dict[str, Callable[[str, Json, Steps], None]] = {
            "servers": self.server,
            "models": self.model,
            "collections": self.collection,
            "agents": self.agent,
        }
        self.each(self.file.spec.get(section), (section,), readers[section])
        self.each(self.file.spec.get("resources"), ("resources",), self.glob)
        return None

    def each(self, value: Json, path: Steps, read: Callable[[str, Json, Steps], None]) -> None:
        """Read every entry of a mapping that may be absent."""
        for key, entry in self.mapping(value, path).items():
            read(key, entry, (*path, key))

    def mapping(
        self, value: Json, path: Steps, allowed: frozenset[str] | None = None
    ) -> Mapping[str, Json]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.problem("expected a mapping", path)
            return {}
        for key in value:
            if allowed is not None and key not in allowed:
                offers = ", ".join(sorted(allowed))
                self.problem(f"unknown field `{key}`; known are {offers}", (*path, key))
        return value

    def text(self, value: Json, path: Steps) -> str | None:
        if value is None or (isinstance(value, str) and value):
            return value
        self.problem("expected text", path)
        return None

    def name(self, value: str, path: Steps) -> str | None:
        """Return a name as a call can have it, None when none can."""
        try:
            return name(value, "a name")
        except ParseError as error:
            self.problem(f"no call can have this name: {error}", path)
            return None

    def state(self, pattern: str, value: Json, path: Steps, more: frozenset[str]) -> None:
        """Note labels and properties of `pattern`; `more` are the other fields it may have."""
        about = self.mapping(value, path, _ABOUT | more)
        labels = about.get("labels") or []
        if not isinstance(labels, list) or not all(isinstance(x, str) and x for x in labels):
            self.problem("`labels` is a list of text", (*path, "labels"))
            labels = []
        properties = dict(self.mapping(about.get("properties"), (*path, "properties")))
        self.statements.append(Statement(pattern, self.upstream, tuple(labels), properties))

    def glob(self, key: str, value: Json, path: Steps) -> None:
        kind, colon, id_glob = key.partition(":")
        known = RESOURCE_TYPES[self.protocol]
        if not colon or kind not in known:
            offers = ", ".join(sorted(known))
            return self.problem(f"expected `type:id` with a type of {offers}", path)
        try:
            pieces(id_glob)
        except ValueError as error:
            return self.problem(str(error), path)
        if kind in NAMED_TYPES and "." in id_glob:
            return self.problem(f"a `.` in the id of a {kind} is spelt `%2E`", path)
        return self.state(key, value, path, frozenset())

    def opaque(self, kind: str, owner: str) -> Callable[[str, Json, Steps], None]:
        """Return the reader of a section whose keys are globs over what `owner` tells apart."""

        def read(pattern: str, value: Json, path: Steps) -> None:
            try:
                id_glob = opaque_glob(owner, pattern)
            except ValueError as error:
                return self.problem(str(error), path)
            return self.state(f"{kind}:{id_glob}", value, path, frozenset())

        return read

    def server(self, key: str, value: Json, path: Steps) -> None:
        server = self.name(key, path)
        if server is None:
            return
        self.state(_literal("mcp_server", server), value, path, _SERVER_KEYS)
        about = self.mapping(value, path)
        self.each(about.get("tools"), (*path, "tools"), self.tool(server))
        self.each(about.get("prompts"), (*path, "prompts"), self.prompt(server))
        self.each(about.get("resources"), (*path, "resources"), self.opaque("resource", server))

    def prompt(self, server: str) -> Callable[[str, Json, Steps], None]:
        def read(key: str, value: Json, path: Steps) -> None:
            prompt = self.name(key, path)
            if prompt is not None:
                self.state(_literal("prompt", server, prompt), value, path, frozenset())

        return read

    def tool(self, server: str) -> Callable[[str, Json, Steps], None]:
        def read(key: str, value: Json, path: Steps) -> None:
            tool = self.name(key, path)
            if tool is None:
                return
            self.state(_literal("tool", server, tool), value, path, _TOOL_KEYS)
            about = self.mapping(value, path)
            cls = about.get("class", "execute")
            if cls not in CLASSES:
                self.problem(f"`class` is one of {', '.join(CLASSES)}", (*path, "class"))
            arguments = {
                argument: self.argument(spec, (*path, "arguments", argument))
                for argument, spec in self.mapping(
                    about.get("arguments"), (*path, "arguments")
                ).items()
            }
            self.tools[named_id(server, tool)] = (Tool(self.upstream, cls, arguments), path)

        return read

    def argument(self, value: Json, path: Steps) -> Argument:
        protocol = value.get("protocol") if isinstance(value, dict) else None
        if not isinstance(protocol, str) or protocol not in _ARGUMENT_KEYS:
            offers = ", ".join(_ARGUMENT_KEYS)
            self.problem(f"`protocol` of an argument is one of {offers}", path)
            return Argument("text")
        about = self.mapping(value, path, _ARGUMENT_KEYS[protocol])
        told: dict[str, Json] = {
            key: self.length(said, (*path, key))
            if key == "max_length"
            else self.text(said, (*path, key))
            for key, said in about.items()
            if key in _ARGUMENT_KEYS[protocol]
        }
        return Argument(**{key: said for key, said in told.items() if said is not None})

    def length(self, value: Json, path: Steps) -> int | None:
        if value is None or (type(value) is int and value > 0):
            return value
        self.problem("expected a whole number above 0", path)
        return None

    def model(self, key: str, value: Json, path: Steps) -> None:
        provider, slash, model = key.partition("/")
        if not slash or not provider or not model:
            return self.problem("expected `provider/model`", path)
        return self.opaque("model", provider)(model, value, path)

    def collection(self, key: str, value: Json, path: Steps) -> None:
        collection = self.name(key, path)
        if collection is None:
            return
        self.state(_literal("collection", collection), value, path, frozenset(("documents",)))
        about = self.mapping(value, path)
        read = self.opaque("document", collection)
        self.each(about.get("documents"), (*path, "documents"), read)

    def agent(self, key: str, value: Json, path: Steps) -> None:
        agent = self.name(key, path)
        if agent is not None:
            self.state(_literal("agent", agent), value, path, frozenset())


_SERVER_KEYS: Final = frozenset(("tools", "prompts", "resources"))
_TOOL_KEYS: Final = frozenset(("class", "arguments"))


def _literal(kind: str, *names: str) -> str:
    return f"{kind}:{_escaped(named_id(*names))}"


def _escaped(id: str) -> str:
    # Ids hold no star (it is encoded), so the backslash alone needs its escape.
    return id.replace("\\", "\\\\")
