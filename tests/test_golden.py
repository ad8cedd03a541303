"""What others read has not changed unseen."""

import json

import pytest
from jsonschema import Draft202012Validator

from tests.golden import MADE, ROOT


@pytest.mark.parametrize("name", MADE)
def test_the_file_is_what_is_made_now(name):
    expected = (ROOT / name).read_bytes()

    assert expected == MADE[name](), "run `make golden` and read the diff"


@pytest.mark.parametrize("name", [name for name in MADE if name.endswith(".schema.json")])
def test_a_schema_is_a_schema(name):
    Draft202012Validator.check_schema(json.loads(MADE[name]()))
