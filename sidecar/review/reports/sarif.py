"""Findings as SARIF 2.1.0, which code hosts show on the line that is meant.

One run of one tool; every rule that a result names is described once, results keep their order.
Places say nothing of the machine that made a report: of a bundle below the working folder they are
relative to that folder, as code hosts ask for it, else to the bundle's own. A fingerprint of rule,
file and text lets a code host know a finding again after lines above it have moved.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, Literal
from urllib.parse import quote

import msgspec
import orjson

from sidecar.review.placing import placed
from sidecar.terms.call import Json

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
# What places are relative to; who shows the results knows where it is.
_BASES: Final = {
    "BUNDLE": "The folder that was looked at.",
    "%SRCROOT%": "The folder in which the tool was run.",
}


class Result(msgspec.Struct, frozen=True):
    """One result: a rule that was broken, where (from 1), and what is said of it.

    Args:
        accepted: Why it was accepted by the policy's own word, None where it was not.
    """

    rule: str
    level: Literal["error", "warning", "note"]
    message: str
    file: str
    line: int
    column: int = 1
    accepted: str | None = None


def sarif(
    results: Sequence[Result], rules: Mapping[str, str], version: str, folder: str | None = None
) -> bytes:
    """Return one SARIF log.

    Args:
        results: In the order in which they are shown.
        rules: Id → short description; a result of another rule is described by its id.
        version: Of the tool.
        folder: That of the bundle, below the working folder; see `placing.within`.
    """
    base = "BUNDLE" if folder is None else "%SRCROOT%"
    known = {**dict.fromkeys((result.rule for result in results), ""), **rules}
    places = {rule: number for number, rule in enumerate(known)}
    driver: Json = {
        "name": "sidecar",
        "version": version,
        "rules": [_described(rule, text) for rule, text in known.items()],
    }
    run: Json = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {
            base: {"description": {"text": _BASES[base]}},
        },
        "results": [
            _result(result, places[result.rule], _place(result, folder, base)) for result in results
        ],
    }
    log: Json = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return orjson.dumps(log, option=orjson.OPT_INDENT_2)


def _described(rule: str, text: str) -> Json:
    return {"id": rule, "shortDescription": {"text": text or rule}}


def _place(result: Result, folder: str | None, base: str) -> Json:
    file = quote(placed(result.file, folder))
    return {
        "artifactLocation": {"uri": file, "uriBaseId": base},
        "region": {"startLine": max(result.line, 1), "startColumn": max(result.column, 1)},
    }


def _result(result: Result, number: int, place: Json) -> Json:
    found: Json = {
        "ruleId": result.rule,
        "ruleIndex": number,
        "level": result.level,
        "message": {"text": result.message},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"finding/v1": _fingerprint(result)},
    }
    if result.accepted is not None:
        found["suppressions"] = [{"kind": "inSource", "justification": result.accepted}]
    return found


def _fingerprint(result: Result) -> str:
    told = f"{result.rule}\x00{result.file}\x00{result.message}"
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]
