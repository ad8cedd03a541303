"""The closed list of reason codes: why a decision came out as it did.

A code is stable for ever; the text beside it is not. Adding one: also the table in
`schemas/reasons.schema.json` (`make schemas`) and a row in a case table that shows it.
"""

from typing import Final, NewType

Reason = NewType("Reason", str)

REASONS: Final[dict[str, str]] = {
    # decided
    "permitted": "every target is permitted",
    "rule": "a rule with the outcome's effect holds",
    "no_rule": "no allow rule holds for a target (silence is deny)",
    "rule.error": "a deny, modify, step_up or defer rule could not be evaluated",
    "approval.required": "a step_up rule holds and no approval satisfies it",
    "deferred": "a defer rule holds",
    "revoked": "subject or actor is revoked (`builtin/revoked`)",
    "fact.missing": "a fact that a rule asked for could not be had in time",
    "obligation.unknown": "the enforcement point does not know an obligation",
    "obligation.unsupported": "an obligation cannot be carried out on this call",
    "obligation.conflict": "two obligations due cannot be combined",
    "obligation.invalid": "an obligation's value could not be computed",
    "targets.none": "the call names no target",
    "parts.depth": "calls inside calls are nested deeper than three",
    "internal": "the sidecar failed; the call is refused",
    # not understood: the parser says which
    "parse.syntax": "not the protocol's grammar",
    "parse.encoding": "bytes that do not decode",
    "parse.too_large": "over a size, depth or count limit",
    "parse.busy": "too many long texts wait to be read",
    "parse.duplicate_key": "a JSON object names a key twice",
    "parse.number": "a number that consumers read differently",
    "parse.path": "a path that consumers read differently (dot segments, encodings, …)",
    "parse.ambiguous": "two readings are possible",
    "parse.method": "method or verb is not one that this protocol has",
    "parse.unknown_operation": "the operation is not known to the parser",
    "parse.unsupported": "known to the protocol but not understood by this parser",
    "parse.multi_statement": "more than one statement",
    "parse.unknown_table": "a table that the catalogue does not list",
    "parse.unknown_column": "a column that the catalogue does not list",
    "parse.unknown_function": "a function that is not on the allow-list",
    "catalogue.drift": "the database has changed there since the catalogue was written",
    "parse.unknown_name": "a prepared statement or cursor that the session does not have",
    "parse.session": "a change of session state that may not be made",
    "parse.missing": "a part that the protocol requires is absent",
    "parse.unexpected": "a part that the protocol does not have",
    "parse.content_type": "the body is of a type that is not read",
    "parse.header": "a header that changes meaning or is repeated",
    "parse.identity": "identity inside the payload that contradicts the credential",
    "parse.disagreement": "two parsers read the call differently",
    "parse.protocol": "no domain speaks this protocol",
    "parse.envelope": "the call object is not of its protocol's shape",
}


def reason(code: str) -> Reason:
    """Return `code` as a Reason; a code outside the closed list is our own mistake."""
    assert code in REASONS, code
    return Reason(code)
