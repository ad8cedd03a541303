"""Data: SQL statements. `DOMAIN` is what the path asks."""

from collections.abc import Sequence
from typing import Final

from sidecar.domains.data import enforce
from sidecar.domains.data.catalogue import DataCatalogue, compile_catalogue
from sidecar.domains.data.catalogue.shape import SHAPES
from sidecar.domains.data.enforce.long import done
from sidecar.domains.data.parse import parse as read
from sidecar.domains.data.vocabulary import VOCABULARY
from sidecar.terms.answer import Refusal, ResultFilter
from sidecar.terms.call import Call, Json
from sidecar.terms.decision import Decision
from sidecar.terms.domain import Catalogue, CatalogueFile, Domain, Needs
from sidecar.terms.request import Parsed, Request


class DataDomain:
    """Reads SQL; see terms.domain.Domain for what each method promises.

    Args:
        bundle: Digest of the one bundle that this domain reads for where another process reads
            what is long: `parse` and `rewrite` then raise `Elsewhere`.
    """

    def __init__(self, bundle: str | None = None) -> None:
        self._bundle = bundle

    name = "data"
    protocols: tuple[str, ...] = ("sql",)
    vocabulary = VOCABULARY
    shapes = SHAPES

    def catalogue(self, files: Sequence[CatalogueFile]) -> DataCatalogue:
        """Compile the catalogue files of SQL."""
        return compile_catalogue(files)

    def check(self, obligation: dict[str, Json], catalogue: Catalogue) -> list[str]:
        """Return what is wrong with an obligation beyond its schema."""
        return enforce.check(obligation, _own(catalogue))

    def parse(self, call: Call, catalogue: Catalogue, needs: Needs) -> Parsed:
        """Read the statement; it is always read completely, whatever is needed of it."""
        return read(call, _own(catalogue), self._bundle)

    def rewrite(
        self, call: Call, request: Request, decision: Decision, catalogue: Catalogue
    ) -> dict[str, Json]:
        """Return the payload to forward."""
        return enforce.rewrite(call, request, decision, _own(catalogue), self._bundle)

    def result(self, request: Request, decision: Decision) -> ResultFilter | None:
        """Return None: rows pass as they are."""
        return None

    def refuse(self, call: Call, decision: Decision) -> Refusal:
        """Return the denial in PostgreSQL's words."""
        return enforce.refuse(call, decision)


def done_elsewhere(work: bytes, catalogue: Catalogue) -> bytes:
    """Return the answer to what `Elsewhere.work` asks, in the process that is asked."""
    return done(work, _own(catalogue))


def _own(catalogue: Catalogue) -> DataCatalogue:
    assert isinstance(catalogue, DataCatalogue)
    return catalogue


DOMAIN: Final[Domain] = DataDomain()
