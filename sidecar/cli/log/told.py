"""Records in words for people: one line each for `tail`, a story for `show`.

What stands in a record was chosen by callers: whatever a terminal would act upon is spelt out.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
import orjson
from rich.text import Text

from sidecar.terms.decision import RuleSpoke, decided_by

Record = dict[str, Any]

# A line is to be read at a glance; `show --full` has the whole.
GIST_CHARS_MAX: Final = 200
VERSION_CHARS: Final = 24
TARGETS_TOLD: Final = 4
FACTS_TOLD: Final = 4
STYLES: Final = {"allow": "green", "modify": "cyan", "deny": "red"}
_FIRST: Final = ("outcome", "reason", "time", "listener", "protocol", "phase", "message")
_TOLD: Final = ("kind", "id", "schema", "log")
_PERMITTED: Final = ("allow", "modify")


def line(record: Record) -> Text:
    """Return one line of `tail`."""
    told = Text.assemble((f"{record['log']['seq']:>8}  ", "dim"), f"{record['time']}  ")
    word = word_of(record)
    told.append(f"{plain(word):<10} ", style=STYLES.get(word, "yellow"))
    version = record.get("policy", {}).get("version", "")
    told.append(f"{plain(_cut(version, VERSION_CHARS)):<{VERSION_CHARS}} ", style="dim")
    told.append(plain(_gist(record)))
    return told.append(f"  {plain(record['id'])}", style="dim")


def title(record: Record) -> Text:
    """Return what a record is, which, and what came of it."""
    word = word_of(record)
    told = Text(f"{record['kind']} {plain(record['id'])}", style="bold")
    return told.append(f"  {plain(word)}", style=STYLES.get(word, "yellow"))


def word_of(record: Record) -> str:
    """Return the one word that says what came of it."""
    word: str = record.get("outcome") or record.get("result") or record.get("event", "")
    return word


def story(record: Record, linked: list[Record], proof: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of each line of a decision's story."""
    if record.get("parent"):
        yield "part of", record["parent"]
    yield "who", f"{_chain(record)}, {_proof(record)}"
    yield (
        "asked",
        f"{record['protocol']} {record['phase']}, listener {record['listener']}, "
        f"upstream {record['upstream']}, {record['time']}",
    )
    native = _native(record)
    if native is not None:
        yield "", _cut(native, GIST_CHARS_MAX)
    for number, target in enumerate(_targets(record)):
        yield "" if number else "targets", target
    yield "decided by", f"{_by(record)}, of {_policy(record)}"
    if record.get("message"):
        yield "message", record["message"]
    yield "facts", "; ".join(_facts(record)) or "none"
    yield from _obliged(record)
    yield from _approvals(linked)
    yield "upstream", "; ".join(_upstream(record, linked))
    parts = [one for one in linked if one["kind"] == "decision"]
    for number, one in enumerate(parts):
        yield "" if number else "parts", f"{word_of(one)}  {one['id']}"
    place = record["log"]
    yield "log", f"record {place['seq']} of {place['origin']}/{place['epoch']}, {proof}"


def fields(record: Record) -> Iterator[tuple[str, str]]:
    """Yield everything that stands in a record: what matters most first."""
    first = [name for name in _FIRST if name in record]
    for name in [*first, *sorted(set(record) - set(first) - set(_TOLD)), "log"]:
        value = record[name]
        yield name, value if isinstance(value, str) else _json(value, orjson.OPT_INDENT_2)


def field(name: str, text: str) -> Text:
    """Return one line, or several, of `show`."""
    lines = [plain(one) for one in text.split("\n")]
    return Text(f"  {name:<10} ", style="dim").append("\n    ".join(lines))


def plain(text: str) -> str:
    """Return `text` with everything spelt out that a terminal would act upon."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


# --- in a few words ---


def _gist(record: Record) -> str:
    """Return in a few words what a record is about."""
    if record["kind"] == "outcome":
        return f"outcome of {record['parent']}"
    if record["kind"] != "decision":
        return _cut(_json(record.get("detail", {})), GIST_CHARS_MAX)
    targets = record["targets"]
    first = f"{targets[0]['action']} {targets[0]['resource']}" if targets else record["protocol"]
    more = f" (+{len(targets) - 1})" if len(targets) > 1 else ""
    said = record.get("asserted_by")
    says = f" (says {said})" if said else ""
    return f"{_chain(record)}{says}  {first}{more}  by {_by(record)}"


def _chain(record: Record) -> str:
    chain = [*record["actors"], record["subject"]]
    return " for ".join(f"{party['type']}:{party['id']}" for party in chain)


def _proof(record: Record) -> str:
    """Return how it is known who it was: by a credential, or by the word of who had one."""
    said = record.get("asserted_by")
    verified = f"verified by {record['verified']}"
    return f"as {said} says, which is {verified}" if said else verified


def _by(record: Record) -> str:
    """Return the rules that decided; where none held, the reason and those that erred."""
    rules = msgspec.convert(record["rules"], list[RuleSpoke])
    names = decided_by(record["outcome"], rules)
    if record["reason"] in ("rule", "permitted") and names:
        return ", ".join(names)
    return ": ".join([record["reason"], *([", ".join(names)] if names else [])])


# --- the story ---


def _native(record: Record) -> str | None:
    """Return the call as its protocol has it, sensitive words masked; None where it is not kept."""
    text = record["input"].get("text")
    if text is None:
        return None
    native = orjson.loads(text).get("request") or {}
    return _json(native) if native else None


def _targets(record: Record) -> Iterator[str]:
    """Yield the targets, those that decided first."""
    outcome = record["outcome"]
    ranked = sorted(record["targets"], key=lambda target: target["outcome"] != outcome)
    for target in ranked[:TARGETS_TOLD]:
        labels = f" [{', '.join(target['labels'])}]" if target.get("labels") else ""
        at = f" at {target['at']}" if target.get("at") else ""
        what = f"{target['action']} ({target['class']}) {target['resource']}{labels}{at}"
        yield f"{target['outcome']}  {what}"
    more = len(ranked) - TARGETS_TOLD
    if more > 0:
        yield f"and {more} more"
    if not ranked:
        yield "none: the call could not be read"


def _policy(record: Record) -> str:
    policy = record["policy"]
    return f"{policy['bundle']} {policy['version']}"


def _facts(record: Record) -> Iterator[str]:
    facts = record["facts"]
    for fact in facts[:FACTS_TOLD]:
        asked = ", ".join(fact["arguments"])
        age_s = fact["age_ms"] // 1000
        old = f", {age_s} s old" if age_s else ""
        revision = _cut(fact["revision"], VERSION_CHARS)
        yield f"{fact['function']}({asked}) from {fact['source']} at {revision}{old}"
    if len(facts) > FACTS_TOLD:
        yield f"and {len(facts) - FACTS_TOLD} more"


def _obliged(record: Record) -> Iterator[tuple[str, str]]:
    """Yield what had to be done with the call."""
    for number, one in enumerate(record.get("obligations", [])):
        yield "" if number else "obliged", _cut(_json(one), GIST_CHARS_MAX)


def _approvals(linked: Iterable[Record]) -> Iterator[tuple[str, str]]:
    """Yield what humans said to it."""
    for one in linked:
        if one["kind"] == "approval":
            who = one.get("approver")
            by = f" by {who['type']}:{who['id']}" if who else ""
            how = f", {one['method']}" if one.get("method") else ""
            yield "approval", f"{one['event']}{by}{how}, {one['time']}"


def _upstream(record: Record, linked: Iterable[Record]) -> Iterator[str]:
    """Yield what happened upstream, as far as that is recorded."""
    outcomes = [one for one in linked if one["kind"] == "outcome"]
    for one in outcomes:
        counts = [f"{one[name]} {name}" for name in ("rows", "bytes") if one.get(name) is not None]
        yield ", ".join([one["result"], *filter(None, [one.get("upstream_status")]), *counts])
    if not outcomes:
        permitted = record["outcome"] in _PERMITTED
        yield "nothing recorded (yet)" if permitted else "nothing was forwarded"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _json(value: object, option: int = 0) -> str:
    return orjson.dumps(value, option=option).decode()
