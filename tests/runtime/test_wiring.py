"""From a listener's entry to what its listener is told; credentials come from files."""

from pathlib import Path

import pytest

from sidecar.runtime.config import Config, HttpDoc, PostgresDoc, read_config
from sidecar.runtime.processes.machine import Ids, now
from sidecar.runtime.wiring import http_settings, postgres_settings
from sidecar.terms.errors import ConfigError


def configured(folder: Path, upstream: str, protocol: str) -> Config:
    text = (
        "bundle: ./b\n"
        "listeners:\n"
        f"  - {{name: up, protocol: {protocol}, bind: '127.0.0.1:0', upstream: {upstream}}}\n"
    )
    return read_config(folder / "sidecar.yaml", text.encode())


def told(folder: Path, upstream: str, protocol: str):
    config = configured(folder, upstream, protocol)
    doc = config.listeners[0].doc
    if isinstance(doc, HttpDoc):
        return http_settings(doc, config)
    assert isinstance(doc, PostgresDoc)
    return postgres_settings(doc, config)


@pytest.fixture
def secret(tmp_path: Path):
    def write(text: str) -> Path:
        (tmp_path / "secret").write_text(text)
        return tmp_path

    return write


def test_an_upstream_is_named_like_its_listener_unless_said(tmp_path):
    assert told(tmp_path, "{url: 'http://a'}", "http").upstream == "up"
    assert told(tmp_path, "{url: 'http://a', name: shop}", "http").upstream == "shop"


def test_a_credentials_file_is_the_authorization_that_is_sent(secret):
    folder = secret("Bearer abc\n")

    settings = told(folder, "{url: 'http://a', credential: {file: ./secret}}", "http")

    assert settings.authorization == "Bearer abc"
    assert "abc" not in repr(settings)


def test_user_and_password_are_sent_as_basic(secret):
    folder = secret("open sesame")

    settings = told(
        folder, "{url: 'http://a', credential: {user: Aladdin, password: {file: secret}}}", "http"
    )

    # The example of RFC 7617 §2.
    assert settings.authorization == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


@pytest.mark.parametrize(
    ("url", "credential", "content", "login"),
    [
        ("postgres://db/erp", "{file: secret}", "agent:a:b", ("agent", "a:b")),
        ("postgres://agent@db/erp", "{file: secret}", "a:b", ("agent", "a:b")),
        ("postgres://db/erp", "{user: agent, password: {file: secret}}", "x:y", ("agent", "x:y")),
    ],
)
def test_a_database_is_logged_into_as_the_credential_says(secret, url, credential, content, login):
    folder = secret(content)

    settings = told(folder, f"{{url: '{url}', credential: {credential}}}", "postgres")

    assert (settings.user, settings.password) == login
    assert (settings.host, settings.port, settings.database) == ("db", 5432, "erp")
    assert content not in repr(settings)


@pytest.mark.parametrize(
    ("upstream", "text"),
    [
        ("{url: 'postgres://db/erp'}", "as whom to log in"),
        ("{url: 'postgres://db', credential: {file: secret}}", "names one database"),
        ("{url: 'postgres://db/a/b', credential: {file: secret}}", "names one database"),
        (
            "{url: 'postgres://db/erp?options=x', credential: {file: secret}}",
            "names one database and no options",
        ),
        ("{url: 'postgres://db/erp', credential: {file: secret}}", "holds `user:password`"),
        ("{url: 'postgres://db/erp', credential: {file: nowhere}}", "cannot be read"),
    ],
)
def test_a_database_that_cannot_be_logged_into_is_refused(secret, upstream, text):
    folder = secret("hunter2")

    with pytest.raises(ConfigError, match=text) as raised:
        told(folder, upstream, "postgres")

    assert "hunter2" not in str(raised.value)


def test_ids_are_in_the_order_in_which_they_are_made():
    ids = Ids()
    made = [ids.new() for _ in range(1000)]

    # The first 48 bits are the time, which never steps back; within one millisecond chance decides.
    assert [one[:13] for one in made] == sorted(one[:13] for one in made)
    assert len(set(made)) == 1000


def test_a_time_has_six_decimals_and_is_utc():
    assert len(now()) == len("2026-01-01T00:00:00.000000Z")
    assert now().endswith("Z")
