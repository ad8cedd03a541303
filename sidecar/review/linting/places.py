"""The patterns of every `match`, each with its place and with what its rules can meet."""

from collections.abc import Iterator
from typing import NamedTuple

from sidecar.review.finding import Finding
from sidecar.review.linting.looked import Looked, protocols_of
from sidecar.review.linting.table import CHECKS
from sidecar.syntax.yaml12 import Document, Step
from sidecar.terms.call import Json


class Place(NamedTuple):
    """One pattern where it is written.

    Attributes:
        about: The rule that it narrows, or the policy.
        spoken: Protocols of the calls that it can be compared with.
    """

    pattern: str
    document: Document
    at: tuple[Step, ...]
    about: str
    spoken: frozenset[str]

    def finding(self, code: str, text: str) -> Finding:
        """Return a finding at this pattern."""
        where = self.document.where(*self.at)
        return Finding(code, CHECKS[code].level, where, text, self.about)


def patterns_of(looked: Looked, field: str) -> Iterator[Place]:
    """Yield the patterns of `resources`, `except` or `actions`, policy by policy."""
    rules = {rule.key: rule for rule in looked.rules}
    for document in looked.policies:
        spec, name = document.value["spec"], document.value["metadata"]["name"]
        spoken = {
            written["id"]: protocols_of(rules[f"{name}/{written['id']}"], looked.bundle)
            for written in spec["rules"]
        }
        for index, written in enumerate(spec["rules"]):
            at: tuple[Step, ...] = ("spec", "rules", index, "match", field)
            about = f"{name}/{written['id']}"
            for number, pattern in enumerate(_listed(written, field)):
                yield Place(pattern, document, (*at, number), about, spoken[written["id"]])
        everywhere = frozenset().union(*spoken.values())
        for number, pattern in enumerate(_listed(spec, field)):
            yield Place(pattern, document, ("spec", "match", field, number), name, everywhere)


def _listed(written: Json, field: str) -> list[str]:
    found: list[str] = (written.get("match") or {}).get(field) or []
    return found
