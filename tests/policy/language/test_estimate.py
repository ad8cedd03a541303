"""What lint says that a condition may cost, and that no evaluation costs more."""

from random import Random

import pytest

from sidecar.policy.language import environment
from sidecar.policy.language.checking.checker import check
from sidecar.policy.language.checking.estimate import estimate
from sidecar.policy.language.faults import Fault
from sidecar.policy.language.reading.parser import parse
from sidecar.policy.language.running import cost
from sidecar.policy.language.running.exact import Exact
from sidecar.policy.language.running.state import STEPS_MAX, Run
from sidecar.policy.language.types import DYN
from tests.policy.language.expressions import Maker
from tests.tables import rows

KNOWN = environment({"d": DYN, "subject": DYN})
LENGTHS = {"d.two": 2, "d.many": 12_000}
DATA = {
    "d": {
        "i": 3, "j": -7, "f": 2.5, "s": "ab", "t": "b.c", "b": True, "n": None, "l": [1, 2, 3],
        "w": ["a", "ab", "é"], "m": {"a": 1, "b": "x"}, "o": {"p": {"q": [1]}},
        "x": [{"k": "a", "v": 1}, {"k": "b", "v": 2}],
    }
}  # fmt: skip


@pytest.mark.parametrize("row", rows("policy/language/estimate.yaml"))
def test_the_estimate_of_an_expression(row):
    found = estimate(check(parse(row.given), KNOWN).tree, LENGTHS.get)

    told = {"steps": found.steps, "from": found.exceeds_from, "certain": found.is_certain}
    assert {"from": None, "certain": False, **row.want} == told


def test_no_evaluation_costs_more_than_its_estimate(scaled, monkeypatch):
    """Where lists only get shorter from one macro to the next; `+` and `split` make longer ones.

    Comparisons are left out, as the estimate leaves them out.
    """
    monkeypatch.setattr(cost, "_compared", lambda *_: 0)
    random = Random(20_264)
    maker = Maker(random)
    compared = 0
    for _ in range(scaled(1_000, 40_000)):
        source = maker.make("bool", random.randint(1, 4))
        if any(word in source for word in ("+", "split", "transformMap", "[")):
            continue
        tree = check(parse(source), KNOWN).tree
        run = Run(DATA, {})
        try:
            Exact(tree, {"d"}).evaluate(run)
        except Fault:
            continue
        spent = STEPS_MAX - run._left
        compared += spent > 0
        # `d` itself is the longest map.
        assert spent <= most(estimate(tree).steps, len(DATA["d"])), source
    assert compared > 5


def most(steps: str, n: int) -> float:
    """Return the value of `3 + 2n + n²/64`."""
    total = 0.0
    for term in steps.split(" + "):
        whole, _, over = term.partition("/")
        factor, _, power = whole.partition("n")
        degree = {"": 1, "²": 2, "³": 3}.get(power) or int(power[1:]) if "n" in whole else 0
        total += float(factor or 1) * n**degree / float(over or 1)
    return total
