"""Expected failures. A DENY is a value, never one of these; our own mistakes are asserts.

Drawing and classes are held together by tests/test_errors.py:

```
SidecarError            code              the PEP answers         the record says
├─ ConfigError          config.invalid    does not start          -
├─ PolicyError          policy.invalid    keeps the old bundle    admin: bundle refused
├─ EnvelopeError        envelope.invalid  400                     -
├─ ParseError           parse.failed      403 in its own words    deny, reason parse.*
├─ EnforceError         enforce.failed    403 in its own words    deny, reason obligation.*
├─ FactUnavailable      fact.missing      403 in its own words    deny, reason fact.missing
├─ TrialError           cel.failed        -                      -
├─ RecordError          record.lost       503                     nothing can be said
├─ LedgerBroken         ledger.broken     does not start, 20      -
└─ LedgerUnwritable     ledger.unwritable does not start, 21      -
```
"""

from sidecar.terms.reasons import Reason


class SidecarError(Exception):
    """Whatever can fail as expected; `code` is stable, the text is not."""

    code = "error"


class ConfigError(SidecarError):
    """`sidecar.yaml` or a file that it names cannot be used."""

    code = "config.invalid"


class PolicyError(SidecarError):
    """A bundle does not load; carries every problem found, each `file:line:column: text`."""

    code = "policy.invalid"

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class EnvelopeError(SidecarError):
    """The envelope of a Call on stdin or in a body is not of the promised shape."""

    code = "envelope.invalid"


class ParseError(SidecarError):
    """A call cannot be understood completely and unambiguously.

    `reason` is the machine's word (`parse.*`); the text never holds a literal of the call.
    """

    code = "parse.failed"

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class EnforceError(SidecarError):
    """An obligation cannot be carried out on this call; the decision becomes a denial."""

    code = "enforce.failed"

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class FactUnavailable(SidecarError):
    """A provider cannot answer in time; the call is denied with `fact.missing`."""

    code = "fact.missing"


class TrialError(SidecarError):
    """An expression that a person tries does not compile or does not evaluate."""

    code = "cel.failed"


class RecordError(SidecarError):
    """A record is not durable: nothing may be answered as allowed, nothing forwarded."""

    code = "record.lost"


class LedgerBroken(SidecarError):
    """The ledger on disk is not intact or not ours: refuse to start (exit code 20)."""

    code = "ledger.broken"


class LedgerUnwritable(SidecarError):
    """The ledger's disk takes nothing more: refuse to start (exit code 21), nothing is wrong."""

    code = "ledger.unwritable"
