"""Reads the four protocols of this domain; one file each, over `jsonrpc`, `inner` and `shape`."""

from collections.abc import Callable
from typing import Final

from sidecar.domains.ai.catalogue import AiCatalogue
from sidecar.domains.ai.parse import a2a, llm, mcp, rag
from sidecar.terms.call import Call
from sidecar.terms.request import Parsed

READERS: Final[dict[str, Callable[[Call, AiCatalogue], Parsed]]] = {
    "mcp": mcp.parse,
    "llm": llm.parse,
    "rag": rag.parse,
    "a2a": a2a.parse,
}


def parse(call: Call, catalogue: AiCatalogue) -> Parsed:
    """Return what `call` means. Raises ParseError."""
    return READERS[call.protocol](call, catalogue)
