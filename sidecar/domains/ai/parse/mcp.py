"""Reads one MCP message, of the 2026-07-28 revision or an earlier one, towards its server.

| method | target | class |
|---|---|---|
| tools/call | tool:server/name | the catalogue's, else execute |
| resources/read, subscribe, unsubscribe | resource:server/uri | read |
| prompts/get; completion/complete | prompt:server/name (or resource:…) | read |
| tasks/get, result; update; cancel | task:server/id | read; write; delete |
| tools, prompts, resources, resources/templates, tasks: …/list | mcp_server:…, elements | list |
| initialize, server/discover, logging/setLevel, ping, notifications | mcp_server:server | connect |

Everything else is refused, what a server asks of its client (sampling, elicitation, roots) too:
which of the two speaks is not known here. `_meta` is passed on and never read: what it claims is
nobody's identity.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from sidecar.domains.ai.catalogue import AiCatalogue, Argument
from sidecar.domains.ai.catalogue.names import name, named_id, opaque, opaque_id, uri
from sidecar.domains.ai.limits import ELEMENTS_MAX
from sidecar.domains.ai.parse.inner import answered_calls, inner_calls
from sidecar.domains.ai.parse.jsonrpc import Message, read
from sidecar.domains.ai.parse.shape import (
    Object,
    distinct,
    listing,
    mapping,
    only,
    optional_mapping,
    refuse,
    target,
    understood,
)
from sidecar.terms.call import Call, Json
from sidecar.terms.request import Inner, Parsed, Resource
from sidecar.terms.words import ActionClass


class Listing(msgspec.Struct, frozen=True):
    """A method that lists: where its answer holds the elements, and what tells them apart."""

    elements: str
    field: str
    type: str


LISTS: Final = {
    "tools/list": Listing("tools", "name", "tool"),
    "prompts/list": Listing("prompts", "name", "prompt"),
    "resources/list": Listing("resources", "uri", "resource"),
    "resources/templates/list": Listing("resourceTemplates", "uriTemplate", "resource"),
    "tasks/list": Listing("tasks", "taskId", "task"),
}
# What the answer to a list may hold beside its elements.
_LIST_RESULT: Final = frozenset(("nextCursor", "_meta", "resultType", "ttlMs", "cacheScope"))
_RETRY: Final = ("inputResponses", "requestState")
_PARAMS: Final[dict[str, tuple[str, ...]]] = {
    "initialize": ("protocolVersion", "capabilities", "clientInfo"),
    "server/discover": (),
    "logging/setLevel": ("level",),
    "ping": (),
    "tools/call": ("name", "arguments", "task", *_RETRY),
    "prompts/get": ("name", "arguments", *_RETRY),
    "resources/read": ("uri", *_RETRY),
    "resources/subscribe": ("uri",),
    "resources/unsubscribe": ("uri",),
    "completion/complete": ("ref", "argument", "context"),
    "tasks/get": ("taskId",),
    "tasks/result": ("taskId",),
    "tasks/cancel": ("taskId",),
    "tasks/update": ("taskId", *_RETRY),
    **dict.fromkeys(LISTS, ("cursor",)),
}
_CONNECT: Final = frozenset(("initialize", "server/discover", "logging/setLevel", "ping"))
_TASKS: Final[dict[str, ActionClass]] = {
    "tasks/get": "read",
    "tasks/result": "read",
    "tasks/update": "write",
    "tasks/cancel": "delete",
}
# A list, not a prefix: a server may act on a notification of its own making.
_NOTIFICATIONS: Final = frozenset(
    f"notifications/{told}"
    for told in (
        "initialized", "cancelled", "progress", "message", "roots/list_changed",
        "tools/list_changed", "prompts/list_changed", "resources/list_changed", "resources/updated",
        "elicitation/complete", "tasks/status",
    )
)  # fmt: skip
_KNOWN_UNREAD: Final = frozenset(("subscriptions/listen",))


class _Said(msgspec.Struct, frozen=True):
    """What the readers of the methods are given."""

    server: str
    upstream: str
    method: str
    params: Object
    catalogue: AiCatalogue

    def at_server(self) -> Resource:
        return self.catalogue.resource("mcp_server", named_id(self.server), self.upstream)

    def under_server(self, type: str, id: str) -> Resource:
        return self.catalogue.resource(type, id, self.upstream, self.at_server())


def parse(call: Call, catalogue: AiCatalogue) -> Parsed:
    """Return what an `mcp` call (`server`, `message`, the `result` of a list) means."""
    only(call.payload, ("server", "message", "result"), "an mcp call", "parse.envelope")
    server = name(call.payload.get("server"), "the server's name")
    message = read(call.payload.get("message"))
    answered = message.result
    if "result" in call.payload:
        answered = mapping(call.payload["result"], "`result`")
    if message.method is None:
        if "result" in call.payload:
            raise refuse("parse.ambiguous", "two answers to one list")
        return _listed(_Said(server, call.upstream, "", {}, catalogue), answered)
    said = _Said(server, call.upstream, message.method, message.params, catalogue)
    if message.method in LISTS and not message.is_notification:
        _check_params(said)
        return _listed(said, answered)
    if "result" in call.payload:
        raise refuse("parse.unexpected", "an answer to something that is no list")
    return _called(said, message)


def _called(said: _Said, message: Message) -> Parsed:
    if said.method.startswith("notifications/"):
        return _notified(said, message)
    if said.method in _KNOWN_UNREAD:
        raise refuse("parse.unsupported", "a method that is known but not read yet")
    if said.method not in _PARAMS:
        raise refuse("parse.method", "a method that a client does not have")
    if message.is_notification:
        raise refuse("parse.missing", "a request without an id")
    _check_params(said)
    if said.method in _CONNECT:
        return _understood(said, "connect", said.at_server(), {"notification": False})
    if said.method in _TASKS:
        return _task(said)
    return _READERS[said.method](said)


def _notified(said: _Said, message: Message) -> Parsed:
    if said.method not in _NOTIFICATIONS:
        raise refuse("parse.method", "a notification that the protocol does not have")
    if not message.is_notification:
        raise refuse("parse.ambiguous", "a notification with an id")
    return _understood(said, "connect", said.at_server(), {"notification": True})


def _check_params(said: _Said) -> None:
    only(said.params, ("_meta", *_PARAMS[said.method]), "this method")
    for key in ("_meta", "inputResponses", "task", "context"):
        optional_mapping(said.params, key, f"`{key}`")


def _understood(
    said: _Said,
    cls: ActionClass,
    resource: Resource,
    native: Object,
    declared: Mapping[str, Argument] = {},
) -> Parsed:
    about = {"server": said.server, "method": said.method, "notification": False}
    answers = said.params.get("inputResponses")
    parsed = understood(
        "mcp", [target(cls, said.method, resource)], {**about, "answers": answers, **native}
    )
    # A tool asks for what it needs: SQL may come as the answer to an elicitation too.
    inner = answered_calls(answers, declared) if answers else ()
    return msgspec.structs.replace(parsed, inner=inner)


def _tool(said: _Said) -> Parsed:
    tool = name(said.params.get("name"), "the tool's name")
    arguments = _arguments(said.params)
    id = named_id(said.server, tool)
    known = said.catalogue.tool(id, said.upstream)
    inner: tuple[Inner, ...] = inner_calls(arguments, known.arguments)
    native = {"name": tool, "arguments": arguments}
    resource = said.under_server("tool", id)
    parsed = _understood(said, known.cls, resource, native, known.arguments)
    return msgspec.structs.replace(parsed, inner=(*inner, *parsed.inner))


def _arguments(params: Object) -> Object:
    arguments = optional_mapping(params, "arguments", "`arguments`")
    distinct((key.casefold() for key in arguments), "the same argument but for its case")
    return arguments


def _prompt(said: _Said) -> Parsed:
    prompt = name(said.params.get("name"), "the prompt's name")
    native = {"name": prompt, "arguments": _arguments(said.params)}
    id = named_id(said.server, prompt)
    return _understood(said, "read", said.under_server("prompt", id), native)


def _resource(said: _Said) -> Parsed:
    found = uri(said.params.get("uri"))
    id = opaque_id(said.server, found)
    return _understood(said, "read", said.under_server("resource", id), {"uri": found})


def _completion(said: _Said) -> Parsed:
    ref = mapping(said.params.get("ref"), "`ref`")
    argument = mapping(said.params.get("argument"), "`argument`")
    only(argument, ("name", "value"), "an argument that is completed")
    native = {
        "arguments": {opaque(argument.get("name"), "an argument's name"): argument.get("value")}
    }
    if ref.get("type") == "ref/prompt":
        only(ref, ("type", "name", "title"), "a reference to a prompt")
        prompt = name(ref.get("name"), "the prompt's name")
        resource = said.under_server("prompt", named_id(said.server, prompt))
        return _understood(said, "read", resource, {"name": prompt, **native})
    if ref.get("type") != "ref/resource":
        raise refuse("parse.syntax", "a reference to neither a prompt nor a resource")
    only(ref, ("type", "uri"), "a reference to a resource")
    found = uri(ref.get("uri"), template=True)
    resource = said.under_server("resource", opaque_id(said.server, found))
    return _understood(said, "read", resource, {"uri": found, **native})


def _task(said: _Said) -> Parsed:
    task = opaque(said.params.get("taskId"), "the task's id")
    resource = said.under_server("task", opaque_id(said.server, task))
    return _understood(said, _TASKS[said.method], resource, {"task": task})


_READERS: Final[dict[str, Callable[[_Said], Parsed]]] = {
    "tools/call": _tool,
    "prompts/get": _prompt,
    "resources/read": _resource,
    "resources/subscribe": _resource,
    "resources/unsubscribe": _resource,
    "completion/complete": _completion,
}


def _listed(said: _Said, answered: Json) -> Parsed:
    """Return a list: its server and, once answered, every element that may be kept or dropped."""
    method, elements = list_in(said.method, answered)
    named = msgspec.structs.replace(said, method=method)
    targets = [target("list", method, named.at_server())]
    targets += [target("list", method, _element(named, element)) for element in elements]
    distinct((one.resource.key for one in targets), "an element of a list")
    native = {"server": said.server, "method": said.method or None, "notification": False}
    count = None if answered is None else len(elements)
    parsed = understood("mcp", targets, {**native, "count": count})
    return msgspec.structs.replace(parsed, phase="list", combine="each")


def list_in(method: str, answered: Json) -> tuple[str, list[Json]]:
    """Return the list's method and its elements, none when nothing was answered yet.

    Args:
        method: Empty for a bare answer, which tells by its one list what it answers.
        answered: The `result`, None before it is there.
    """
    if answered is None and method:
        return method, []
    result = mapping(answered, "the answer to a list")
    lists = [m for m, known in LISTS.items() if known.elements in result]
    if len(lists) != 1 or (method and lists != [method]):
        raise refuse("parse.unsupported", "an answer that does not hold the one list asked for")
    known = LISTS[lists[0]]
    only(result, (*_LIST_RESULT, known.elements), "the answer to a list")
    if result.get("resultType", "complete") != "complete":
        raise refuse("parse.unsupported", "an answer to a list that is not complete")
    return lists[0], listing(result[known.elements], "a list", ELEMENTS_MAX)


def _element(said: _Said, value: Json) -> Resource:
    known = LISTS[said.method]
    told = mapping(value, "an element of a list").get(known.field)
    match known.type:
        case "resource":
            found = uri(told, template=known.field == "uriTemplate")
            return said.under_server("resource", opaque_id(said.server, found))
        case "task":
            return said.under_server("task", opaque_id(said.server, opaque(told, "a task's id")))
        case kind:
            return said.under_server(kind, named_id(said.server, name(told, "an element's name")))
