"""Mutants that are no mistakes: what a policy says of those that no test could tell from itself.

`metadata.mutants.equal` names a mutant as it is told, with the reason. It stands in the metadata so
that it changes no rule's digest. What names nothing that survived is left over, and fails the run:
a test notices that mutant by now, or the policy has moved on.
"""

from collections.abc import Iterator

import msgspec

from sidecar.policy.bundle import Bundle
from sidecar.policy.documents import EqualMutant, MutantsDoc
from sidecar.review.mutation.run import LeftOver, Mutation, Survivor


def settled(mutation: Mutation, bundle: Bundle) -> Mutation:
    """Return what became of all mutants, with those apart that are said to be no mistakes."""
    said = list(_said(bundle))
    accepted: list[Survivor] = []
    survivors: list[Survivor] = []
    used: set[int] = set()
    for survivor in mutation.survivors:
        found = [number for number, (key, _, _) in enumerate(said) if key == _key(survivor)]
        used.update(found)
        (accepted if found else survivors).append(survivor)
    left = tuple(
        LeftOver(where, f"`{one.what}: {one.after}` names no mutant that survived")
        for number, (_, one, where) in enumerate(said)
        if number not in used
    )
    return Mutation(mutation.killed, tuple(survivors), tuple(accepted), left)


def _key(survivor: Survivor) -> tuple[str, str, str]:
    return survivor.rule, survivor.what, survivor.after


def _said(bundle: Bundle) -> Iterator[tuple[tuple[str, str, str], EqualMutant, str]]:
    for document in bundle.policy_documents:
        metadata = document.value["metadata"]
        if "mutants" not in metadata:
            continue
        for number, one in enumerate(msgspec.convert(metadata["mutants"], MutantsDoc).equal):
            key = (f"{metadata['name']}/{one.rule or ''}", one.what, one.after)
            yield key, one, document.where("metadata", "mutants", "equal", number)
