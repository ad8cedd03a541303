"""`sidecar surface`: a table for people, JSON for programs, a page for both."""

import json


def test_a_workload_of_the_configuration_is_known(shop, sidecar, monkeypatch) -> None:
    monkeypatch.chdir(shop)

    said = sidecar("surface", "support-agent", "--json")

    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert found["agent"] == "agent:support-agent"
    assert found["summary"]["sql"]["denied"] > 0
    assert found["policy"]["digest"].startswith("sha256:")
    assert {one["status"] for one in found["things"]} <= {
        "allowed",
        "conditional",
        "approval",
        "denied",
    }


def test_the_table_says_what_is_denied_where_that_is_asked_for(shop, sidecar) -> None:
    some = sidecar("surface", "support-agent", "-b", shop / "bundle", "--groups", "support")
    all_ = sidecar("surface", "x", "-b", shop / "bundle", "--denied")

    assert some.code == all_.code == 0
    assert "(no rule allows it)" not in some.out
    assert "(no rule allows it)" in all_.out


def test_a_page_is_written(shop, sidecar, tmp_path) -> None:
    file = tmp_path / "map.html"

    said = sidecar(
        "surface", "support-agent", "-b", shop / "bundle", "--subject", "user:sam",
        "--properties", '{"groups": ["support"]}', "--html", file,
    )  # fmt: skip

    assert said.code == 0
    assert "<svg" in file.read_text()


def test_what_cannot_be_used_is_told_with_2(shop, sidecar) -> None:
    for options in (
        ["--subject", "sam"],
        ["--html", "none/x.html"],
        ["--properties", "[1]"],
        ["--properties", "{"],
    ):
        assert sidecar("surface", "x", "-b", shop / "bundle", *options).code == 2
