"""Closures of calls, of paid calls, and of what decides before all of its parts are known.

The functions here take closures and return one; which of them a node needs says `exact`.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from sidecar.policy.language.faults import Fault, NoSuchOverload
from sidecar.policy.language.functions import Function
from sidecar.policy.language.functions.extensions import optionals
from sidecar.policy.language.functions.extensions.patterns import Program
from sidecar.policy.language.running import cost
from sidecar.policy.language.running.state import Run
from sidecar.policy.language.values import Maybe

Step: TypeAlias = Callable[[Run], object]


def paid_call(declared: Function, args: tuple[Step, ...]) -> Step:
    """Return a call inside of a macro, which pays for what it is given and what it gives."""
    name, call = declared.name, declared.call

    def paid(run: Run) -> object:
        given = [arg(run) for arg in args]
        run.spend(cost.steps(name, given))
        value = call(*given)
        run.spend(cost.steps_made(value))
        return value

    return paid


class _Meter:
    """What a function that is metered is given: patterns, and where it pays."""

    __slots__ = ("_own", "_run", "spend")

    def __init__(self, run: Run, own: Program | None, spend: Callable[[float], None]) -> None:
        self._run = run
        self._own = own
        self.spend = spend

    def program(self, pattern: str) -> Program:
        """Return the program of a pattern: of a literal, what was made beforehand."""
        return self._run.pattern(pattern) if self._own is None else self._own


def metered_call(
    declared: Function, args: tuple[Step, ...], own: Program | None, *, is_inside: bool
) -> Step:
    """Return a call that pays as it works.

    Args:
        declared: The function.
        args: Of which the second is a pattern.
        own: The pattern, where it is a literal.
        is_inside: Of a macro; outside only a pattern that data gives is paid for.
    """
    call = declared.call

    def metered(run: Run) -> object:
        given = [arg(run) for arg in args]
        value = call(*given, meter=_Meter(run, own, run.spend if is_inside else _free))
        if is_inside:
            run.spend(cost.steps_made(value))
        return value

    return metered


def _free(_steps: float) -> None:
    pass


def called(call: Callable[..., object], args: tuple[Step, ...]) -> Step:
    """Return a call of what needs all of its arguments."""
    if len(args) == 1:
        (only,) = args
        return lambda run: call(only(run))
    if len(args) == 2:
        one, other = args
        return lambda run: call(one(run), other(run))
    return lambda run: call(*[arg(run) for arg in args])


def _deciding(one: Step, other: Step, decides: bool) -> Step:  # noqa: FBT001  # the value itself
    """Return `one && other` (`decides` is false) or `one || other`: the operand that decides wins.

    Both are asked where the first fails or is no bool; the first fault is then the one told.
    """

    def asked(run: Run) -> object:
        failed: Fault | None = None
        for step in (one, other):
            try:
                value = step(run)
            except Fault as fault:
                if not fault.is_absorbed:
                    raise
                failed = failed or fault
                continue
            if value is decides:
                return decides
            if type(value) is not bool:
                failed = failed or NoSuchOverload()
        if failed:
            raise failed
        return not decides

    return asked


def _chosen(condition: Step, then: Step, otherwise: Step) -> Step:
    def choose(run: Run) -> object:
        asked = condition(run)
        if asked is True:
            return then(run)
        if asked is False:
            return otherwise(run)
        raise NoSuchOverload

    return choose


def _or_value(optional: Step, instead: Step) -> Step:
    """Return `optional.orValue(instead)`; `instead` is not asked where it is not needed."""

    def opened(run: Run) -> object:
        found = optional(run)
        if type(found) is not Maybe:
            raise NoSuchOverload
        return found.value if found.has else instead(run)

    return opened


def _or(optional: Step, other: Step) -> Step:
    def either(run: Run) -> object:
        found = optional(run)
        if type(found) is Maybe and found.has:
            return found
        return optionals.either(found, other(run))

    return either


LOGIC: Final[dict[str, Callable[..., Step]]] = {
    "_&&_": lambda one, other: _deciding(one, other, decides=False),
    "_||_": lambda one, other: _deciding(one, other, decides=True),
    "_?_:_": _chosen,
}
INSTEAD: Final = {"orValue": _or_value, "or": _or}
