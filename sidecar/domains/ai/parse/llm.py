"""Reads a call of the OpenAI-compatible API: chat completions, embeddings, the list of models.

Everything that the provider will act on is typed and known: a field that is not is refused, since
it may be another spelling of one that rules judge. A function that is offered to the model is not a
target: it is called later, elsewhere, by a call of its own. A tool that the *provider* runs (web
search, code, MCP) is one, because no later call will pass by here. `/v1/responses` is refused until
it is read as carefully.

Source: the OpenAPI description of the OpenAI API, `CreateChatCompletionRequest`.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from sidecar.domains.ai.catalogue import AiCatalogue
from sidecar.domains.ai.catalogue.names import name, named_id, opaque, opaque_id
from sidecar.domains.ai.limits import (
    ANSWERS_MAX,
    ELEMENTS_MAX,
    MESSAGES_MAX,
    NAME_BYTES_MAX,
    TOOLS_MAX,
)
from sidecar.domains.ai.parse.shape import (
    Object,
    decoded,
    distinct,
    listing,
    mapping,
    one_of,
    only,
    refuse,
    target,
    understood,
)
from sidecar.syntax.rawpath import segments
from sidecar.terms.call import Call, Json
from sidecar.terms.request import Parsed, Resource

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "bool": (bool,),
    "int": (int,),
    "number": (int, float),
    "text": (str,),
    "list": (list,),
    "object": (dict,),
    "choice": (str, dict),
    "any": (object,),
}
_CHAT: Final = {
    "model": "text", "messages": "list", "n": "int", "stream": "bool", "stream_options": "object",
    "max_tokens": "int", "max_completion_tokens": "int", "temperature": "number", "top_p": "number",
    "presence_penalty": "number", "frequency_penalty": "number", "logit_bias": "object",
    "logprobs": "bool", "top_logprobs": "int", "stop": "any", "seed": "int", "user": "text",
    "safety_identifier": "text", "prompt_cache_key": "text", "prompt_cache_retention": "text",
    "tools": "list", "tool_choice": "choice", "parallel_tool_calls": "bool", "functions": "list",
    "function_call": "choice", "response_format": "object", "service_tier": "text", "store": "bool",
    "metadata": "object", "modalities": "list", "audio": "object", "prediction": "object",
    "reasoning_effort": "text", "verbosity": "text", "web_search_options": "object",
}  # fmt: skip
_EMBEDDINGS: Final = {
    "model": "text", "input": "any", "encoding_format": "text", "dimensions": "int", "user": "text",
}  # fmt: skip
_MESSAGE: Final = frozenset((
    "role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal", "audio",
    "annotations", "reasoning", "reasoning_content",
))  # fmt: skip
_ROLES: Final = frozenset(("system", "developer", "user", "assistant", "tool", "function"))
_KINDS: Final = frozenset(("text", "image_url", "input_audio", "file", "refusal"))
_FUNCTION: Final = frozenset(("name", "description", "parameters", "strict"))
_MODES: Final = frozenset(("none", "auto", "required"))
_CHOICES: Final = frozenset(("function", "custom", "allowed_tools"))
_FORMATS: Final = frozenset(("text", "json_object", "json_schema"))
_MODEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9@+_:-]|[./](?![./]|\Z))*\Z")
_FUNCTION_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}\Z")
_UNREAD: Final = frozenset((
    "responses", "messages", "completions", "images", "audio", "files", "batches", "assistants",
    "threads", "realtime", "fine_tuning", "moderations", "uploads", "vector_stores", "containers",
    "conversations", "videos", "evals", "rerank", "chat",
))  # fmt: skip


class _Said(msgspec.Struct, frozen=True):
    """What the readers of the operations are given."""

    provider: str
    upstream: str
    body: Json
    catalogue: AiCatalogue

    def model(self, value: Json) -> Resource:
        text = opaque(value, "the model", NAME_BYTES_MAX)
        if not _MODEL.match(text):
            raise refuse("parse.ambiguous", "a model's id with characters that ids do not have")
        return self.catalogue.resource("model", opaque_id(self.provider, text), self.upstream)


def parse(call: Call, catalogue: AiCatalogue) -> Parsed:
    """Return what an `llm` call (`path`, `body`) means."""
    only(call.payload, ("path", "body"), "an llm call", "parse.envelope")
    path = call.payload.get("path")
    if not isinstance(path, str):
        raise refuse("parse.missing", "an llm call has a path")
    steps = segments(path)
    operation = steps[1:] if steps[:1] == ("v1",) else steps
    provider = (
        "openai" if call.upstream == "default" else name(call.upstream, "the upstream's name")
    )
    said = _Said(provider, call.upstream, call.payload.get("body"), catalogue)
    if operation[:1] == ("models",):
        return _models(said, operation[1:])
    reader = _READERS.get(operation)
    if reader is None:
        known = operation[:1] and operation[0] in _UNREAD
        code = "parse.unsupported" if known else "parse.unknown_operation"
        raise refuse(code, "a path that is not read")
    return reader(said)


def _body(said: _Said, known: dict[str, str]) -> Object:
    """Return the body's fields, each of its type; null is the API's word for absent."""
    body = mapping(decoded(said.body, "the body"), "the body")
    only(body, known, "this operation")
    present = {field: value for field, value in body.items() if value is not None}
    for field, value in present.items():
        # Why bool apart: it is an int to Python, and 1 to nobody else.
        is_number = known[field] in {"int", "number"}
        if not isinstance(value, _TYPES[known[field]]) or (is_number and type(value) is bool):
            raise refuse("parse.syntax", f"`{field}` is not of its type")
    return present


def _chat(said: _Said) -> Parsed:
    body = _body(said, _CHAT)
    resource = said.model(body.get("model"))
    functions, provider_tools = _tools(body)
    messages = [_message(m) for m in listing(body.get("messages"), "`messages`", MESSAGES_MAX)]
    if not messages:
        raise refuse("parse.missing", "a conversation without a message")
    native = {
        **_head(said, "chat.completions", body),
        "stream": body.get("stream", False),
        "store": body.get("store", False),
        "n": _bounded(body.get("n", 1), ANSWERS_MAX, "`n`"),
        "max_tokens": _max_tokens(body),
        "temperature": float(body["temperature"]) if "temperature" in body else None,
        "message_count": len(messages),
        "roles": _ordered(m["role"] for m in messages),
        "kinds": _ordered(kind for m in messages for kind in _kinds(m.get("content"))),
        "tools": functions,
        "provider_tools": provider_tools,
        "tool_choice": _choice(body.get("tool_choice", body.get("function_call"))),
        "response_format": _format(body.get("response_format")),
        "messages": messages,
    }
    targets = [target("execute", "chat.completions", resource)]
    for tool in provider_tools:
        id = named_id(said.provider, tool)
        found = said.catalogue.resource("tool", id, said.upstream)
        targets.append(target("execute", "chat.completions", found))
    return understood("llm", targets, native)


def _head(said: _Said, operation: str, body: Object) -> Object:
    return {"provider": said.provider, "operation": operation, "model": body["model"]}


def _bounded(value: int, most: int, what: str) -> int:
    if not 1 <= value <= most:
        raise refuse("parse.number", f"{what} is not between 1 and {most}")
    return value


def _max_tokens(body: Object) -> int | None:
    caps = [body[key] for key in ("max_tokens", "max_completion_tokens") if key in body]
    if len(caps) > 1:
        raise refuse("parse.ambiguous", "two caps on the answer")
    return _bounded(caps[0], 2**31 - 1, "the cap on the answer") if caps else None


def _message(value: Json) -> Object:
    message = mapping(value, "a message")
    only(message, _MESSAGE, "a message")
    one_of(message.get("role"), _ROLES, "the role of a message")
    return message


def _kinds(content: Json) -> list[str]:
    if content is None:
        return []
    if isinstance(content, str):
        return ["text"]
    what = "a kind of content"
    return [
        one_of(mapping(part, "a part").get("type"), _KINDS, what, "parse.unsupported")
        for part in listing(content, "the content of a message", MESSAGES_MAX)
    ]


def _ordered(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _tools(body: Object) -> tuple[list[str], list[str]]:
    """Return the names of the functions that are offered, and the tools that the provider runs."""
    if "functions" in body and "tools" in body:
        raise refuse("parse.ambiguous", "functions offered in two ways")
    functions = [_function(f) for f in listing(body.get("functions", []), "`functions`", TOOLS_MAX)]
    provider_tools = ["web_search"] if "web_search_options" in body else []
    for value in listing(body.get("tools", []), "`tools`", TOOLS_MAX):
        tool = mapping(value, "a tool")
        if tool.get("type") == "function":
            only(tool, ("type", "function"), "a function that is offered")
            functions.append(_function(tool.get("function")))
        else:
            provider_tools.append(name(tool.get("type"), "the type of a tool"))
    distinct(functions, "a function that is offered")
    return functions, _ordered(provider_tools)


def _function(value: Json) -> str:
    function = mapping(value, "a function")
    only(function, _FUNCTION, "a function")
    text = opaque(function.get("name"), "a function's name")
    if not _FUNCTION_NAME.match(text):
        raise refuse("parse.ambiguous", "a function's name with characters that names do not have")
    return text


def _choice(value: Json) -> str | None:
    if value is None:
        return None
    known = _MODES
    if isinstance(value, dict):
        # The deprecated `function_call` names its function without a type.
        value, known = value.get("type", "function" if "name" in value else None), _CHOICES
    return one_of(value, known, "a choice of tool", "parse.unsupported")


def _format(value: Object | None) -> str | None:
    if value is None:
        return None
    return one_of(value.get("type"), _FORMATS, "a response format", "parse.unsupported")


def _embeddings(said: _Said) -> Parsed:
    body = _body(said, _EMBEDDINGS)
    resource = said.model(body.get("model"))
    if "input" not in body:
        raise refuse("parse.missing", "nothing to embed")
    native = {**_head(said, "embeddings", body), "stream": False, "input": body["input"]}
    return understood("llm", [target("execute", "embeddings", resource)], native)


def _models(said: _Said, rest: tuple[str, ...]) -> Parsed:
    """Return the list of models (each a target once it is answered), or one that is looked up."""
    native: Object = {"provider": said.provider}
    if rest:
        if said.body:
            raise refuse("parse.unexpected", "a body where none has a meaning")
        resource = said.model("/".join(rest))
        native |= {"operation": "models.retrieve", "model": "/".join(rest)}
        return understood("llm", [target("read", "models.retrieve", resource)], native)
    provider = said.catalogue.resource("model_provider", named_id(said.provider), said.upstream)
    models = models_in(said.body)
    targets = [target("list", "models", provider)]
    targets += [target("list", "models", said.model(model.get("id"))) for model in models or ()]
    distinct((one.resource.key for one in targets), "a model")
    native |= {"operation": "models", "count": None if models is None else len(models)}
    parsed = understood("llm", targets, native)
    return msgspec.structs.replace(parsed, phase="list", combine="each")


def models_in(body: Json) -> list[Object] | None:
    """Return the models of an answered list, None when `body` is the request's empty one."""
    if body in (None, "", b"", {}):
        return None
    answered = mapping(decoded(body, "the body"), "the list of models")
    only(answered, ("object", "data"), "the list of models")
    return [
        mapping(m, "a model") for m in listing(answered.get("data"), "the models", ELEMENTS_MAX)
    ]


_READERS: Final[dict[tuple[str, ...], Callable[[_Said], Parsed]]] = {
    ("chat", "completions"): _chat,
    ("embeddings",): _embeddings,
}
