"""The words of `mcp`, `llm`, `rag` and `a2a` calls that rules may read, and the obligations."""

from typing import Final

from sidecar.terms.domain import DENY_OBLIGATIONS, Vocabulary, Word

NAME: Final = "ai"
PROTOCOLS: Final = ("mcp", "llm", "rag", "a2a")

# The types of resources that a catalogue file of each protocol may speak of.
RESOURCE_TYPES: Final = {
    "mcp": frozenset(("mcp_server", "tool", "resource", "prompt", "task")),
    "llm": frozenset(("model_provider", "model", "tool")),
    "rag": frozenset(("collection", "document")),
    "a2a": frozenset(("agent",)),
}
# Types whose ids are made of names alone: a dot in a name is `%2E` in the id.
NAMED_TYPES: Final = frozenset(
    ("mcp_server", "tool", "prompt", "model_provider", "collection", "agent")
)

_CALL: Final = ("call",)
_LIST: Final = ("list",)

_MCP: Final = (
    Word("request.mcp.server", "string", "name of the server, as the listener has it"),
    Word("request.mcp.method", "string", "JSON-RPC method; absent on the bare answer to a list"),
    Word(
        "request.mcp.name", "string", "name of the tool or prompt; absent without one", phases=_CALL
    ),
    Word("request.mcp.uri", "string", "URI of the resource; absent without one", phases=_CALL),
    Word("request.mcp.task", "string", "id of the task; absent without one", phases=_CALL),
    Word(
        "request.mcp.arguments",
        "map(string, dyn)",
        "of a tool, prompt or completion; absent elsewhere",
        sensitive=True,
        phases=_CALL,
    ),
    Word(
        "request.mcp.answers",
        "map(string, dyn)",
        "answers to an elicitation; absent without",
        sensitive=True,
        phases=_CALL,
    ),
    Word("request.mcp.notification", "bool", "whether nobody waits for an answer"),
    Word("request.mcp.count", "int", "elements of the list, once it was answered", phases=_LIST),
)
_LLM: Final = (
    Word("request.llm.provider", "string", "the upstream's name, `openai` when none is named"),
    Word("request.llm.operation", "string", "as in `action.name`"),
    Word("request.llm.model", "string", "model as the call names it", phases=_CALL),
    Word("request.llm.stream", "bool", "whether the answer is streamed", phases=_CALL),
    Word(
        "request.llm.store",
        "bool",
        "whether the provider is asked to keep the answer",
        phases=_CALL,
    ),
    Word("request.llm.n", "int", "answers asked for", phases=_CALL),
    Word(
        "request.llm.max_tokens",
        "int",
        "cap on the answer; absent when there is none",
        phases=_CALL,
    ),
    Word("request.llm.temperature", "double", "absent when not given", phases=_CALL),
    Word("request.llm.message_count", "int", "messages in the conversation", phases=_CALL),
    Word(
        "request.llm.roles", "list(string)", "distinct roles, in order of appearance", phases=_CALL
    ),
    Word(
        "request.llm.kinds",
        "list(string)",
        "distinct kinds of content (`text`, `image_url`, …)",
        phases=_CALL,
    ),
    Word(
        "request.llm.tools",
        "list(string)",
        "names of the functions offered to the model",
        phases=_CALL,
    ),
    Word(
        "request.llm.provider_tools",
        "list(string)",
        "tools that the provider itself runs",
        phases=_CALL,
    ),
    Word(
        "request.llm.tool_choice",
        "string",
        "mode, or type of what is named; absent when not given",
        phases=_CALL,
    ),
    Word("request.llm.response_format", "string", "its type; absent when not given", phases=_CALL),
    Word("request.llm.messages", "list(dyn)", "the conversation", sensitive=True, phases=_CALL),
    Word("request.llm.input", "dyn", "what is to be embedded", sensitive=True, phases=_CALL),
    Word("request.llm.count", "int", "models in the list, once it was answered", phases=_LIST),
)
_RAG: Final = (
    Word("request.rag.collection", "string", "name of the collection"),
    Word("request.rag.query", "dyn", "what is looked for; absent when not given", sensitive=True),
    Word("request.rag.top_k", "int", "how many are asked for; absent when not given"),
    Word("request.rag.count", "int", "candidates in the call"),
    Word(
        "resource.properties",
        "map(string, dyn)",
        "the store's metadata; the catalogue's win",
        sensitive=True,
    ),
)
_A2A: Final = (
    Word("request.a2a.agent", "string", "the agent that is spoken to"),
    Word("request.a2a.method", "string", "JSON-RPC method, 1.0 or 0.3 spelling as sent"),
    Word("request.a2a.tenant", "string", "tenant of the agent; absent without one"),
    Word("request.a2a.task", "string", "id of the task; absent without one"),
    Word("request.a2a.context", "string", "id of the conversation; absent without one"),
    Word("request.a2a.role", "string", "who speaks: `user` or `agent`; absent without a message"),
    Word(
        "request.a2a.kinds",
        "list(string)",
        "kinds of parts: `text`, `file`, `data`; absent without a message",
    ),
    Word("request.a2a.parts", "list(dyn)", "the parts of the message", sensitive=True),
    Word("action.properties.host", "string", "host that a push notification goes to"),
    Word("action.properties.url", "string", "URL that a push notification goes to", sensitive=True),
)

VOCABULARY: Final = Vocabulary(
    words={"mcp": _MCP, "llm": _LLM, "rag": _RAG, "a2a": _A2A},
    phases={"mcp": ("list", "call"), "llm": ("list", "call"), "rag": ("call",), "a2a": ("call",)},
    obligations=DENY_OBLIGATIONS,
)
