"""`sidecar.yaml` is read strictly, and whatever is wrong is said where it stands."""

from pathlib import Path

import pytest

from sidecar.runtime.config import (
    Config,
    Tcp,
    load_config,
    prepare_state,
    read_config,
    read_secret,
)
from sidecar.runtime.supervisor import warn_exposed
from sidecar.terms.errors import ConfigError
from tests.tables import Row, rows

FILE = Path("/etc/doorward/sidecar.yaml")


def shown(config: Config) -> dict[str, list[str]]:
    return {
        listener.name: [
            f"{one.host}:{one.port}"
            if isinstance(one, Tcp)
            else f"unix:{one.path.relative_to(FILE.parent)}"
            for one in listener.addresses
        ]
        for listener in config.listeners
    }


@pytest.mark.parametrize("row", rows("runtime/config.yaml"))
def test_case(row: Row):
    if "problem" in row.want:
        with pytest.raises(ConfigError) as raised:
            read_config(FILE, row.given.encode())
        assert str(raised.value).startswith(f"{FILE}:{row.want['problem']}")
        return

    config = read_config(FILE, row.given.encode())

    assert shown(config) == row.want["listeners"]
    assert [w.id for w in config.workloads] == row.want.get("workloads", [])


def test_every_problem_of_meaning_is_told_at_once():
    text = b"""
bundle: ./policies
public_url: nowhere
workers: 0
listeners: [{name: "a b", protocol: ask, bind: ["0.0.0.0:1", "x"]}]
"""

    with pytest.raises(ConfigError) as raised:
        read_config(FILE, text)

    assert len(str(raised.value).splitlines()) == 5


def test_an_address_that_other_machines_reach_is_named_loudly(caplog):
    config = read_config(
        FILE,
        b"bundle: ./b\n"
        b"listeners: [{name: ask, protocol: ask, bind: ['127.0.0.1:1', '0.0.0.0:2'], "
        b"insecure_bind: true}]\n",
    )

    warn_exposed(config)

    assert [record.getMessage() for record in caplog.records] == [
        "INSECURE: listener `ask` on 0.0.0.0:2 is reached by other machines, without TLS"
    ]


def test_paths_are_relative_to_the_file():
    config = read_config(
        FILE,
        b"bundle: ../b\nstate: /var/s\nfacts: {entities: e.yaml}\n"
        b"listeners: [{name: ask, protocol: ask, bind: 'unix:a.sock'}]\n",
    )

    assert config.bundle == FILE.parent / "../b"
    assert config.state == Path("/var/s")
    assert config.entities == FILE.parent / "e.yaml"


def test_a_file_that_is_not_there_is_said_without_a_trace(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "sidecar.yaml")


def test_a_configuration_is_bounded():
    with pytest.raises(ConfigError, match="larger than"):
        read_config(FILE, b"#" * (1024 * 1024 + 1))


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"two\nlines\n", b"\xff\xfe", b"nul\x00", b"x" * 5000]
)
def test_a_secret_is_one_line_and_is_never_told(tmp_path, content):
    file = tmp_path / "secret"
    file.write_bytes(content)

    with pytest.raises(ConfigError) as raised:
        read_secret(file)

    assert str(raised.value) == f"{file}: holds a secret on one line and nothing else"


def test_a_secret_ends_before_its_line_ends(tmp_path):
    file = tmp_path / "secret"
    file.write_bytes(b"hunter2 \r\n")

    assert read_secret(file) == "hunter2 "


def test_the_state_folder_is_made_for_its_owner_alone(tmp_path):
    prepare_state(tmp_path / "state")

    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_a_state_folder_that_others_look_into_is_refused(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o750)

    with pytest.raises(ConfigError, match="chmod 700"):
        prepare_state(state)


def test_a_state_folder_is_no_link_to_somebody_elses(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    Path(tmp_path / "state").symlink_to(tmp_path / "real")

    with pytest.raises(ConfigError, match="is not a folder"):
        prepare_state(tmp_path / "state")
