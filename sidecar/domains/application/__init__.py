"""The application domain: HTTP calls and AuthZEN evaluations."""

from collections.abc import Sequence

from sidecar.domains.application.catalogue import Catalogue, compile_catalogue
from sidecar.domains.application.catalogue.shape import SHAPES
from sidecar.domains.application.enforce import check, refuse, rewrite
from sidecar.domains.application.parse import parse
from sidecar.domains.application.vocabulary import NAME, PROTOCOLS, VOCABULARY
from sidecar.terms import domain as terms
from sidecar.terms.answer import Refusal, ResultFilter
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision
from sidecar.terms.request import Parsed, Request


class Application:
    """The Domain protocol (`terms.domain.Domain`), wired to this folder's four parts."""

    name = NAME
    protocols: tuple[str, ...] = PROTOCOLS
    vocabulary = VOCABULARY
    shapes = SHAPES

    def catalogue(self, files: Sequence[terms.CatalogueFile]) -> Catalogue:
        """See `catalogue.compile_catalogue`."""
        return compile_catalogue(files)

    def check(self, obligation: dict[str, Json], catalogue: terms.Catalogue) -> list[str]:
        """See `enforce.check`."""
        return check(obligation)

    def parse(self, call: Call, catalogue: terms.Catalogue, needs: terms.Needs) -> Parsed:
        """See `parse.parse`."""
        return parse(call, _own(catalogue), needs)

    def rewrite(
        self, call: Call, request: Request, decision: Decision, catalogue: terms.Catalogue
    ) -> dict[str, Json]:
        """See `enforce.rewrite`."""
        return rewrite(call, decision)

    def result(self, request: Request, decision: Decision) -> ResultFilter | None:
        """Let every answer pass as it is: no obligation on results is known yet."""
        return None

    def refuse(self, call: Call, decision: Decision) -> Refusal:
        """See `enforce.refuse`."""
        return refuse(call, decision)


def _own(catalogue: terms.Catalogue) -> Catalogue:
    assert isinstance(catalogue, Catalogue)
    return catalogue


DOMAIN: terms.Domain = Application()
