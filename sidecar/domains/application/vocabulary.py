"""The words of `http` and `authzen` calls that rules may read, and the obligations known here."""

from typing import Final

from sidecar.terms.domain import DENY_OBLIGATIONS, ObligationType, Vocabulary, Word

NAME: Final = "application"
PROTOCOLS: Final = ("http", "graphql", "jsonrpc", "authzen")

# How a call's class follows from its method, unless the catalogue says otherwise.
METHOD_CLASSES: Final = {
    "GET": "read",
    "HEAD": "read",
    "OPTIONS": "read",
    "POST": "write",
    "PUT": "write",
    "PATCH": "write",
    "DELETE": "delete",
}
# A body has no meaning here (RFC 9110 §9.3.1): who reads one reads another request than we do.
BODILESS: Final = frozenset(("GET", "HEAD", "OPTIONS"))

_STRING, _STRINGS, _MAP = "string", "map(string, string)", "map(string, dyn)"

_HTTP: Final = (
    Word("request.http.method", _STRING, "method, upper case as sent"),
    Word("request.http.scheme", _STRING, "`http` or `https`"),
    Word("request.http.host", _STRING, "lower case; with its port when not the scheme's own"),
    Word("request.http.path", _STRING, "raw path, never decoded; prefer `route` and `params`"),
    Word("request.http.route", _STRING, "template that matched, empty when none did"),
    Word("request.http.params", _STRINGS, "path parameters, each decoded once"),
    Word("request.http.query", _MAP, "string, or list where a key repeats", sensitive=True),
    Word("request.http.headers", _STRINGS, "names in lower case, no credentials", sensitive=True),
    Word("request.http.body", "dyn", "the JSON body; absent when there is none", sensitive=True),
    Word("request.http.operation_id", _STRING, "operationId or declared name, else absent"),
    Word("action.properties.method", _STRING, "the method, where `action.name` is an operation"),
    Word("resource.properties.params", _STRINGS, "path parameters of the route"),
)
_AUTHZEN: Final = (
    Word("request.authzen.action", _MAP, "`name` and `properties`", sensitive=True),
    Word("request.authzen.resource", _MAP, "`type`, `id`, `properties`", sensitive=True),
    Word("request.authzen.context", _MAP, "context as the caller says it", sensitive=True),
    Word("context.claimed", _MAP, "the same, or the envelope's own context", sensitive=True),
    Word("action.properties", _MAP, "the caller's words about the action", sensitive=True),
    Word("resource.properties", _MAP, "the caller's words; the catalogue's win", sensitive=True),
)

_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": 1000}

OBLIGATIONS: Final = (
    ObligationType(
        name="redact",
        schema={
            "type": "object",
            "properties": {"fields": {"type": "array", "items": _TEXT, "minItems": 1}},
            "required": ["fields"],
            "additionalProperties": False,
        },
        combine="union",
        field="fields",
    ),
    *DENY_OBLIGATIONS,
)

VOCABULARY: Final = Vocabulary(
    words={"http": _HTTP, "authzen": _AUTHZEN, "graphql": (), "jsonrpc": ()},
    phases=dict.fromkeys(PROTOCOLS, ("call",)),
    obligations=OBLIGATIONS,
)
