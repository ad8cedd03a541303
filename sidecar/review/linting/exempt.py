"""Exemptions: what a document asks lint to pass over, and why; one that exempts nothing is told.

`metadata.lint.ignore` lists a code, a reason, and where it is one rule's, its id. They stand in the
metadata so that they change no rule's digest, and nowhere but in the file that they are about.
"""

from collections.abc import Iterator

import msgspec

from sidecar.policy.documents import Exempt, LintDoc
from sidecar.review.finding import Finding
from sidecar.review.linting.looked import Looked
from sidecar.review.linting.table import CHECKS
from sidecar.syntax.yaml12 import Document


class Exemption(msgspec.Struct, frozen=True):
    """One exemption, where it stands, and the document or rule that it is about."""

    asked: Exempt
    where: str
    about: str
    is_rule: bool


def settled(findings: list[Finding], looked: Looked) -> list[Finding]:
    """Return findings with the reasons for which some are exempt, and what exempts nothing."""
    used: set[int] = set()
    exemptions = list(_exemptions(looked))
    by_code: dict[str, list[tuple[int, Exemption]]] = {}
    for number, one in enumerate(exemptions):
        by_code.setdefault(one.asked.code, []).append((number, one))
    told = []
    for finding in findings:
        for number, one in by_code.get(finding.code, ()):
            if _is_about(one, finding):
                used.add(number)
                finding = msgspec.structs.replace(finding, accepted=one.asked.reason)  # noqa: PLW2901
        told.append(finding)
    left = (one for number, one in enumerate(exemptions) if number not in used)
    return [*told, *map(_unused, left)]


def _is_about(one: Exemption, finding: Finding) -> bool:
    if finding.about == one.about:
        return True
    return not one.is_rule and finding.about.startswith(f"{one.about}/")


def _unused(one: Exemption) -> Finding:
    if one.asked.code not in CHECKS:
        text = f"`{one.asked.code}` is no check of lint"
    else:
        text = f"`{one.asked.code}` finds nothing in `{one.about}`: the exemption is left over"
    return Finding("unused-exemption", "warning", one.where, text, one.about)


def _exemptions(looked: Looked) -> Iterator[Exemption]:
    for document in looked.policies:
        yield from _of(document)
    for kind in ("Catalog", "Params", "Attributes"):
        for document in looked.documents(kind):
            yield from _of(document)


def _of(document: Document) -> Iterator[Exemption]:
    metadata = document.value["metadata"]
    if "lint" not in metadata:
        return
    asked = msgspec.convert(metadata["lint"], LintDoc)
    for number, one in enumerate(asked.ignore):
        where = document.where("metadata", "lint", "ignore", number)
        about = metadata["name"] if one.rule is None else f"{metadata['name']}/{one.rule}"
        yield Exemption(one, where, about, one.rule is not None)
