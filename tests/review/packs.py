"""The bundles that we hand out, and the page that lists the rules of the packs."""

from functools import cache
from pathlib import Path

from sidecar.domains import by_protocol
from sidecar.policy.bundle import Bundle
from sidecar.runtime.bundles import load_bundle
from sidecar.terms.call import Json

ROOT = Path(__file__).parents[2]
HOME = ROOT / "policies/packs"
PACKS = sorted(path.parent.name for path in HOME.glob("*/bundle.yaml"))
SHIPPED = {
    **{name: HOME / name for name in PACKS},
    "the story": ROOT / "policies",
    "the starter": ROOT / "sidecar/cli/starter/bundle",
}
INTRODUCTION = """\
# The rules of the packs
Made from the packs by `make golden`. What a pack is and how to use one: [README](README.md).
"""


@cache
def loaded(name: str) -> Bundle:
    return load_bundle(SHIPPED[name], by_protocol())


def rules_of(bundle: Bundle) -> list[tuple[str, dict[str, Json], list[str]]]:
    """Return of each rule its name, how it is written, and its controls, its policy's included."""
    return [
        (
            f"{document.value['metadata']['name']}/{rule['id']}",
            rule,
            [*document.value["metadata"].get("controls", []), *rule.get("controls", [])],
        )
        for document in bundle.policy_documents
        for rule in document.value["spec"]["rules"]
    ]


def page() -> bytes:
    """Return `policies/packs/RULES.md`."""
    return "\n".join([INTRODUCTION, *(_section(name) for name in PACKS)]).encode()


def _section(name: str) -> str:
    bundle = loaded(name)
    lines = [f"## {name}", f"{bundle.description}.", "", "| rule | effect | controls | says |"]
    lines.append("|---|---|---|---|")
    for key, rule, controls in rules_of(bundle):
        served = ", ".join(f"`{control}`" for control in controls)
        says = rule.get("message", "")
        lines.append(f"| `{key}` | {rule['effect']} | {served} | {says} |")
    return "\n".join(lines) + "\n"
