"""Every check of lint: its code, how bad it is, what it says, an example and the remedy.

The page of the room shows this table (a test holds the two together), and a report in SARIF
describes its rules with it.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from sidecar.review.finding import Level


class Check(NamedTuple):
    """One check, for people."""

    level: Level
    says: str
    example: str
    remedy: str


CHECKS: Final[Mapping[str, Check]] = {
    # What is permitted to whom.
    "allow-all": Check(
        "error",
        "an allow of everything for everybody",
        "{id: all, effect: allow}",
        "narrow `match` or write `when`",
    ),
    "anybody": Check(
        "warning",
        "an allow of writing, deleting, executing or administering without a condition",
        "{effect: allow, match: {classes: [write]}}",
        "say in `when` who may",
    ),
    "absent-permits": Check(
        "warning",
        "a clause of an allow rule that is true because an attribute is not there",
        "subject.properties.?level.orValue(9) > 3",
        "choose a default that does not permit, or ask `has()` too",
    ),
    "subject-agent": Check(
        "warning",
        "`subject.type == 'agent'`: who acts is the `actor`, the subject is on whose behalf",
        "subject.type == 'agent'",
        "`actor.type == 'agent'`",
    ),
    # Rules that do nothing.
    "never": Check(
        "warning",
        "a rule, or a part of its condition, that never holds",
        "action.name == 'a' && action.name == 'b'",
        "`||` for one of several; or take it away",
    ),
    "always": Check(
        "warning",
        "a condition, or a part of one, that always holds",
        "subject.id != 'a' || subject.id != 'b'",
        "`&&` between negations: `!(x in ['a', 'b'])`",
    ),
    "no-match": Check(
        "warning",
        "a `match` that takes nothing: policy and rule disagree, or `except` leaves nothing",
        "{resources: ['table:hr.*'], except: ['table:hr.*']}",
        "let the lists have something in common",
    ),
    "shadowed": Check(
        "warning",
        "a rule that always meets a deny rule as well, so that it permits nothing",
        "deny `table:hr.*`, allow `table:hr.staff`",
        "add an `except` or a condition to the deny rule",
    ),
    "redundant": Check(
        "warning",
        "a rule whose every target another rule of the same effect takes anyway",
        "allow `table:hr.*`, allow `table:hr.staff` when …",
        "narrow the wider rule, or take the narrower away",
    ),
    "without-allow": Check(
        "warning",
        "a modify, step_up or defer rule that meets nothing which a rule allows",
        "{effect: step_up, match: {resources: ['tool:bank/pay']}} alone",
        "write the allow rule too; these permit nothing by themselves",
    ),
    "modify-nothing": Check(
        "warning",
        "a modify rule without obligations",
        "{effect: modify}",
        "say in `obligations` what is modified",
    ),
    "except-nothing": Check(
        "warning",
        "an `except` of something that `resources` does not take",
        "{resources: ['table:hr.*'], except: ['table:hrr.pay']}",
        "correct the pattern",
    ),
    "list-leaks": Check(
        "warning",
        "a deny in phase `call` alone where an allow rule lists the same: the list shows it",
        "{phases: [call]} on `tool:bank/*`, all tools listed",
        "match: {phases: [call, list]}",
    ),
    # Words that lead nowhere.
    "unknown-label": Check(
        "warning",
        "a label that no catalogue gives",
        "'secrets' in resource.labels",
        "correct the word, or label something with it",
    ),
    "unknown-resource": Check(
        "warning",
        "a pattern that fits nothing of a catalogue that lists all there is",
        "resources: ['table:hr.payroll']",
        "correct the name, or describe it in the catalogue",
    ),
    "unknown-type": Check(
        "warning",
        "a pattern `type:id` of a type that no call which `match` takes has",
        "resources: ['tabel:hr.*']",
        "correct the type",
    ),
    "unknown-action": Check(
        "warning",
        "an action that no protocol which `match` takes can have",
        "{protocols: [sql], actions: [SELECT]}",
        "write it as the protocol's action is named",
    ),
    "odd-pattern": Check(
        "warning",
        "a pattern that looks like another language's, or like a name cut short",
        "resources: ['table:hr.%']",
        "`*` is the one wildcard: `table:hr.*`",
    ),
    "never-equal": Check(
        "warning",
        "a text beside a field that has a closed list of words, which lacks it",
        "action.class == 'wirte'",
        "one of the words that the finding lists",
    ),
    "case-differs": Check(
        "warning",
        "the same field compared with words that differ in upper and lower case alone",
        "subject.id == 'Bob', elsewhere 'bob'",
        "write the word as it is; comparison is exact",
    ),
    "untyped-attribute": Check(
        "warning",
        "an attribute of a subject, actor, resource, action or session that nothing declares",
        "subject.properties.rolle == 'x'",
        "declare it in an Attributes file",
    ),
    "context-asserted": Check(
        "warning",
        "`context.<key>` that is there only for a workload that may assert it",
        "context.purpose == 'audit'",
        "let the workload assert it (`may_assert`), and exempt the rule",
    ),
    # Conditions that say something else than they seem to.
    "unguarded-read": Check(
        "warning",
        "a deny, modify, step_up or defer rule that reads an open field without asking for it",
        "subject.properties.role == 'x'",
        "subject.properties.?role.orValue('') == 'x'",
    ),
    "swapped": Check(
        "warning",
        "`in` with its sides swapped, or a list compared with one text",
        "subject.properties.groups in ['hr']",
        "'hr' in subject.properties.groups",
    ),
    "mixed-logic": Check(
        "warning",
        "`&&` beside `||` without parentheses",
        "a || b && c",
        "a || (b && c)",
    ),
    "loose-pattern": Check(
        "warning",
        "a regular expression that permits more than it seems to: found anywhere, `.` as a dot",
        "subject.id.matches('admin')",
        "matches('^admin$'), or `==`; `\\\\.` for a dot",
    ),
    "mixed-units": Check(
        "warning",
        "values whose names end with different units, compared or added",
        "context.age_s < params.limits.age_ms",
        "bring both to one unit first",
    ),
    "time-form": Check(
        "warning",
        "a time compared as text in another form, or an hour without its time zone",
        "context.time > '2026-1-1'",
        "timestamp(context.time).getHours('Europe/Paris')",
    ),
    "constant-error": Check(
        "error",
        "a constant that cannot be read as what it is used for, so that the rule always errs",
        "duration('5 minutes')",
        "duration('5m')",
    ),
    "cost": Check(
        "warning",
        "an expression that may cost more than the budget; an error where it always does",
        "targets.exists(a, targets.exists(b, a == b))",
        "go over one list; look things up with `in`",
    ),
    "second-opinion": Check(
        "error",
        "a part of a rule on which `cel-python` differs, and nobody has said why",
        "-",
        "write it another way, and report it",
    ),
    # What is left over, or missing.
    "deny-without-message": Check(
        "warning",
        "a deny rule without `message`",
        "{effect: deny}",
        "message: what is closed, and whom to ask",
    ),
    "untested": Check(
        "warning",
        "a rule that no test expects to speak",
        "-",
        "rules: [policy/rule] in an expectation",
    ),
    "unused-variable": Check(
        "warning",
        "a variable that nothing reads",
        "variables: {staff: …}",
        "take it away",
    ),
    "unused-param": Check(
        "warning",
        "a parameter that nothing reads",
        "spec: {limit: 5}",
        "take it away",
    ),
    "unused-label": Check(
        "warning",
        "a label that no rule asks for, in a bundle whose rules ask for others",
        "labels: [secret]",
        "write the rule that it was given for, or take it away",
    ),
    "unused-exemption": Check(
        "warning",
        "an exemption from a check that finds nothing there, or from one that there is not",
        "lint: {ignore: [{code: never, reason: …}]}",
        "take it away",
    ),
}


def described() -> dict[str, str]:
    """Return each code with what it says, as a report describes its rules."""
    return {code: check.says for code, check in CHECKS.items()}


def page() -> str:
    """Return the table for the room's page."""
    lines = ["| code | level | finding | for example | instead |", "|---|---|---|---|---|"]
    for code, check in CHECKS.items():
        cells = (check.says, f"`{_cell(check.example).replace('`', '')}`", _cell(check.remedy))
        lines.append(f"| `{code}` | {check.level} | {' | '.join(cells)} |")
    return "\n".join(lines).replace("| `-` |", "| |")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
