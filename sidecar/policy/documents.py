"""The documents of a bundle as written: shapes checked field by field, unknown fields refused.

`read` turns one YAML document into one of these structs or into problems with `file:line:column`.
"""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, Final, Literal, TypeVar

import msgspec

from sidecar.syntax.offered import offered
from sidecar.syntax.yaml12 import Document, Step
from sidecar.terms.call import Json
from sidecar.terms.errors import PolicyError
from sidecar.terms.words import Effect

API_VERSION: Final = "sidecar/v1"
KINDS: Final = ("Policy", "Test", "Catalog", "Params", "Attributes")
_NAME: Final = r"[a-z0-9][a-z0-9._-]{0,127}\Z"


class Written(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What every document shape shares: a field that is not named is refused."""


class Match(Written, frozen=True):
    """Where a policy or a rule looks, without CEL; every list is `any of`, absent is `any`."""

    domains: list[str] | None = None
    protocols: list[str] | None = None
    phases: list[str] | None = None
    upstreams: list[str] | None = None
    classes: list[str] | None = None
    actions: list[str] | None = None
    resources: list[str] | None = None
    except_: list[str] | None = msgspec.field(name="except", default=None)


class RuleDoc(Written, frozen=True):
    """One rule as written."""

    id: str
    effect: Effect
    when: str | None = None
    match: Match | None = None
    scope: Literal["target", "call"] = "target"
    obligations: list[dict[str, Json]] = []
    message: str | None = None
    messageExpression: str | None = None  # noqa: N815 - the policy format's own word
    description: str | None = None
    controls: list[str] = []


class PolicySpec(Written, frozen=True):
    """`spec` of a Policy."""

    rules: list[Json]
    match: Match | None = None
    variables: dict[str, str] = {}
    layer: str | None = None


class Exempt(Written, frozen=True):
    """One check of lint that a document, or one of its rules, is exempt from, and why."""

    code: str
    reason: Annotated[str, msgspec.Meta(min_length=8)]
    rule: str | None = None


class LintDoc(Written, frozen=True):
    """What a document says to lint."""

    ignore: list[Exempt] = []


class EqualMutant(Written, frozen=True):
    """One mutant that is no mistake, and why; `what` and `after` as `test --mutate` tells them."""

    what: str
    after: str
    reason: Annotated[str, msgspec.Meta(min_length=8)]
    rule: str | None = None


class MutantsDoc(Written, frozen=True):
    """What a document says to the mutation check."""

    equal: list[EqualMutant] = []


class Metadata(Written, frozen=True):
    """`metadata` of any document."""

    name: str
    description: str | None = None
    controls: list[str] = []
    annotations: dict[str, str] = {}
    lint: LintDoc = LintDoc()
    mutants: MutantsDoc = MutantsDoc()


class Envelope(Written, frozen=True):
    """What every document of a bundle looks like from outside."""

    apiVersion: Literal["sidecar/v1"]  # noqa: N815 - the format's own word
    kind: Literal["Policy", "Test", "Catalog", "Params", "Attributes"]
    spec: dict[str, Json]
    metadata: Metadata


class BundleDoc(Written, frozen=True):
    """`bundle.yaml`; `exclude` names folders inside its own that are other bundles."""

    name: str
    version: str
    description: str | None = None
    layers: list[str] = msgspec.field(default_factory=lambda: ["org"])
    requires: dict[str, str] = {}
    exclude: list[str] = []
    apiVersion: Literal["sidecar/v1"] = "sidecar/v1"  # noqa: N815 - the format's own word
    kind: Literal["Bundle"] = "Bundle"


class AttributesSpec(Written, frozen=True):
    """`spec` of Attributes: JSON Schemas of the organisation's own attributes, by CEL root."""

    subject: dict[str, Json] = {}
    actor: dict[str, Json] = {}
    resource: dict[str, Json] = {}
    action: dict[str, Json] = {}
    context: dict[str, Json] = {}
    session: dict[str, Json] = {}


Shape = TypeVar("Shape", bound=Written)


def read(document: Document, path: tuple[Step, ...], shape: type[Shape]) -> Shape:
    """Return the part of `document` at `path` as `shape`.

    Raises:
        PolicyError: `file:line:column: …` at the field that is wrong.
    """
    value = document.value
    for step in path:
        value = value[step]
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        problem = str(error)
    # Why out here: what a shape offers is asked for of no file that is in order.
    raise PolicyError(_told(document, path, value, problem, shape))


def _told(
    document: Document, path: tuple[Step, ...], value: Json, text: str, shape: type[Written]
) -> str:
    """Turn msgspec's `… - at `$.a[0]`` into a position and a sentence in our words."""
    said, _, where = text.partition(" - at `")
    inner = _steps(where.rstrip("`"))
    takes = offered(shape, inner)
    unknown = re.search(r"unknown field `([^`]*)`", said)
    if unknown:
        inner = (*inner, unknown.group(1))
        shown = ".".join(map(str, (*path, *inner))) or unknown.group(1)
        # What another shape of a union has by this name is not meant.
        known = set(takes.fields) - {unknown.group(1)}
        meant = get_close_matches(unknown.group(1), sorted(known), 1)
        hint = f"; did you mean `{meant[0]}`?" if meant else ""
        return f"{document.where(*path, *inner)}: unknown field `{shown}`{hint}"
    missing = re.search(r"missing required field `([^`]*)`", said)
    if missing:
        return f"{document.where(*path, *inner)}: field `{missing.group(1)}` is required"
    shown = ".".join(map(str, (*path, *inner)))
    hint = _hint(value, inner) or (f"; it is {_or(takes.words)}" if takes.words else "")
    lead = f"`{shown}`: " if shown else ""
    return f"{document.where(*path, *inner)}: {lead}{said[:1].lower()}{said[1:]}{hint}"


def _or(words: Sequence[str]) -> str:
    shown = [f"`{word}`" for word in words]
    return " or ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def _hint(value: Json, inner: tuple[Step, ...]) -> str:
    for step in inner:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return ""
    if isinstance(value, int | float) and inner and inner[-1] == "version":
        return f'; versions are strings, write "{value}"'
    if isinstance(value, bool) and inner and inner[-1] in ("when", "messageExpression"):
        return f'; an expression is a string, write "{str(value).lower()}"'
    return ""


def _steps(where: str) -> tuple[Step, ...]:
    found: list[Step] = []
    for name, index in re.findall(r"\.([^.\[\]]+)|\[([^\]]*)\]", where.removeprefix("$")):
        if name:
            found.append(name)
        elif index.isdigit():
            found.append(int(index))
    return tuple(found)


def check_name(document: Document, path: tuple[Step, ...], name: str, what: str) -> list[str]:
    """Return a problem unless `name` can stand in ids, records and file names."""
    if re.match(_NAME, name):
        return []
    return [
        f"{document.where(*path)}: {what} `{name}` is not a name: "
        "lower-case letters, digits, `.`, `_`, `-`, starting with a letter or digit"
    ]
