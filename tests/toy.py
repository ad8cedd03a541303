"""A domain with behaviour and no protocol: requests are written down, only the PDP is judged.

A target is written `class name type:id`, with `labels`, `action` and `properties` beside it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from sidecar.policy.bundle import Bundle, compile_bundle
from sidecar.syntax.shape import Shape
from sidecar.syntax.yaml12 import dump
from sidecar.terms.answer import Refusal, ResultFilter
from sidecar.terms.call import Call, Json, Party
from sidecar.terms.decision import Decision, Fact, FactKey, Facts
from sidecar.terms.domain import (
    NOTIFY,
    Catalogue,
    CatalogueFile,
    Domain,
    Needs,
    ObligationType,
    Vocabulary,
    Word,
)
from sidecar.terms.errors import EnforceError, ParseError
from sidecar.terms.reasons import reason
from sidecar.terms.request import Action, Inner, Parsed, ParseStatus, Request, Resource, Target
from sidecar.terms.words import ActionClass, CallId

OBLIGATIONS = (
    ObligationType("limit_rows", {}, "min", "max"),
    ObligationType("min_group_size", {}, "max", "size"),
    ObligationType("filter_rows", {}, "and", "where", holes=("where",)),
    ObligationType("mask", {}, "strictest", "with", order=("nullify", "redact", "last4")),
    ObligationType("redact", {}, "union", "fields"),
    ObligationType("tag", {}, "equal", "value"),
    NOTIFY,
)


def words(protocol: str) -> tuple[Word, ...]:
    """Return what the toy says of a protocol: anything, so that rows may write what they need."""
    properties = (f"{root}.properties" for root in ("action", "resource"))
    return (
        Word(f"request.{protocol}", "dyn", "as written"),
        *(Word(path, "map(string, dyn)", "as written") for path in properties),
    )


class EmptyCatalogue:
    """Nothing is known."""

    empty = True


class Toy:
    """Reads `{targets: [...], native?, missing?, inner?, combine?, phase?, fail?}`."""

    def __init__(self, name: str = "data", protocols: tuple[str, ...] = ("sql",)) -> None:
        self.name = name
        self.protocols = protocols
        self.vocabulary = Vocabulary(
            {protocol: words(protocol) for protocol in protocols},
            dict.fromkeys(protocols, ("call", "list")),
            OBLIGATIONS if name == "data" else (),
        )
        self.shapes: dict[str, Shape] = {}

    def catalogue(self, files: Sequence[CatalogueFile]) -> Catalogue:
        return EmptyCatalogue()

    def check(self, obligation: dict[str, Json], catalogue: Catalogue) -> list[str]:
        return []

    def parse(self, call: Call, catalogue: Catalogue, needs: Needs) -> Parsed:
        given = call.payload
        if "fail" in given:
            raise ParseError(reason(given["fail"]), "as asked")
        missing = tuple(given.get("missing", ()))
        inner = tuple(
            Inner(f"part[{n}]", one.get("protocol", "sql"), one)
            for n, one in enumerate(given.get("inner", ()))
        )
        return Parsed(
            targets=tuple(target(one) for one in given.get("targets", ())),
            native=given.get("native", {}),
            parse=ParseStatus(
                "partial" if missing else "complete",
                "toy",
                missing=missing,
                ambiguities=tuple(given.get("ambiguities", ())),
            ),
            phase=given.get("phase", "call"),
            combine=given.get("combine", "all"),
            inner=inner,
        )

    def rewrite(
        self, call: Call, request: Request, decision: Decision, catalogue: Catalogue
    ) -> dict[str, Json]:
        if any(obligation.type == "mask" for obligation in decision.obligations):
            raise EnforceError(reason("obligation.unsupported"), "the toy cannot mask")
        return {**call.payload, "rewritten": True} if decision.obligations else call.payload

    def result(self, request: Request, decision: Decision) -> ResultFilter | None:
        return None

    def refuse(self, call: Call, decision: Decision) -> Refusal:
        return Refusal(403, {"id": decision.id, "reason": decision.reason})


def domains() -> Mapping[str, Domain]:
    """Return the toy under `data` and `ai`, so that rules can tell protocols apart."""
    data, ai = Toy(), Toy("ai", ("mcp",))
    return {"sql": data, "mcp": ai}


def target(written: Any) -> Target:
    """Return the target written as `read select table:a` or as a mapping with `target` so."""
    more = {} if isinstance(written, str) else written
    text = written if isinstance(written, str) else written["target"]
    action_class, name, key = text.split(" ", 2)
    kind, _, identifier = key.partition(":")
    resource = Resource(
        kind,
        identifier,
        more.get("upstream", "default"),
        tuple(more.get("labels", ())),
        more.get("properties", {}),
    )
    return Target(Action(name, cast("ActionClass", action_class), more.get("action", {})), resource)


def bundle(rules: Any, **spec: Any) -> Bundle:
    """Return a bundle of one policy `p`, or of several given as `{policies: {name: spec}}`."""
    policies = rules if isinstance(rules, dict) else {"p": {"rules": rules, **spec}}
    layers = spec.get("layers", ["org"])
    files = {"bundle.yaml": dump({"name": "t", "version": "1.0.0", "layers": layers}).encode()}
    for name, body in policies.items():
        document = {
            "apiVersion": "sidecar/v1",
            "kind": "Policy",
            "metadata": {"name": name},
            "spec": body,
        }
        files[f"{name}.yaml"] = dump(document).encode()
    if "params" in spec:
        body = {"apiVersion": "sidecar/v1", "kind": "Params", "metadata": {"name": "here"}}
        files["params.yaml"] = dump({**body, "spec": spec["params"]}).encode()
    return compile_bundle(files, domains())


def call(given: Mapping[str, Any]) -> Call:
    """Return the Call of a row: `subject`, `actors`, `context`, and the toy's payload."""
    from sidecar.terms.call import Identity

    payload_keys = (
        "targets",
        "native",
        "missing",
        "inner",
        "combine",
        "phase",
        "fail",
        "ambiguities",
    )
    return Call(
        id=CallId("call-1"),
        time="2026-01-01T12:00:00.000000Z",
        listener="test",
        upstream="default",
        protocol=given.get("protocol", "sql"),
        payload={key: given[key] for key in payload_keys if key in given},
        identity=Identity(
            party(given.get("subject", "user:alice")),
            tuple(party(actor) for actor in given.get("actors", ())),
        ),
        context=given.get("context", {}),
    )


def party(written: Any) -> Party:
    """Return the party written as `user:alice` or as a mapping."""
    if isinstance(written, str):
        kind, _, identifier = written.partition(":")
        return Party(kind, identifier)
    return Party(written["type"], written["id"], written.get("properties", {}))


class Knows:
    """A fact source that knows entities and who is revoked, and nothing else."""

    def __init__(
        self, entities: Mapping[str, Any] | None = None, revoked: Sequence[str] = ()
    ) -> None:
        self.entities = dict(entities or {})
        self.revoked = set(revoked)
        self.asked: list[frozenset[FactKey]] = []

    def at_hand(self, keys: frozenset[FactKey]) -> Facts:
        return {}

    async def fetch(self, keys: frozenset[FactKey]) -> Facts:
        self.asked.append(keys)
        found: Facts = {}
        for key in keys:
            if key.function == "revoked":
                found[key] = Fact(key.arguments[0] in self.revoked, "toy", "1")
            elif ":".join(key.arguments) in self.entities:
                found[key] = Fact(self.entities[":".join(key.arguments)], "toy", "1")
        return found
