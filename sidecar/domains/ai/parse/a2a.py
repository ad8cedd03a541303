"""Reads one A2A message, of 1.0 or of 0.3, towards an agent.

Every method acts on `agent:<id>`. A webhook for results leads out of the house: it is a write of
its own, under the name of the method that sets one, also when it comes along inside a message, and
its host and URL are on the action for rules to judge.

Source: A2A 1.0.1 §9 (JSON-RPC binding), 0.3.0 §7. Protobuf's JSON form reads snake_case names too,
so every field that is not spelt as the specification spells it is refused.
"""

from typing import Final
from urllib.parse import urlsplit

from sidecar.domains.ai.catalogue import AiCatalogue
from sidecar.domains.ai.catalogue.names import name, named_id, opaque, uri
from sidecar.domains.ai.limits import ELEMENTS_MAX
from sidecar.domains.ai.parse.jsonrpc import read
from sidecar.domains.ai.parse.shape import (
    Object,
    listing,
    mapping,
    one_of,
    only,
    optional_mapping,
    refuse,
    target,
    understood,
)
from sidecar.terms.call import Call, Json
from sidecar.terms.request import Parsed, Resource, Target
from sidecar.terms.words import ActionClass

_SEND: Final = ("message", "configuration", "metadata", "tenant")
_TASK: Final = ("id", "historyLength", "metadata", "tenant")
_PUSH_OF_TASK: Final = ("id", "taskId", "pushNotificationConfigId", "metadata", "tenant")
_LIST: Final = (
    "contextId", "status", "pageSize", "pageToken", "historyLength", "statusTimestampAfter",
    "includeArtifacts", "lastUpdatedAfter", "metadata", "tenant",
)  # fmt: skip
_PUSH_LIST: Final = ("id", "taskId", "pageSize", "pageToken", "metadata", "tenant")
_PUSH_SET: Final = (
    "id", "taskId", "pushNotificationConfig", "url", "token", "authentication", "metadata",
    "tenant",
)  # fmt: skip
# Method of 1.0, of 0.3, class, fields of its parameters.
_TABLE: Final[tuple[tuple[str, str, ActionClass, tuple[str, ...]], ...]] = (
    ("SendMessage", "message/send", "execute", _SEND),
    ("SendStreamingMessage", "message/stream", "execute", _SEND),
    ("GetTask", "tasks/get", "read", _TASK),
    ("SubscribeToTask", "tasks/resubscribe", "read", ("id", "metadata", "tenant")),
    ("ListTasks", "tasks/list", "list", _LIST),
    ("CancelTask", "tasks/cancel", "delete", ("id", "metadata", "tenant")),
    ("GetExtendedAgentCard", "agent/getAuthenticatedExtendedCard", "read", ("tenant",)),
    ("CreateTaskPushNotificationConfig", "tasks/pushNotificationConfig/set", "write", _PUSH_SET),
    ("GetTaskPushNotificationConfig", "tasks/pushNotificationConfig/get", "read", _PUSH_OF_TASK),
    ("ListTaskPushNotificationConfigs", "tasks/pushNotificationConfig/list", "list", _PUSH_LIST),
    ("DeleteTaskPushNotificationConfig", "tasks/pushNotificationConfig/delete", "delete",
     _PUSH_OF_TASK),
)  # fmt: skip
_METHODS: Final = {
    method: (cls, fields) for now, then, cls, fields in _TABLE for method in (now, then)
}
_SETS_PUSH: Final = ("CreateTaskPushNotificationConfig", "tasks/pushNotificationConfig/set")
_MESSAGE: Final = frozenset((
    "messageId", "contextId", "taskId", "role", "parts", "metadata", "extensions",
    "referenceTaskIds", "kind",
))  # fmt: skip
_CONFIGURATION: Final = frozenset((
    "acceptedOutputModes", "taskPushNotificationConfig", "pushNotificationConfig", "historyLength",
    "returnImmediately", "blocking",
))  # fmt: skip
_BRINGS_PUSH: Final = ("taskPushNotificationConfig", "pushNotificationConfig")
_PUSH: Final = frozenset(("id", "url", "token", "authentication"))
_PUSH_CONTENT: Final = frozenset(("url", "token", "authentication"))
_ROLES: Final = {"ROLE_USER": "user", "ROLE_AGENT": "agent", "user": "user", "agent": "agent"}
# What holds a part's content, by revision: 1.0 has exactly one of these, 0.3 says which by `kind`.
_CONTENTS: Final = {"text": "text", "raw": "file", "url": "file", "file": "file", "data": "data"}
_PART: Final = frozenset((*_CONTENTS, "kind", "metadata", "filename", "mediaType"))


def parse(call: Call, catalogue: AiCatalogue) -> Parsed:
    """Return what an `a2a` call (`agent`, `message`) means."""
    only(call.payload, ("agent", "message"), "an a2a call", "parse.envelope")
    agent = name(call.payload.get("agent"), "the agent's name")
    message = read(call.payload.get("message"))
    if message.method is None:
        raise refuse("parse.unsupported", "an answer")
    if message.method not in _METHODS:
        raise refuse("parse.method", "a method that the protocol does not have")
    if message.is_notification:
        raise refuse("parse.missing", "a request without an id")
    cls, fields = _METHODS[message.method]
    params = message.params
    only(params, fields, "this method")
    resource = catalogue.resource("agent", named_id(agent), call.upstream)
    native: Object = {
        "agent": agent,
        "method": message.method,
        "tenant": _optional(params, "tenant"),
        "task": _task(params),
        "context": _optional(params, "contextId"),
    }
    if message.method in _SETS_PUSH:
        return understood("a2a", [_pushed(message.method, resource, params)], native)
    targets = [target(cls, message.method, resource)]
    if fields is _SEND:
        native |= _spoken(params)
        targets += _configured(params, resource)
    return understood("a2a", targets, native)


def _optional(owner: Object, key: str) -> str | None:
    return opaque(owner[key], f"`{key}`") if key in owner else None


def _task(params: Object) -> str | None:
    told = {key: opaque(params[key], "a task's id") for key in ("id", "taskId") if key in params}
    # With both, `id` is that of the configuration (1.0); alone it is the task's (0.3).
    return told.get("taskId", told.get("id"))


def _spoken(params: Object) -> Object:
    message = mapping(params.get("message"), "`message`")
    only(message, _MESSAGE, "a message")
    if message.get("kind", "message") != "message":
        raise refuse("parse.syntax", "a message of another kind")
    role = one_of(message.get("role"), _ROLES, "the role of a message")
    parts = listing(message.get("parts"), "`parts`", ELEMENTS_MAX)
    return {
        "role": _ROLES[role],
        "task": _optional(message, "taskId"),
        "context": _optional(message, "contextId"),
        "kinds": list(dict.fromkeys(_kind(part) for part in parts)),
        "parts": parts,
    }


def _kind(value: Json) -> str:
    part = mapping(value, "a part")
    only(part, _PART, "a part")
    held = [key for key in _CONTENTS if key in part]
    if not held:
        raise refuse("parse.missing", "a part without content")
    if len(held) > 1:
        raise refuse("parse.ambiguous", "a part with two contents")
    if part.get("kind", _CONTENTS[held[0]]) != _CONTENTS[held[0]]:
        raise refuse("parse.ambiguous", "a part that is not of the kind it says")
    return _CONTENTS[held[0]]


def _configured(params: Object, resource: Resource) -> list[Target]:
    """Return the webhooks that a message brings along."""
    configuration = optional_mapping(params, "configuration", "`configuration`")
    only(configuration, _CONFIGURATION, "a configuration")
    return [
        _pushed(method, resource, mapping(configuration[key], "a webhook"))
        for method, key in zip(_SETS_PUSH, _BRINGS_PUSH, strict=True)
        if key in configuration
    ]


def _pushed(method: str, resource: Resource, told: Object) -> Target:
    """Return the target of setting a webhook: flat in 1.0, nested in 0.3."""
    only(told, _PUSH_SET, "a webhook")
    nested = optional_mapping(told, "pushNotificationConfig", "a webhook")
    only(nested, _PUSH, "a webhook")
    if nested and _PUSH_CONTENT & told.keys():
        raise refuse("parse.ambiguous", "two webhooks in one")
    url = uri((nested or told).get("url"))
    host = urlsplit(url).hostname
    if not url.startswith(("https://", "http://")) or not host:
        raise refuse("parse.path", "a webhook that is not at an http URL")
    return target("write", method, resource, {"url": url, "host": host})
