"""A bundle is read as it is at one moment, and what was active is kept under its digest."""

import os

import pytest

from sidecar.domains import by_protocol
from sidecar.policy.archive import MANIFEST, Manifest, pack
from sidecar.runtime.bundles import Store, archive_of, built, load_bundle, read_source, snapshot
from sidecar.terms.errors import ConfigError, PolicyError


def load(path):
    return load_bundle(path, by_protocol())


def test_a_folder_runs_under_a_version_that_holds_its_digest(folder):
    bundle = load(folder)

    assert bundle.version == f"1.0-dev+{bundle.digest[7:19]}"


def test_an_archive_runs_under_its_bare_label_with_the_same_digest(folder, tmp_path):
    (tmp_path / "one.tar").write_bytes(built(load(folder)))

    frozen = load(tmp_path / "one.tar")

    assert frozen.version == "1.0"
    assert frozen.digest == load(folder).digest


def test_the_same_files_give_the_same_archive(folder, tmp_path, write_bundle):
    write_bundle(tmp_path / "twin", 1)

    assert built(load(folder)) == built(load(tmp_path / "twin"))


def test_an_archive_that_was_changed_is_refused(folder, tmp_path):
    data = built(load(folder))
    (tmp_path / "one.tar").write_bytes(data.replace(b"effect: allow", b"effect:  deny"))

    with pytest.raises(PolicyError, match="was built from"):
        load(tmp_path / "one.tar")


@pytest.mark.parametrize(
    ("name", "version"),
    [("other", "1.0"), ("trial", "2.0"), ("trial", ""), ("x", "1.0-dev+{}"), ("trial", "9-dev+{}")],
)
def test_an_archive_that_goes_by_another_name_is_refused(folder, tmp_path, name, version):
    bundle = load(folder)
    manifest = Manifest(name, version.format(bundle.digest[7:19]), bundle.digest)
    file = tmp_path / "one.tar"
    file.write_bytes(pack(bundle.files, manifest))
    kept = Store(tmp_path)
    (tmp_path / f"{bundle.digest[7:]}.tar").write_bytes(file.read_bytes())

    with pytest.raises(PolicyError, match=r"one\.tar:1:1: MANIFEST\.json says"):
        load(file)
    with pytest.raises(PolicyError, match=r"MANIFEST\.json says"):
        kept.load(bundle.digest)


def test_hidden_names_are_not_read(folder):
    (folder / ".git").mkdir()
    (folder / ".git" / "policy.yaml").write_text("not: [a policy")
    (folder / ".policy.yaml.swp").write_bytes(b"\x00")

    assert set(read_source(folder).files) == {"bundle.yaml", "policy.yaml"}


def test_a_link_inside_of_the_folder_is_read(folder):
    # A mounted ConfigMap is made of such links.
    (folder / "..data").mkdir()
    (folder / "policy.yaml").rename(folder / "..data" / "policy.yaml")
    (folder / "policy.yaml").symlink_to("..data/policy.yaml")

    assert load(folder).rules[0].id == "rule-1"


@pytest.mark.parametrize("target", ["../outside.yaml", "/etc/hostname"])
def test_a_link_out_of_the_folder_is_refused(folder, tmp_path, target):
    (tmp_path / "outside.yaml").write_text("secret: true")
    (folder / "link.yaml").symlink_to(target)

    with pytest.raises(PolicyError, match=r"link\.yaml: a symbolic link that leaves"):
        read_source(folder)


def test_a_link_to_nothing_is_refused(folder):
    (folder / "link.yaml").symlink_to("nowhere.yaml")

    with pytest.raises(PolicyError, match="cannot be read"):
        read_source(folder)


def test_a_link_to_a_folder_is_refused(folder):
    (folder / "sub").mkdir()
    (folder / "twice").symlink_to("sub")

    with pytest.raises(PolicyError, match="not a regular file"):
        read_source(folder)


def test_a_pipe_is_refused_and_not_waited_for(folder):
    os.mkfifo(folder / "pipe.yaml")

    with pytest.raises(PolicyError, match="not a regular file"):
        read_source(folder)


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(PolicyError, match="cannot be read: No such file"):
        read_source(tmp_path / "nowhere")


def test_a_snapshot_sees_a_file_replaced_by_one_of_the_same_size_and_time(folder):
    before = snapshot(folder)
    old = (folder / "policy.yaml").stat()
    (folder / "new").write_bytes((folder / "policy.yaml").read_bytes())
    os.utime(folder / "new", ns=(old.st_atime_ns, old.st_mtime_ns))
    (folder / "new").rename(folder / "policy.yaml")

    assert snapshot(folder) != before


def test_what_is_kept_is_found_by_its_digest(folder, tmp_path):
    store, bundle = Store(tmp_path / "kept"), load(folder)

    store.keep(bundle)

    assert store.load(bundle.digest).stamp == bundle.stamp
    assert (tmp_path / "kept" / f"{bundle.digest[7:]}.tar").stat().st_mode & 0o777 == 0o600


def test_what_is_kept_frozen_comes_back_under_its_label(folder, tmp_path):
    (tmp_path / "one.tar").write_bytes(built(load(folder)))
    store, bundle = Store(tmp_path / "kept"), load(tmp_path / "one.tar")

    store.keep(bundle)

    assert store.load(bundle.digest).version == "1.0"


def test_a_kept_bundle_under_another_ones_name_is_refused(folder, tmp_path, write_bundle):
    store, first = Store(tmp_path / "kept"), load(folder)
    store.keep(first)
    write_bundle(folder, 2)
    other = load(folder)
    (tmp_path / "kept" / f"{first.digest[7:]}.tar").write_bytes(archive_of(other))

    with pytest.raises(PolicyError, match="another bundle than its name says"):
        store.load(first.digest)


def test_a_frozen_label_is_never_given_to_other_bytes(folder, tmp_path, write_bundle):
    store = Store(tmp_path / "kept")
    for number in (1, 2):
        write_bundle(folder, number, label="1.0")
        (tmp_path / f"{number}.tar").write_bytes(built(load(folder)))
    store.keep(load(tmp_path / "1.tar"))

    with pytest.raises(PolicyError, match="of `trial` stands for"):
        store.keep(load(tmp_path / "2.tar"))

    store.keep(load(tmp_path / "1.tar"))


def test_a_folder_may_run_under_a_label_again_and_again(folder, tmp_path, write_bundle):
    store = Store(tmp_path / "kept")
    for number in (1, 2):
        write_bundle(folder, number, label="1.0")
        store.keep(load(folder))

    assert len(list((tmp_path / "kept").glob("*.tar"))) == 2


def test_labels_that_somebody_has_edited_stop_the_activation(folder, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "labels.json").write_text('{"trial@1.0": 1}')
    (tmp_path / "one.tar").write_bytes(built(load(folder)))

    with pytest.raises(ConfigError, match=r"labels\.json"):
        Store(tmp_path / "kept").keep(load(tmp_path / "one.tar"))


def test_the_archive_holds_its_manifest_first(folder, tmp_path):
    data = built(load(folder))

    assert data.startswith(MANIFEST.encode())
