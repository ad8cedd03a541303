"""The drawing of the error tree and the classes say the same."""

import re

import pytest

from sidecar.terms import errors
from sidecar.terms.reasons import REASONS, reason


def drawn() -> dict[str, str]:
    text = errors.__doc__ or ""
    return dict(re.findall(r"[├└]─ (\w+)\s+([a-z.]+)", text))


def test_the_tree_is_drawn_as_it_is() -> None:
    leaves = {cls.__name__: cls.code for cls in errors.SidecarError.__subclasses__()}

    assert drawn() == leaves


def test_reasons_are_a_closed_list() -> None:
    with pytest.raises(AssertionError):
        reason("made.up")

    assert all(re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", code) for code in REASONS)
