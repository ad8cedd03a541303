"""A raw call that means what a recorded request meant, where one can be written.

What was recorded is what a call touched, not its bytes. For most protocols the smallest call that
touches the same is known; where it is not, there is none, and the rule goes without a test.
"""

import json
from collections.abc import Callable
from typing import Final

from sidecar.terms.call import Json
from sidecar.terms.request import Request

_K8S_METHODS: Final = {
    "get": "GET", "list": "GET", "watch": "GET", "create": "POST", "update": "PUT",
    "patch": "PATCH", "delete": "DELETE", "deletecollection": "DELETE",
}  # fmt: skip
Payload = dict[str, Json]


def call_of(request: Request) -> Payload | None:
    """Return a `call` object that may mean the same, None where none can be written."""
    write = _WRITERS.get(request.protocol)
    native = request.request.get(request.protocol)
    if write is None or not isinstance(native, dict) or request.parts:
        return None
    try:
        return write(request, native)
    except (KeyError, TypeError, IndexError):
        return None


def _sql(_request: Request, native: Payload) -> Payload | None:
    text = _statement(native)
    return None if text is None else {"dialect": native["dialect"], "text": text}


def _statement(native: Payload) -> str | None:
    verbs, reads, writes = native["verbs"], native["reads"], native["writes"]
    if verbs == ["select"] and len(reads) == 1 and not writes:
        ((table, columns),) = reads.items()
        return " ".join(("SELECT", _columns(columns), "FROM", _name(table)))
    if len(writes) != 1:
        return None
    ((table, columns),) = writes.items()
    if verbs == ["insert"] and not reads and "*" not in columns:
        row = ", ".join("NULL" for _ in columns)
        return " ".join(("INSERT INTO", _name(table), f"({_columns(columns)}) VALUES ({row})"))
    if verbs == ["delete"] and not reads:
        return " ".join(("DELETE FROM", _name(table)))
    return None


def _columns(columns: list[str]) -> str:
    return ", ".join("*" if name == "*" else _quoted(name) for name in columns)


def _name(table: str) -> str:
    return ".".join(_quoted(part) for part in table.split("."))


def _quoted(name: str) -> str:
    return (
        name
        if name.isidentifier() and name == name.lower()
        else '"' + name.replace('"', '""') + '"'
    )


def _http(_request: Request, native: Payload) -> Payload | None:
    host = native.get("host") or "api.test"
    return {"method": native["method"], "url": f"http://{host}{native['path']}"}


def _k8s(_request: Request, native: Payload) -> Payload | None:
    method = _K8S_METHODS.get(native["verb"])
    if method is None:
        return None
    call: Payload = {"method": method, "path": native["path"]}
    if native["verb"] == "watch":
        call["query"] = "watch=1"
    return call


def _mcp(_request: Request, native: Payload) -> Payload | None:
    message: Payload = {"jsonrpc": "2.0", "id": 1, "method": native["method"]}
    if "name" in native:
        message["params"] = {"name": native["name"], "arguments": {}}
    elif "uri" in native:
        message["params"] = {"uri": native["uri"]}
    return {"server": native["server"], "message": message}


def _llm(_request: Request, native: Payload) -> Payload | None:
    body = {"model": native["model"], "messages": [{"role": "user", "content": "hello"}]}
    return {"path": "/v1/chat/completions", "body": json.dumps(body)}


def _rag(_request: Request, native: Payload) -> Payload | None:
    return {"collection": native["collection"], "candidates": []}


def _authzen(request: Request, _native: Payload) -> Payload | None:
    # Whose call it is stands in the test's principals, of whom there are several.
    target = request.targets[0]
    return {
        "action": {"name": target.action.name},
        "resource": {"type": target.resource.type, "id": target.resource.id},
    }


_WRITERS: Final[dict[str, Callable[[Request, Payload], Payload | None]]] = {
    "sql": _sql,
    "http": _http,
    "k8s": _k8s,
    "mcp": _mcp,
    "llm": _llm,
    "rag": _rag,
    "authzen": _authzen,
}
