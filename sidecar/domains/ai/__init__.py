"""The AI domain: MCP, OpenAI-compatible inference, retrieval, agent to agent."""

from collections.abc import Sequence
from typing import ClassVar, Final

from sidecar.domains.ai import enforce, vocabulary
from sidecar.domains.ai.catalogue import AiCatalogue
from sidecar.domains.ai.catalogue.files import compile_files
from sidecar.domains.ai.catalogue.shape import SHAPES
from sidecar.domains.ai.parse import parse
from sidecar.syntax.shape import Shape
from sidecar.terms.answer import Refusal, ResultFilter
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision
from sidecar.terms.domain import Catalogue, CatalogueFile, Domain, Needs, Vocabulary
from sidecar.terms.request import Parsed, Request


class AiDomain:
    """Fulfils `terms.domain.Domain` for `mcp`, `llm`, `rag` and `a2a`."""

    name = vocabulary.NAME
    protocols = vocabulary.PROTOCOLS
    vocabulary: Vocabulary = vocabulary.VOCABULARY
    shapes: ClassVar[dict[str, Shape]] = SHAPES

    def catalogue(self, files: Sequence[CatalogueFile]) -> AiCatalogue:
        """Compile the catalogue files of these protocols."""
        return compile_files(files)

    def check(self, obligation: dict[str, Json], catalogue: Catalogue) -> list[str]:
        """Return nothing: these obligations are said completely by their schema."""
        return []

    def parse(self, call: Call, catalogue: Catalogue, needs: Needs) -> Parsed:
        """Read the call, always as a whole: ids are in its body."""
        assert isinstance(catalogue, AiCatalogue)
        return parse(call, catalogue)

    def rewrite(
        self, call: Call, request: Request, decision: Decision, catalogue: Catalogue
    ) -> dict[str, Json]:
        """Return the payload with what the decision keeps."""
        return enforce.rewrite(call, request, decision)

    def result(self, request: Request, decision: Decision) -> ResultFilter | None:
        """Return no filter: answers that are lists are judged as calls of their own."""
        return None

    def refuse(self, call: Call, decision: Decision) -> Refusal:
        """Return the denial in the protocol's own words."""
        return enforce.refuse(call, decision)


DOMAIN: Final[Domain] = AiDomain()
