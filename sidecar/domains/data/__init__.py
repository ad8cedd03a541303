"""Data: SQL statements. `DOMAIN` is what the path asks."""

from collections.abc import Sequence
from typing import Final

from sidecar.domains.data import enforce
from sidecar.domains.data.catalogue import DataCatalogue, compile_catalogue
from sidecar.domains.data.parse import parse as read
from sidecar.domains.data.vocabulary import VOCABULARY
from sidecar.terms.answer import Refusal, ResultFilter
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision
from sidecar.terms.domain import Catalogue, CatalogueFile, Domain, Needs
from sidecar.terms.request import Parsed, Request


class DataDomain:
    """Reads SQL; see terms.domain.Domain for what each method promises."""

    name = "data"
    protocols: tuple[str, ...] = ("sql",)
    vocabulary = VOCABULARY

    def catalogue(self, files: Sequence[CatalogueFile]) -> DataCatalogue:
        """Compile the catalogue files of SQL."""
        return compile_catalogue(files)

    def check(self, obligation: dict[str, Json], catalogue: Catalogue) -> list[str]:
        """Return what is wrong with an obligation beyond its schema."""
        return enforce.check(obligation, _own(catalogue))

    def parse(self, call: Call, catalogue: Catalogue, needs: Needs) -> Parsed:
        """Read the statement; it is always read completely, whatever is needed of it."""
        return read(call, _own(catalogue))

    def rewrite(
        self, call: Call, request: Request, decision: Decision, catalogue: Catalogue
    ) -> dict[str, Json]:
        """Return the payload to forward."""
        return enforce.rewrite(call, request, decision)

    def result(self, request: Request, decision: Decision) -> ResultFilter | None:
        """Return None: rows pass as they are."""
        return None

    def refuse(self, call: Call, decision: Decision) -> Refusal:
        """Return the denial in PostgreSQL's words."""
        return enforce.refuse(call, decision)


def _own(catalogue: Catalogue) -> DataCatalogue:
    assert isinstance(catalogue, DataCatalogue)
    return catalogue


DOMAIN: Final[Domain] = DataDomain()
