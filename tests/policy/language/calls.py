"""Calls as tables write them: `[name, argument…]`, of a member `[.name, target, argument…]`.

An argument is plain YAML, a typed value `{uint: "1"}`, or another call `{call: […]}`.
"""

from typing import Any

from sidecar.policy.language.faults import Fault
from sidecar.policy.language.functions import FUNCTIONS
from sidecar.policy.language.values import typed, untyped


def argument(given: Any) -> Any:
    if isinstance(given, list):
        return [argument(item) for item in given]
    if not isinstance(given, dict):
        return given
    if "call" in given:
        return called(given["call"])
    if "list" in given:
        return [argument(item) for item in given["list"]]
    return untyped(given)


def called(row: list[Any]) -> Any:
    return applied(row[0], [argument(item) for item in row[1:]])


def applied(name: str, args: list[Any]) -> Any:
    is_member = name.startswith(".")
    declared = FUNCTIONS[name.removeprefix("."), is_member, len(args) - is_member]
    return declared.call(*args)


def outcome(row: list[Any]) -> Any:
    try:
        return typed(called(row))
    except Fault as fault:
        return {"fault": fault.kind}


def wanted(given: Any) -> Any:
    if isinstance(given, dict) and ("fault" in given or "optional" in given):
        return given
    return typed(argument(given))
