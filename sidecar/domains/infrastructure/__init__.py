"""Infrastructure: Kubernetes and AWS API requests and Terraform plans, read before they happen."""

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from sidecar.domains.infrastructure import enforce
from sidecar.domains.infrastructure.catalogue import (
    SHAPES,
    InfrastructureCatalogue,
    compile_catalogue,
)
from sidecar.domains.infrastructure.parse import parse
from sidecar.domains.infrastructure.vocabulary import NAME, PROTOCOLS, VOCABULARY
from sidecar.syntax.shape import Shape
from sidecar.terms.answer import Refusal, ResultFilter
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision
from sidecar.terms.domain import Catalogue, CatalogueFile, Needs, Vocabulary
from sidecar.terms.request import Parsed, Request


class Infrastructure(msgspec.Struct, frozen=True):
    """What the path asks of this domain; see `terms.domain.Domain`."""

    name: str = NAME
    protocols: tuple[str, ...] = PROTOCOLS
    vocabulary: Vocabulary = VOCABULARY
    shapes: ClassVar[dict[str, Shape]] = SHAPES

    def catalogue(self, files: Sequence[CatalogueFile]) -> InfrastructureCatalogue:
        """Compile the catalogue files; PolicyError with every problem."""
        return compile_catalogue(files)

    def check(self, obligation: dict[str, Json], catalogue: Catalogue) -> list[str]:
        """Return what is wrong beyond the schema: nothing, for what is known here."""
        return []

    def parse(self, call: Call, catalogue: Catalogue, needs: Needs) -> Parsed:
        """Read the call; ParseError for whatever is not understood whole."""
        assert isinstance(catalogue, InfrastructureCatalogue)
        return parse(call, catalogue)

    def rewrite(
        self, call: Call, request: Request, decision: Decision, catalogue: Catalogue
    ) -> dict[str, Json]:
        """Return the payload as it came; an obligation denies."""
        return enforce.rewrite(call, decision)

    def result(self, request: Request, decision: Decision) -> ResultFilter | None:
        """Return no filter: the upstream's answer passes as it is."""
        return None

    def refuse(self, call: Call, decision: Decision) -> Refusal:
        """Return the denial in the protocol's own words."""
        return enforce.refuse(call, decision)


DOMAIN = Infrastructure()
