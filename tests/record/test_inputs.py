"""The side store: durable before the record, found by digest, and erased for good."""

import errno
from functools import partial

import pytest

from sidecar.record.inputs import Inputs, Secrets, inputs_path, secrets_path
from sidecar.record.inputs.secrets import side_object
from sidecar.terms.errors import LedgerBroken, RecordError
from tests.record.faulty import FaultyDisk

ONE, TWO, THREE = (side_object(text * 100) for text in (b"one", b"two", b"three"))


def test_an_object_is_found_by_its_digest_by_anybody_with_the_folder(tmp_path):
    Inputs(inputs_path(tmp_path)).put([ONE, TWO])

    other = Inputs(inputs_path(tmp_path))

    assert other.get(ONE.digest) == ONE.data
    assert other.get(TWO.digest) == TWO.data
    assert other.get(THREE.digest) is None


def test_every_life_of_a_writer_has_a_file_of_its_own(tmp_path):
    for one in (ONE, TWO):
        Inputs(inputs_path(tmp_path)).put([one])

    assert len(list(inputs_path(tmp_path).iterdir())) == 2
    assert {f.stat().st_mode & 0o777 for f in inputs_path(tmp_path).iterdir()} == {0o600}


def test_what_is_erased_is_in_no_file_and_the_rest_is_where_it_was(tmp_path):
    store = Inputs(inputs_path(tmp_path))
    store.put([ONE, TWO])
    store.put([THREE])

    assert store.erase([TWO.digest, side_object(b"absent").digest]) == 1

    assert [store.get(one.digest) for one in (ONE, TWO, THREE)] == [ONE.data, None, THREE.data]
    assert all(b"two" not in f.read_bytes() for f in inputs_path(tmp_path).iterdir())
    store.put([TWO])
    assert store.get(TWO.digest) == TWO.data


def test_a_file_of_nothing_else_is_removed(tmp_path):
    store = Inputs(inputs_path(tmp_path))
    store.put([ONE])

    assert store.erase([ONE.digest]) == 1
    assert list(inputs_path(tmp_path).iterdir()) == []


@pytest.mark.parametrize("length", [1, 20, 35, 36, 37, 300])
def test_an_object_that_was_cut_ends_its_file_and_nothing_else(tmp_path, length):
    Inputs(inputs_path(tmp_path)).put([ONE, TWO])
    (file,) = inputs_path(tmp_path).iterdir()
    file.write_bytes(file.read_bytes()[:-length])

    store = Inputs(inputs_path(tmp_path))
    store.put([THREE])

    assert [store.get(one.digest) for one in (ONE, TWO, THREE)] == [ONE.data, None, THREE.data]


def test_an_object_that_was_changed_is_not_that_object(tmp_path):
    Inputs(inputs_path(tmp_path)).put([ONE])
    (file,) = inputs_path(tmp_path).iterdir()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)

    assert Inputs(inputs_path(tmp_path)).get(ONE.digest) is None


def fails_once(which: int, number: int, _name: str) -> int:
    return errno.ENOSPC if number == which else 0


def test_whatever_call_to_the_disk_fails_what_was_said_to_be_durable_is_there(tmp_path):
    for number in range(1, 100):
        folder = tmp_path / str(number)
        store = Inputs(folder, FaultyDisk(partial(fails_once, number)))
        durable, did_fail = [], False
        for one in (ONE, TWO, THREE):
            try:
                store.put([one])
            except RecordError:
                did_fail = True
            else:
                durable.append(one)
        assert all(Inputs(folder).get(one.digest) == one.data for one in durable)
        if not did_fail:
            return
    pytest.fail("the session makes more calls than were failed")


def test_the_key_is_made_once_and_kept(tmp_path):
    path = secrets_path(tmp_path)

    one, other = Secrets.open(path), Secrets.open(path)

    assert one.digest(b"x") == other.digest(b"x")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(LedgerBroken, match="others may read"):
        Secrets.open(path)


def test_the_digest_is_hmac_sha256():
    import hashlib
    import hmac

    secrets = Secrets(bytes(32))
    key = hmac.digest(bytes(32), b"digest", "sha256")

    expected = hmac.new(key, b"text", hashlib.sha256).hexdigest()

    assert secrets.digest(b"text") == f"hmac-sha256:{expected}"


def test_a_seal_is_of_one_record_and_one_key():
    secrets = Secrets.passing()
    sealed = secrets.seal("id-1", b"secret")

    assert secrets.unseal("id-1", sealed.data) == b"secret"
    assert secrets.unseal("id-2", sealed.data) is None
    assert Secrets.passing().unseal("id-1", sealed.data) is None
    assert secrets.unseal("id-1", b"") is None
    assert b"secret" not in sealed.data
    assert secrets.seal("id-1", b"secret").digest != sealed.digest
