"""The seam to the expression engine: what goes in and what comes out."""

import sys

import pytest

from sidecar.policy.cel import Compiler

SEEN = {"request": {"l": [None] * 1000, "m": {"a": None, "b": [1, 2.5, "x", True]}, "n": None}}


@pytest.mark.parametrize("source", ["request", "request.l", "request.n", "request.m"])
def test_nulls_are_given_back_without_a_reference_that_is_not_ours(source: str) -> None:
    expression = Compiler().compile(source)
    held = sys.getrefcount(None)

    found = [expression.value(SEEN, {}) for _ in range(20)][-1]

    assert sys.getrefcount(None) > held - 500
    assert {"request": found} == SEEN or found == SEEN["request"][source[-1]]
