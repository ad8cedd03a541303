"""Proposes labels for columns from their names and types: a reviewer's first draft, no more.

Names say what their authors meant, in English; nothing is read but the catalogue. A proposal that
is wrong costs a look, one that is missing costs nothing that was not so before.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from sidecar.runtime.catalog.merge import columns_of
from sidecar.terms.call import Json

# A label, and the words of a name that say it: each stands between `_`, digits or the ends.
_WORDS: Final = {
    "secret": """
        password passwd pwd passphrase secret token apikey api_key private_key privatekey otp totp
        salt credential credentials session_key access_key refresh_token client_secret pin
    """,
    "compensation": """
        salary salaries wage wages bonus compensation payroll pay_grade gross_pay net_pay
        stock_grant equity_grant severance commission
    """,
    "pii": """
        email mail phone mobile telephone fax ssn social_security national_id passport tax_id tin
        nin birth birthday birthdate dob date_of_birth first_name firstname last_name lastname
        surname full_name fullname given_name family_name middle_name maiden_name address street zip
        zipcode postcode postal_code gender nationality ethnicity religion marital ip_address
        ip_addr latitude longitude license_plate
    """,
    "payment": """
        iban bic swift card_number cardnumber credit_card pan cvv cvc account_number bank_account
        routing_number sort_code
    """,
    "health": "diagnosis icd icd10 medication prescription allergy blood_type disability patient",
}
_TYPES: Final = {"inet": "pii", "cidr": "pii"}
_PATTERNS: Final = {
    label: re.compile(rf"(?:^|_)(?:{'|'.join(sorted(words.split()))})s?(?:_|[0-9]*$)")
    for label, words in _WORDS.items()
}
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# What is no value of somebody's, whatever it is about.
_NOT: Final = re.compile(r"(?:^|_)(?:is|has)_|_(?:verified|sent|confirmed|count|required)(?:_at)?$")


class Proposal(msgspec.Struct, frozen=True):
    """A label that a column might carry, and why."""

    column: str
    label: str
    why: str


def proposals(spec: Mapping[str, Json]) -> list[Proposal]:
    """Return a proposal for each column that looks like it and is not labelled so."""
    found = []
    for schema, said in spec.get("schemas", {}).items():
        for table, one in ((said or {}).get("tables") or {}).items():
            around = {*(said.get("labels") or ()), *((one or {}).get("labels") or ())}
            for column, own in columns_of(one or {}).items():
                has = {*around, *((own or {}).get("labels") or ())}
                name = f"{schema}.{table}.{column}"
                found += [
                    Proposal(name, label, why)
                    for label, why in _looks_like(column, (own or {}).get("type", ""))
                    if label not in has
                ]
    return found


def _looks_like(column: str, kind: str) -> list[tuple[str, str]]:
    name = _HUMP.sub("_", column).lower().replace("-", "_")
    if _NOT.search(name) or kind == "boolean":
        return []
    found = [(label, "its name") for label, rule in _PATTERNS.items() if rule.search(name)]
    label = _TYPES.get(kind)
    if label is not None and label not in dict(found):
        found.append((label, f"its type `{kind}`"))
    return found


def with_labels(spec: dict[str, Json], proposed: list[Proposal]) -> dict[str, Json]:
    """Return `spec` with these labels on their columns."""
    wanted: dict[str, list[str]] = {}
    for one in proposed:
        wanted.setdefault(one.column, []).append(one.label)
    schemas = {}
    for schema, said in spec["schemas"].items():
        tables = {
            table: {
                **one,
                "columns": {
                    name: _labelled(own or {}, wanted.get(f"{schema}.{table}.{name}", []))
                    for name, own in columns_of(one).items()
                },
            }
            for table, one in (said.get("tables") or {}).items()
        }
        schemas[schema] = {**said, **({"tables": tables} if tables else {})}
    return {**spec, "schemas": schemas}


def _labelled(column: dict[str, Json], labels: list[str]) -> dict[str, Json]:
    if not labels:
        return column
    return {**column, "labels": [*column.get("labels", []), *labels]}
