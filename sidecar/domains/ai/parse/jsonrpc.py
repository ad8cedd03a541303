"""One JSON-RPC 2.0 message, read strictly: MCP and A2A both speak it.

Refused although some servers take it: batches (elements would share one decision), requests without
an id (executed, but nobody hears), null and fractional ids (answers that readers match
differently), parameters by position, and every key that the specification does not have.

Source: https://www.jsonrpc.org/specification; MCP 2025-06-18 removed batches and null ids.
"""

from typing import Final

import msgspec

from sidecar.domains.ai.catalogue.names import opaque
from sidecar.domains.ai.limits import ID_MAX, NAME_BYTES_MAX
from sidecar.domains.ai.parse.shape import Object, decoded, mapping, only, optional_mapping, refuse
from sidecar.terms.call import Json

_REQUEST: Final = frozenset(("jsonrpc", "id", "method", "params"))
_ANSWER: Final = frozenset(("jsonrpc", "id", "result"))


class Message(msgspec.Struct, frozen=True):
    """A request or notification (`method` is there), or an answer (`result` is)."""

    method: str | None
    params: Object
    result: Object | None
    is_notification: bool = False


def read(value: Json) -> Message:
    """Return the one message that `value` (an object, or JSON text of one) is."""
    body = decoded(value, "a message")
    if isinstance(body, list):
        raise refuse("parse.unsupported", "a batch; one message a call is read")
    body = mapping(body, "a message")
    if "jsonrpc" not in body:
        raise refuse("parse.missing", "a message without `jsonrpc`")
    if body["jsonrpc"] != "2.0":
        raise refuse("parse.syntax", "`jsonrpc` is not 2.0")
    if "error" in body:
        raise refuse("parse.unsupported", "an error answer")
    if "id" in body:
        _check_id(body["id"])
    return _answer(body) if "result" in body else _request(body)


def _request(body: Object) -> Message:
    only(body, _REQUEST, "a JSON-RPC request")
    method = opaque(body.get("method"), "the method", NAME_BYTES_MAX)
    params = optional_mapping(body, "params", "`params`")
    return Message(method, params, None, "id" not in body)


def _answer(body: Object) -> Message:
    only(body, _ANSWER, "a JSON-RPC answer")
    if "id" not in body:
        raise refuse("parse.missing", "an answer without an id")
    return Message(None, {}, mapping(body["result"], "`result`"))


def _check_id(value: Json) -> None:
    if value is None:
        raise refuse("parse.ambiguous", "an id that is null")
    if isinstance(value, float) or (type(value) is int and abs(value) > ID_MAX):
        raise refuse("parse.number", "an id that is not a whole number below 2^53")
    if isinstance(value, str):
        opaque(value or None, "an id", NAME_BYTES_MAX)
    elif type(value) is not int:
        raise refuse("parse.syntax", "an id that is neither text nor a number")


def id_of(value: Json) -> str | int | None:
    """Return the id to answer to, None where the message has none that can be trusted."""
    found = value.get("id") if isinstance(value, dict) else None
    return found if type(found) in (str, int) else None
