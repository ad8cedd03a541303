"""Does the work on long texts in the process that does nothing else."""

from typing import Final

from sidecar.domains.data.catalogue import DataCatalogue
from sidecar.domains.data.enforce import rewritten_at_hand
from sidecar.domains.data.limits import ANSWER_BYTES_MAX
from sidecar.domains.data.parse import read_at_hand
from sidecar.domains.data.parse.elsewhere import (
    Read,
    Reading,
    Refused,
    Said,
    Sent,
    Work,
    encode,
    work_of,
)
from sidecar.terms.errors import EnforceError, ParseError
from sidecar.terms.reasons import reason

_ANOTHER: Final = Refused(reason("internal"), "another catalogue where long texts are read")
_LARGE: Final = Refused(reason("parse.too_large"), "a text that touches more than can be told")


def done(work: bytes, catalogue: DataCatalogue) -> bytes:
    """Return the answer to what `Elsewhere.work` asks; raises our own mistakes alone."""
    answer = encode(_said(work_of(work), catalogue))
    return answer if len(answer) <= ANSWER_BYTES_MAX else encode(_LARGE)


def _said(work: Work, catalogue: DataCatalogue) -> Said:
    try:
        if isinstance(work, Reading):
            parsed = read_at_hand(work, catalogue)
            return Read(parsed) if parsed is not None else _ANOTHER
        sent = rewritten_at_hand(work, catalogue)
        return Sent(sent) if sent is not None else _ANOTHER
    except (ParseError, EnforceError) as error:
        return Refused(error.reason, str(error))
    except RecursionError:
        return Refused(reason("parse.too_large"), "nested too deeply")
