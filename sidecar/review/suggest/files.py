"""A draft as the files of a bundle: policies with their evidence, a suite each, the catalogues.

A test is written only where its call comes to what was observed when it is tried on the draft; a
rule that no such call reaches is exempt from the check for tests, and says why.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from sidecar.intercept.envelope import Seen, operator_call, read_envelope
from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.policy.sources import BUNDLE_FILE
from sidecar.record.persons.names import MACHINES
from sidecar.review.quoting import in_ascii
from sidecar.review.suggest.again import call_of
from sidecar.review.suggest.draft import Draft, DraftPolicy, slug
from sidecar.review.suggest.observed import Observed, Who
from sidecar.review.testing.run import try_call
from sidecar.review.testing.written import FactsDoc
from sidecar.syntax.yaml12 import load_documents
from sidecar.terms.call import Json
from sidecar.terms.domain import Domain
from sidecar.terms.errors import EnvelopeError
from sidecar.terms.words import CallId

_SEEN: Final = Seen(CallId("test"), "2026-01-01T00:00:00.000000Z", "test")
_STRANGER: Final[dict[str, Json]] = {"subject": {"type": "service", "id": "somebody-else"}}
_UNTESTED: Final = "no raw call can be written again from what was recorded"
# Of one suite; evidence is counted in the policy, tests only show it.
_REQUESTS_MAX: Final = 48


class Tried(NamedTuple):
    """A request of a suite, what it came to on the draft, and the rules that spoke."""

    written: dict[str, Json]
    outcome: str
    rules: tuple[str, ...]


def files_of(
    draft: Draft, observed: Observed, catalogues: Mapping[str, bytes], domains: Mapping[str, Domain]
) -> dict[str, bytes]:
    """Return the files of the drafted bundle, tests and all.

    Args:
        draft: The rules.
        observed: What they were drafted from.
        catalogues: The catalogue files of the bundle that decided.
        domains: For compiling it.

    Raises:
        PolicyError: It does not compile.
    """
    files = {
        BUNDLE_FILE: b'name: suggested\nversion: "0.1.0"\n'
        b"description: Drafted from what was permitted; read it before it decides anything.\n",
        **catalogues,
    }
    if any(policy.who.groups for policy in draft.policies):
        files["attributes.yaml"] = _ATTRIBUTES
    for policy in draft.policies:
        files[f"policies/{policy.name}.yaml"] = _policy(policy, frozenset())
    if not draft.policies:
        return files
    bundle = compile_bundle(files, domains)
    for policy in draft.policies:
        tried = dict(_tried(policy, observed, bundle))
        reached = frozenset(rule for one in tried.values() for rule in one.rules)
        files[f"policies/{policy.name}.yaml"] = _policy(policy, reached)
        if tried:
            files[f"policies/{policy.name}_test.yaml"] = _suite(policy, observed, tried)
    return files


def catalogue_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return those of a bundle's files that are catalogues, or are named by one."""
    found: dict[str, bytes] = {}
    for path, data in files.items():
        if not path.endswith((".yaml", ".yml")) or path == BUNDLE_FILE:
            continue
        values = [document.value for document in load_documents(path, data)]
        if all(isinstance(one, dict) and one.get("kind") == "Catalog" for one in values):
            found[path] = data
            named = [one["spec"].get("openapi") for one in values]
            found.update({name: files[name] for name in named if name in files})
    return found


# --- policies ---


def _policy(policy: DraftPolicy, reached: frozenset[str]) -> bytes:
    metadata: dict[str, Json] = {
        "name": policy.name,
        "description": f"What {policy.who.name} was seen to need.",
    }
    untested = [rule.id for rule in policy.rules if f"{policy.name}/{rule.id}" not in reached]
    if untested:
        ignored = [{"code": "untested", "rule": id_, "reason": _UNTESTED} for id_ in untested]
        metadata["lint"] = {"ignore": ignored}
    lines = [
        "apiVersion: sidecar/v1",
        "kind: Policy",
        f"metadata: {in_ascii(metadata)}",
        "spec:",
        *(f"  # {_plain(text)}" for text in policy.left),
        "  rules:",
    ]
    for rule in policy.rules:
        lines += [f"    # {_plain(rule.evidence)}", f"    - {in_ascii(rule.written)}"]
    return ("\n".join(lines) + "\n").encode()


def _plain(text: str) -> str:
    """Return `text` for a comment: on one line, whatever it holds."""
    return "".join(one if one.isprintable() else "?" for one in text)


_ATTRIBUTES: Final = b"""\
apiVersion: sidecar/v1
kind: Attributes
metadata: {name: people, description: What rules read of who acts.}
spec:
  subject:
    properties:
      groups: {type: array, items: {type: string}}
  actor:
    properties:
      groups: {type: array, items: {type: string}}
"""


# --- tests ---


def _principal(policy: DraftPolicy, seen: Observed) -> dict[str, Json]:
    """Return somebody like who was seen; for whom an agent acts is nobody in particular."""
    request = seen.parties[policy.who]
    if not request.actors:
        return {"subject": _party(policy.who)}
    behalf = request.subject
    id_ = behalf.id if behalf.type in MACHINES else "somebody"
    return {"subject": {"type": behalf.type, "id": id_}, "actors": [_party(policy.who)]}


def _party(who: Who) -> dict[str, Json]:
    party: dict[str, Json] = {"type": who.type, "id": who.id or "somebody"}
    return {**party, "properties": {"groups": list(who.groups)}} if who.groups else party


def _tried(policy: DraftPolicy, seen: Observed, bundle: Bundle) -> Iterator[tuple[str, Tried]]:
    """Yield the requests that come to what was observed, by a name."""
    principal = _principal(policy, seen)
    names: set[str] = set()
    for (who, what), examples in seen.examples.items():
        if who != policy.who:
            continue
        for key, request in examples.items():
            call = call_of(request)
            if call is None or len(names) >= _REQUESTS_MAX:
                continue
            written = {"protocol": what.protocol, "call": call}
            if request.upstream != "default":
                written["upstream"] = request.upstream
            found = _try(written, principal, bundle)
            name = f"{what.cls}-{slug(key)}"
            if found is not None and found.outcome in ("allow", "modify") and name not in names:
                names.add(name)
                yield name, found


def _try(written: dict[str, Json], principal: dict[str, Json], bundle: Bundle) -> Tried | None:
    try:
        call = operator_call(read_envelope({**principal, **written}, trusted=True), _SEEN)
    except EnvelopeError:
        return None
    decision = try_call(call, bundle, FactsDoc()).decision
    spoke = sorted({f"{rule.policy}/{rule.id}" for rule in decision.rules})
    return Tried(written, decision.outcome, tuple(spoke))


def _suite(policy: DraftPolicy, seen: Observed, tried: dict[str, Tried]) -> bytes:
    spec: dict[str, Json] = {
        "principals": {"observed": _principal(policy, seen), "stranger": _STRANGER},
        "requests": {name: one.written for name, one in tried.items()},
        "tests": [
            {
                "name": "what was observed is permitted, to nobody else",
                "input": {"principals": ["observed", "stranger"], "requests": list(tried)},
                "expected": list(_expected(tried)),
            }
        ],
    }
    name = f"{policy.name}-test"
    head = f"apiVersion: sidecar/v1\nkind: Test\nmetadata: {in_ascii({'name': name})}\n"
    return (head + f"spec: {in_ascii(spec, indent=2)}\n").encode()


def _expected(tried: dict[str, Tried]) -> Iterator[dict[str, Json]]:
    for name, one in tried.items():
        rules = list(one.rules)
        yield {"principal": "observed", "request": name, "outcome": one.outcome, "rules": rules}
        yield {"principal": "stranger", "request": name, "outcome": "deny", "silent": rules}
