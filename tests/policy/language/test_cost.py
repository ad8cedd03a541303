"""No input makes an evaluation do much more than its budget: measured, for what was thought of."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.policy.language import environment
from sidecar.policy.language.checking.checker import check
from sidecar.policy.language.faults import BudgetExceeded, Fault
from sidecar.policy.language.functions import FUNCTIONS
from sidecar.policy.language.reading.parser import parse
from sidecar.policy.language.running import cost
from sidecar.policy.language.running.program import Program
from sidecar.policy.language.running.state import STEPS_MAX
from sidecar.policy.language.types import DYN
from sidecar.terms.decision import Fact, FactKey
from tests.tables import rows

KNOWN = environment({"d": DYN})
LONG = "a" * 1_000_000
DATA = {
    "d": {
        "s": LONG,
        "quotes": '"\\' * 500_000,
        "l": list(range(STEPS_MAX)),
        "l99": list(range(99)),
        "L": list(range(100_000)),
        "S": [str(each) for each in range(100_000)],
        "long": ["a" * 1_023] * 9_000,
        "lists": [list(range(60)) for _ in range(9_000)],
        "other": list(range(60)),
        "huge": [1e300 + each for each in range(9_000)],
        "short": ["a" * 255] * 9_000,
        "users": [{"name": "b" * 250}] * 9_000,
        "names": [{"name": "some-name"}] * 1_000,
        "mails": ["john.doe@example.com"] * 1_000,
        "patterns": [f"(?i)[a-zé-ÿ\\pL]{{30}}{each}" for each in range(300)],
        "endless": [f"(?i)\\pL{{1000}}{each}" for each in range(300)],
        "unclosed": ["\\pL" * 1_300 + f"({each}" for each in range(300)],
        "time": "2009-02-13T23:31:30Z",
        "zone": "America/New_York",
        "hour": "1h",
        "url": "http://a.b/c?" + "&a=b" * 50,
        "ip": "10.0.0.1",
        "digits": ["9" * 100_000] * 9_000,
    }
}
# As many steps as an evaluation has, of a condition with three clauses.
HONEST = "d.l.all(x, x >= 0 && x < 20000 && x != -1)"
# What measures CPU on a busy machine: the shortest of so many.
ROUNDS = 3


def program(source: str) -> Program:
    return Program(check(parse(source), KNOWN).tree, {"d"})


def cpu_s(run: Callable[..., object], data: object) -> float:
    """Return the CPU time of the shortest of some runs; a fault is an answer too."""
    found = []
    for _ in range(ROUNDS):
        start = time.thread_time()
        said(run, data)
        found.append(time.thread_time() - start)
    return min(found)


def said(run: Callable[..., object], data: object) -> str:
    try:
        run(data, {})
    except BudgetExceeded:
        return "exceeded"
    except Fault:
        return "fault"
    return "done"


@pytest.fixture(scope="module")
def budget_s() -> float:
    """What an evaluation takes that uses its whole budget."""
    return cpu_s(program(HONEST).run_exactly, DATA)


def program_of(row) -> Program:
    """Return the program of a row: `given`, or `clause` as often as `times` says."""
    if isinstance(row.given, str):
        return program(row.given)
    body = row.given["by"].join([row.given["clause"]] * row.given["times"])
    return program(f"d.l.all(x, {body})")


@pytest.mark.parametrize("row", rows("policy/language/hostile_cost.yaml"))
def test_an_evaluation_takes_no_more_than_twice_its_budget(row, budget_s):
    made = program_of(row)

    assert said(made.run, DATA) == row.want
    # A machine that is slower by now than when the budget was measured is asked for both again.
    assert cpu_s(made.run, DATA) < 2 * budget_s or any(
        cpu_s(made.run, DATA) < 2 * cpu_s(program(HONEST).run_exactly, DATA) for _ in range(2)
    )


@pytest.mark.parametrize("row", rows("policy/language/hostile_cost.yaml"))
def test_both_evaluators_end_alike(row):
    made = program_of(row)

    assert said(made.run, DATA) == said(made.run_exactly, DATA)


class Counted(dict[FactKey, Fact]):
    """Facts that count how often they are looked into: once for each element gone over."""

    times = 0

    def __getitem__(self, key: FactKey) -> Fact:
        self.times += 1
        return Fact("a", "test", "test")

    def get(self, key: FactKey, default: object = None) -> Fact:
        return self[key]


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [3, 9, 21, 99, 120, 10_000, 10_001, 100_000])
@pytest.mark.parametrize("macro", ["all", "exists", "exists_one", "map", "filter"])
def test_no_nesting_goes_over_more_elements_than_twice_the_budget(depth, size, macro):
    body = "entity('a', x0) == (KIND)".replace("KIND", "'b'" if macro == "exists" else "'a'")
    for level in range(depth):
        last = f"d.l.all(x{level}, {body})" if level else f"d.l.{macro}(x{level}, {body})"
        body = last if macro not in {"map", "filter"} or level else f"{last}.size() >= 0"
    facts = Counted()

    said(lambda data, _: program(body).run(data, facts), {"d": {"l": ["x"] * size}})

    # The fast code may spend the budget before it gives up, and then the exact one does.
    assert facts.times <= 2 * STEPS_MAX
    assert facts.times > 0 or size**depth > STEPS_MAX


PATTERNS = [
    *("(a*)*b", "(a+)+$b", "(a|aa)+b", "(.*)(.*)(.*)b", "a.*a.*a.*b", "(x+x+)+y", "[a-z]+[a-z]+b"),
    *("^(([a-z])+.)+[A-Z]([a-z])+$", "(?i)A*B", "a{1,100}b", "(?:a?){30}b", "\\ba*\\bb"),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_takes_time_in_proportion_to_the_text(pattern):
    """Ten times the text takes at most about ten times as long, from thousands to a million."""
    made = program(f"d.matches({pattern!r})")
    short, long = (cpu_s(made.run, {"d": "a" * size}) for size in (100_000, 1_000_000))

    assert long < 10 * 2.5 * max(short, 0.0002)


def test_what_is_free_is_short_or_looks_at_one_place():
    read = {"string", "bytes", "list", "map", "dyn"}
    free = {
        each.name
        for each in FUNCTIONS.values()
        if cost.is_free(each)
        and any(one.name in read for form in each.signatures for one in form.parameters)
    }

    assert free <= {"_[_]", "_[?_]", "size", "type", "dyn", "first", "last"}


# Sizes on both sides of every threshold, and far beyond.
SIZES = st.sampled_from([0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 256, 257, 1_023, 5_000])
PAID = [
    *(
        "x == d.text",
        "x != d.other",
        "x < d.text",
        "d.text <= d.other",
        "d.text.startsWith(d.other)",
    ),
    *("d.text.endsWith(d.text)", "d.text.contains(x)", "d.text.matches('b$')", "x in d.items"),
    *(
        "'a' in d.items",
        "d.text in d.items",
        "1 in d.items",
        "[x] in d.items",
        "d.items == d.items",
    ),
    *("size(d.text + x) > 0", "size(d.items + [x]) > 0", "d.items.size() > 0", "d.items[0] == x"),
    *("size(lists.range(d.n)) == 0", "d.text.split('').size() > 0", "d.items.sort().size() > 0"),
    *("d.items.distinct().size() > 0", "sets.contains(d.items, [x])", "d.items.reverse() == []"),
    *("x == 'LONG'", "'LONG' < x", "x.startsWith('LONG')", "d.items.exists(y, y == 'LONG')"),
    *("d.items.exists(y, y == x)", "d.items.all(y, y in d.items)", "{x: 1}.size() == 1"),
]


@pytest.mark.parametrize("body", PAID)
@given(times=st.integers(0, 10_001), text=SIZES, items=SIZES)
@settings(max_examples=8)
def test_the_fast_code_ends_as_the_exact_one_does(body, times, text, items):
    made = program(f"d.many.map(x, {body}).size() >= 0 || true".replace("LONG", "a" * 300))
    data = {
        "d": {
            "many": ["a"] * times,
            "n": items,
            "text": "a" * text,
            "other": "a" * (text - 1) + "b",
            "items": ["a"] * items,
        }
    }

    assert said(made.run, data) == said(made.run_exactly, data)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("d > 1.5", True),
        ("d == 1.5", False),
        ("d < double('inf')", True),
        ("d > 1e308 && -1.0 < d", True),
        ("d == d", True),
        ("double(d)", "fault"),
        ("d + 1", "fault"),
    ],
)
def test_an_integer_beyond_every_double_is_compared_as_it_is(source, value):
    made = program(source)

    for run in (made.run, made.run_exactly):
        try:
            found = run({"d": 10**400}, {})
        except Fault:
            found = "fault"
        assert found == value
