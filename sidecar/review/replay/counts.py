"""What a replay came to: how many changed which way, by rule, subject and resource, with examples.

Counts are added up over processes. Tables hold the largest; what did not fit is counted as such, so
that no table that is cut looks like a whole one.
"""

from collections import Counter
from typing import Final

import msgspec

from sidecar.decide.change import OBLIGATIONS
from sidecar.policy.cel import ENGINE
from sidecar.review.replay.recorded import Recorded
from sidecar.review.replay.redecide import CARRIED, Differs, InputGone, Replayed, Same
from sidecar.terms.call import Json
from sidecar.terms.decision import Decision, decided_by

EXAMPLES_EACH: Final = 5
ROWS_SHOWN: Final = 20
# In memory, of one table: a log may name a million resources.
ROWS_KEPT: Final = 10_000
REST: Final = "(others)"
TOLD: Final = "told"


class Example(msgspec.Struct, frozen=True, omit_defaults=True):
    """One decision that comes out otherwise."""

    id: str
    time: str
    subject: str
    actor: str
    protocol: str
    resource: str
    was: str
    now: str
    rule: str
    differs: tuple[str, ...] = ()


class Counts(msgspec.Struct):
    """What was counted.

    Args:
        records: Decisions that were read.
        same: That come out as they did.
        differs: That do not, by change.
        gone: Of which nothing can be said.
        missing: What was missing for those; one decision may lack several things.
        told: Of those that are the same to the caller: what is told otherwise.
        other_engine: That were decided by another number of the engine.
        rules: Change → rule → how many; so for `subjects` and `resources`.
        subjects: By name where it is known.
        resources: The one that decided, or the first.
        examples: Change → a few.
    """

    records: int = 0
    same: int = 0
    differs: Counter[str] = msgspec.field(default_factory=Counter)
    gone: int = 0
    missing: Counter[str] = msgspec.field(default_factory=Counter)
    told: Counter[str] = msgspec.field(default_factory=Counter)
    other_engine: int = 0
    rules: dict[str, Counter[str]] = {}
    subjects: dict[str, Counter[str]] = {}
    resources: dict[str, Counter[str]] = {}
    examples: dict[str, list[Example]] = {}

    def add(self, recorded: Recorded, replayed: Replayed) -> None:
        """Take in one decision."""
        self.records += 1
        self.other_engine += recorded.record.engine != ENGINE
        match replayed:
            case Same(_, told):
                self.same += 1
                self.told.update(told)
            case InputGone(missing):
                self.gone += 1
                self.missing.update(missing)
            case Differs(now, change, told):
                self._differs(recorded, now, change, told)

    def _differs(self, found: Recorded, now: Decision, change: str, told: tuple[str, ...]) -> None:
        self.differs[change] += 1
        rule, resource = rule_of(found, now), _resource(found, now)
        for table, key in (
            (self.rules, rule),
            (self.subjects, found.subject),
            (self.resources, resource),
        ):
            rows = table.setdefault(change, Counter())
            rows[key if key in rows or len(rows) < ROWS_KEPT else REST] += 1
        examples = self.examples.setdefault(change, [])
        if len(examples) < EXAMPLES_EACH:
            record = found.record
            actor = found.name_of(record.actors[0]) if record.actors else found.subject
            examples.append(
                Example(
                    record.id,
                    record.time,
                    found.subject,
                    actor,
                    record.protocol,
                    resource,
                    f"{record.outcome} ({record.reason})",
                    f"{now.outcome} ({now.reason})",
                    rule,
                    told,
                )
            )

    def take(self, other: "Counts") -> None:
        """Add what another process has counted."""
        self.records += other.records
        self.same += other.same
        self.gone += other.gone
        self.other_engine += other.other_engine
        for mine, its in (
            (self.differs, other.differs), (self.missing, other.missing), (self.told, other.told),
        ):  # fmt: skip
            mine.update(its)
        for table, theirs in (
            (self.rules, other.rules),
            (self.subjects, other.subjects),
            (self.resources, other.resources),
        ):
            for change, rows in theirs.items():
                table.setdefault(change, Counter()).update(rows)
        for change, examples in other.examples.items():
            joined = [*self.examples.get(change, ()), *examples]
            self.examples[change] = sorted(joined, key=_when)[:EXAMPLES_EACH]

    def changes(self) -> list[str]:
        """Return every change that was seen, the gains first and what is only told last."""
        return sorted(self.differs, key=lambda one: (one == TOLD, not one.endswith("-allow"), one))

    def has(self, what: str) -> bool:
        """Return whether this was or may have been seen: a change, `input-gone`, or `any` of all.

        An obligation that is new changes what a caller gets, or nothing is let through.
        """
        if what == "input-gone":
            return bool(self.gone)
        if what in {OBLIGATIONS, "allow-to-deny"} and self.missing[CARRIED]:
            return True
        return bool(self.differs) or bool(self.gone) if what == "any" else what in self.differs

    def json(self) -> dict[str, Json]:
        """Return what programs read."""
        return {
            "decisions": self.records,
            "same": self.same,
            "differs": dict(self.differs),
            "input_gone": self.gone,
            "missing": dict(self.missing.most_common()),
            "told_otherwise": dict(self.told),
            "other_engine": self.other_engine,
            "changes": {
                change: {
                    "count": self.differs[change],
                    "rules": rows_of(self.rules[change]),
                    "subjects": rows_of(self.subjects[change]),
                    "resources": rows_of(self.resources[change]),
                    "examples": msgspec.to_builtins(self.examples[change]),
                }
                for change in self.changes()
            },
        }


def _when(example: Example) -> tuple[str, str]:
    return example.time, example.id


def rows_of(rows: Counter[str]) -> dict[str, int]:
    """Return the largest rows; the rest as one."""
    ordered = sorted(rows.items(), key=lambda row: (-row[1], row[0]))
    shown = dict(ordered[:ROWS_SHOWN])
    rest = sum(count for _, count in ordered[ROWS_SHOWN:])
    if rest:
        shown[REST] = shown.get(REST, 0) + rest
    return shown


def rule_of(recorded: Recorded, now: Decision) -> str:
    """Return the rule that makes the difference.

    It is one that decides now, else one that permitted before and is silent now.
    """
    if deciding := decided_by(now.outcome, now.rules):
        return deciding[0]
    before = decided_by(recorded.record.outcome, recorded.record.rules)
    return f"{before[0]} (silent now)" if before else f"({now.reason})"


def _resource(found: Recorded, now: Decision) -> str:
    """Return the resource that decides now: the first target that came out like the whole."""
    for place, target in enumerate(now.targets):
        if target.outcome == now.outcome and place < len(found.record.targets):
            return found.record.targets[place].resource
    targets = found.record.targets
    return targets[0].resource if targets else "(none)"
