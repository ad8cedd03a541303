"""Whoever is forgotten stands nowhere, in whatever letters a call has named them."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.record.canonical import encode
from sidecar.record.inputs.names import names_of
from sidecar.record.inputs.sweep import Sweep
from sidecar.record.limits import SEARCHED_CHARS_MIN, SWEPT_CHARS_MAX
from sidecar.record.write import applied
from sidecar.terms.call import Party
from sidecar.terms.decision import Fact, FactKey, Obligation, RuleError
from sidecar.terms.request import Action, Resource, Target
from tests.record.test_write import ALICES, Paper, decision, kept, request
from tests.tables import rows

HELD_S_MAX = 0.5
HANDLE = "p_0000000000000000000007"


def percent(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


def unicode_escaped(text: str) -> str:
    return json.dumps(text)[1:-1].replace("@", "\\u0040")


FORMS: dict[str, Callable[[str], str]] = {
    "itself": str,
    "in capitals": str.upper,
    "small": str.lower,
    "percent-encoded": quote,
    "every letter percent-encoded": percent,
    "percent-encoded in capitals": lambda text: quote(text).upper(),
    "percent-encoded twice": lambda text: quote(quote(text)),
    "every letter percent-encoded twice": lambda text: percent(percent(text)),
    "percent-encoded three times": lambda text: quote(quote(quote(text))),
    "a component": lambda text: text.replace("%", "%25").replace(".", "%2E").replace("-", "%2d"),
    "JSON": unicode_escaped,
    "JSON in JSON": lambda text: unicode_escaped(text).replace("\\", "\\\\"),
    "hexadecimal": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
}
IDS = st.one_of(
    st.from_regex(r"[a-z][a-z0-9.+_-]{1,10}[a-z0-9]@[a-z]{2,8}\.example", fullmatch=True),
    st.from_regex(r"zq[A-Za-z0-9]{1,12}", fullmatch=True),
    st.from_regex(r"zq[a-zéüßøж漢]{1,6}-[a-z]{1,5}x", fullmatch=True),
)
PLACES = ("{}", "/x/{}/y", "a {} b", "u={}&v=1", "sub_{}", '{{"u":"{}"}}', "urn:{}:1", "x%2F{}%2Fy")


@pytest.mark.parametrize("row", rows("record/sweep.yaml"))
def test_case(row):
    sweep = Sweep(row.given.get("ids", {"alice": "P"}))

    assert sweep.text(row.given["text"]) == row.want


@pytest.mark.parametrize("form", FORMS)
@given(id=IDS, place=st.sampled_from(PLACES))
def test_an_id_is_found_in_any_letters_at_any_place(form, id, place):
    said = place.format(FORMS[form](id))

    assert Sweep({id: HANDLE}).text(said) == place.format(HANDLE)


def naming(id: str, word: str) -> dict[str, Any]:
    """Return what a call says that names `id` as `word` wherever a caller may say something."""
    return {
        "subject_id": id,
        "subject": {"note": word, word: 1, "email": id},
        "context": {"claimed": {word: word}, "ip": "192.0.2.9"},
        "targets": [{"id": word, "type": "doc", "resource": {word: [word]}, "action": {"x": word}}],
        "request": {"sql": {"path": f"/x/{word}", word: {"deep": [word, {word: word}]}}},
    }


@given(id=IDS, form=st.sampled_from(sorted(FORMS)), place=st.sampled_from(PLACES))
def test_no_byte_of_a_record_names_a_person_of_its_call(id, form, place):
    word = place.format(FORMS[form](id))
    asked = request(naming(id, word))
    one = asked.targets[0]
    named = Target(
        Action(word, "read"), Resource("doc", word, word, (word,), one.resource.properties)
    )
    asked = msgspec.structs.replace(
        asked,
        upstream=word,
        protocol="sql",
        actors=(Party("agent", id), Party("agent", word)),
        targets=(named,),
        at=word,
    )
    part = msgspec.structs.replace(asked, parts=())
    asked = msgspec.structs.replace(asked, parts=(part,))
    planned = Obligation("limit", f"doc:{word}", {"x": [word], word: 1}, ("p/r",))
    errors = (RuleError("p/r", f"doc:{word}", f"no {word} there"),)
    said = decision(asked, message=f"not for {word}", errors=errors, obligations=(planned,))
    facts = {
        FactKey("entity", ("doc", word)): Fact(1, "file", "1"),
        FactKey("one", (word,)): Fact(1, "file", "1"),
    }
    handles = {f"user:{id}": HANDLE, "ip:192.0.2.9": ALICES}

    record, side = kept(asked, Paper(), said, facts=facts, handles=handles)

    sweep = Sweep({id: HANDLE, "192.0.2.9": ALICES})
    for raw in (encode(record), *(one.data for one in side)):
        text = raw.decode()
        assert sweep.text(text) == text
        assert id.lower() not in text.lower()
        assert FORMS[form](id).lower() not in text.lower()
    outcome = msgspec.json.encode(applied(asked, (planned,), handles)).decode()
    assert sweep.text(outcome) == outcome
    shown = orjson.loads(record.input.text or "")
    assert (shown["id"], shown["time"]) == (asked.id, asked.time)
    assert shown["context"]["time"] == asked.time


@given(id=IDS, text=st.text())
def test_what_names_nobody_is_the_very_same(id, text):
    assert Sweep({id: HANDLE}).text(text) is text


@given(st.text(min_size=3, max_size=12), st.text(alphabet='%25\\u0041lice"aA_ ', max_size=60))
def test_no_text_is_too_odd_to_be_looked_through(id, text):
    found = Sweep({id: HANDLE}).text(text + id + text)

    assert isinstance(found, str)


def test_a_text_without_end_costs_the_text_where_letters_are_escaped():
    sweep = Sweep({"alice@example.org": HANDLE})
    long = "%61" * SWEPT_CHARS_MAX

    assert sweep.text(long) is long
    assert sweep.text(long + "alice%40example.org") == "***"


LONG = 8 * 1024 * 1024


@pytest.mark.parametrize(
    "value",
    [
        "%61" * (LONG // 3),
        "%2561" * (LONG // 5),
        "\\u0061" * (LONG // 6),
        "alice " * (LONG // 6),
        ["%61" * 20_000] * (LONG // 60_000),
        ["alice " * 3000] * (LONG // 18_000),
        {f"%61{number}": 1 for number in range(50_000)},
    ],
    ids=["percent", "twice", "json", "names", "many percent", "many names", "keys"],
)
def test_what_is_looked_through_of_one_call_is_bounded(value):
    sweep = Sweep({"alice": HANDLE})

    began_s = time.thread_time()
    found = sweep.value([value, "ali%63e", "nobody"])

    # What was not looked through does not stand there: nobody knows whom it names.
    assert time.thread_time() - began_s < HELD_S_MAX
    assert found[1:] == ["***" if sweep._left < 0 else HANDLE, "nobody"]
    assert "alice" not in str(found)
    sweep.begin()
    assert sweep.text("ali%63e") == HANDLE


def test_each_call_is_looked_through_anew():
    handles = {"user:alice": HANDLE}
    names_of(("user:alice",), handles).text("%61" * LONG)

    assert names_of(("user:alice",), handles).text("ali%63e") == HANDLE


@given(st.text("%25614c", max_size=30), st.sampled_from(("alice", "bob", "%@.")))
def test_a_long_text_is_near_where_its_short_part_is(text, id):
    sweep = Sweep({id: HANDLE})

    assert sweep.is_near(text + " " * SEARCHED_CHARS_MIN) is sweep.is_near(text)


def test_a_person_cannot_rename_what_the_sidecar_says():
    for word in ("deny", "sql", "select", "rule", "demo", "2026", "id-1", "time", "masked"):
        asked = request({"subject_id": word})
        record, _ = kept(asked, Paper())
        plain, _ = kept(request({}), Paper())

        assert (record.id, record.time, record.outcome) == (plain.id, plain.time, plain.outcome)
        assert (record.reason, record.policy, record.rules) == (
            plain.reason, plain.policy, plain.rules,
        )  # fmt: skip
        assert record.input.form == "masked"


def test_what_is_encoded_otherwise_is_not_found():
    said = base64.b64encode(b"alice@example.org").decode()

    assert Sweep({"alice@example.org": HANDLE}).text(said) == said
