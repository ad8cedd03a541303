"""Fields of types as a catalogue says them, also where it says what no database has."""

import pytest

from sidecar.domains.data.catalogue.owned import Owned, OwnType
from sidecar.domains.data.parse.tree.rows import element_of, fields_of

ROW = OwnType("composite", fields={"a": "text"})


def owned(**types: OwnType) -> Owned:
    return Owned({("s", name): one for name, one in types.items()}, {})


@pytest.mark.parametrize(
    "types",
    [
        {"d": OwnType("domain", "s.d")},
        {"d": OwnType("domain", "s.d[]")},
        {"d": OwnType("domain", "s.e[]"), "e": OwnType("domain", "s.d[]")},
        {"d": OwnType("domain", "s.e"), "e": OwnType("domain", "s.d")},
    ],
    ids=["itself", "arrays of itself", "arrays of each other", "each other"],
)
def test_a_domain_over_itself_has_no_fields(types: dict[str, OwnType]) -> None:
    assert not fields_of("s.d", owned(**types))


def test_a_domain_has_the_fields_of_what_it_is_over() -> None:
    types = owned(row=ROW, one=OwnType("domain", "s.row"), many=OwnType("domain", "s.row[]"))

    assert fields_of("s.one", types) == frozenset({"a"})
    assert not fields_of("s.many", types)
    assert element_of(fields_of("s.many", types)) == frozenset({"a"})
