"""What stands in the place of a file and is none, not of its form or size: found, not waited for.

As `test_tamper.py`: each kind with its message and exit code 20, by both verifiers.
"""

import asyncio
import contextlib
import os
import shutil
import socket
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import zstandard

from sidecar.record.ledger import Ledger, ledger_paths
from sidecar.record.outside import verifier
from sidecar.record.proof.place import machine_id
from sidecar.terms.errors import LedgerBroken
from tests.record import sample, tampering
from tests.record.tampering import of_file
from tests.record.test_tamper import World, outside, run, verified, whole, world

pytestmark = pytest.mark.timeout(30)
__all__ = ["whole", "world"]

HUGE = 1 << 40
HERE = sample.settings(machine=machine_id())
NO_FILE = "not a file"
NO_HEADER = "not the header of a segment of this log"
NO_END = "it is not one frame to its end"
NO_NOTE = "not a signed note"
NOT_OURS = "not signed by the key"


def last(state: Path) -> Path:
    return sample.segments(state)[-1]


def sealed(state: Path) -> Path:
    return sample.segments(state)[1]


def checkpoint(state: Path) -> Path:
    return state / "ledger" / "checkpoint"


def first(pattern: str) -> Callable[[Path], Path]:
    return lambda state: min(state.glob(pattern))


tile = first("ledger/tiles/tile/0/000")
snapshot = first("ledger/*322.snap")
bundle = first("bundles/*.tar")
persons = first("persons.table")
objects = first("inputs/*.objects")


def pipe(of: Callable[[Path], Path]) -> Callable[[Path], Any]:
    def tamper(state: Path) -> None:
        path = of(state)
        path.unlink()
        os.mkfifo(path)

    return tamper


def folder(of: Callable[[Path], Path]) -> Callable[[Path], Any]:
    def tamper(state: Path) -> None:
        path = of(state)
        path.unlink()
        path.mkdir()

    return tamper


def link(of: Callable[[Path], Path]) -> Callable[[Path], Any]:
    def tamper(state: Path) -> None:
        path = of(state)
        path.rename(state / "elsewhere")
        path.symlink_to(state / "elsewhere")

    return tamper


def socket_(of: Callable[[Path], Path]) -> Callable[[Path], Any]:
    def tamper(state: Path) -> None:
        path = of(state)
        path.unlink()
        # A name of a socket is short.
        with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(path.parent):
            made.bind(path.name)

    return tamper


def device(of: Callable[[Path], Path]) -> Callable[[Path], Any]:
    def tamper(state: Path) -> None:
        path = of(state)
        path.unlink()
        path.symlink_to("/dev/zero")

    return tamper


def loop(of: Callable[[Path], Path]) -> Callable[[Path], Any]:
    def tamper(state: Path) -> None:
        path = of(state)
        path.unlink()
        path.symlink_to(path.name)

    return tamper


def grown(of: Callable[[Path], Path]) -> Callable[[Path], Any]:
    """Make a file of a terabyte, of which nothing is there."""

    def tamper(state: Path) -> None:
        path = of(state)
        path.chmod(0o600)
        os.truncate(path, HUGE)

    return tamper


def to(of: Callable[[Path], Path], change: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    def tamper(state: Path) -> None:
        path = of(state)
        path.chmod(0o600)
        path.write_bytes(change(path.read_bytes()))

    return tamper


def note(change: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    return of_file("ledger/checkpoint", change)


def size(said: bytes) -> Callable[[Path], Any]:
    return note(lambda text: text.replace(b"\n330\n", b"\n%b\n" % said))


def sealed_as(make: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    def tamper(state: Path) -> None:
        path = sealed(state)
        inside = tampering.inside(path)
        path.chmod(0o600)
        path.write_bytes(make(inside))

    return tamper


def of_another_log(state: Path) -> None:
    other = state.with_name("other")
    asyncio.run(sample.closed(other, 20))
    shutil.copy(sample.segments(other)[0], last(state))


def second_signature(text: bytes) -> bytes:
    """Sign once more under the same name and id, wrongly."""
    line = text.split(b"\n")[-2]
    return text + line[:-12] + b"AAAAAAAAAAA=" + b"\n"


# What is done, what `log verify` says, and what the verifier says where it is another thing.
LOG: dict[str, tuple[Callable[[Path], Any], str, str | None]] = {
    "a pipe for the last segment": (pipe(last), NO_FILE, None),
    "a pipe for a sealed segment": (pipe(sealed), NO_FILE, None),
    "a pipe for the checkpoint": (pipe(checkpoint), NO_FILE, None),
    "a folder for the last segment": (folder(last), "Is a directory", NO_FILE),
    "a folder for a sealed segment": (folder(sealed), "Is a directory", NO_FILE),
    "a folder for the checkpoint": (folder(checkpoint), "Is a directory", NO_FILE),
    "a link for the last segment": (link(last), "symbolic link", NO_FILE),
    "a link for a sealed segment": (link(sealed), "symbolic link", NO_FILE),
    "a link for the checkpoint": (link(checkpoint), "symbolic link", NO_FILE),
    "a socket for the last segment": (socket_(last), "No such device", NO_FILE),
    "a socket for the checkpoint": (socket_(checkpoint), "No such device", NO_FILE),
    "a device for a sealed segment": (device(sealed), "symbolic link", NO_FILE),
    "an endless last segment": (grown(last), "a record is damaged", "larger than any"),
    "an endless sealed segment": (grown(sealed), "cannot be read", "larger than any"),
    "an endless checkpoint": (grown(checkpoint), "it holds more than", "larger than any"),
    "an empty last segment": (to(last, lambda _: b""), NO_HEADER, None),
    "half a header": (to(last, lambda data: data[:60]), NO_HEADER, None),
    "a header alone": (to(last, lambda data: data[:128]), "330 records were signed", None),
    "a record of four gigabytes": (
        to(last, lambda data: data[:128] + b"\xff" * 4 + data[132:]), "a record is damaged", None,
    ),
    "a record of nothing": (
        to(last, lambda data: data[:128] + b"\0" * 4 + data[132:]), "a record is damaged", None,
    ),
    "a segment of another log": (of_another_log, NO_HEADER, None),
    "a sealed segment under an open name": (
        lambda state: shutil.copy(sealed(state), sealed(state).with_suffix("")), NO_HEADER, None,
    ),
    "a sealed segment in two pieces": (
        sealed_as(lambda data: zstandard.compress(data[:500]) + zstandard.compress(data[500:])),
        "the sealed segment cannot be read", None,
    ),
    "something before what is sealed": (
        to(sealed, lambda data: b"\x50\x2a\x4d\x18\4\0\0\0abcd" + data),
        "the sealed segment cannot be read", None,
    ),
    "something behind what is sealed": (
        to(sealed, lambda data: data + b"more"), "the sealed segment cannot be read", None,
    ),
    "a sealed segment without its last byte": (to(sealed, lambda data: data[:-1]), NO_END, None),
    "a sealed segment without its checksum": (to(sealed, lambda data: data[:-4]), NO_END, None),
    "half a sealed segment": (to(sealed, lambda data: data[: len(data) // 2]), NO_END, None),
    "a sealed segment that does not say how long it is": (
        sealed_as(zstandard.ZstdCompressor(write_content_size=False).compress),
        "it does not say how long it is", "it is not as long as it says",
    ),
    "empty frames behind what is sealed": (
        to(sealed, lambda data: data + zstandard.compress(b"") * 1000), NO_END, None,
    ),
    "a frame that is skipped behind it": (
        to(sealed, lambda data: data + b"\x50\x2a\x4d\x18\4\0\0\0abcd"), NO_END, None,
    ),
    "a sealed segment that fills the memory": (
        sealed_as(lambda data: zstandard.compress(data + bytes(1 << 28))),
        "a record is damaged", "it is not as long as it says",
    ),
    "a segment of the highest number": (
        lambda state: (state / "ledger" / f"{'9' * 20}.seg").write_bytes(b"x"),
        "the segment has no end", None,
    ),
    "a checkpoint of nothing": (note(lambda _: b""), NO_NOTE, None),
    "a checkpoint with lines as elsewhere": (
        note(lambda text: text.replace(b"\n", b"\r\n")), NO_NOTE, None,
    ),
    "something behind the checkpoint": (note(lambda text: text + b"x"), NO_NOTE, None),
    "an empty line behind the checkpoint": (note(lambda text: text + b"\n"), NO_NOTE, None),
    "a mark before the checkpoint": (
        note(lambda text: b"\xef\xbb\xbf" + text), NOT_OURS, "not of this log",
    ),
    "a checkpoint that is no text": (note(lambda text: b"\xff" + text), NO_NOTE, None),
    "a checkpoint with a zero in its name": (
        note(lambda text: text.replace(b"test/", b"te\0t/")), "malformed signature", NO_NOTE,
    ),
    "a checkpoint of a name that looks like ours": (
        note(lambda text: text.replace(b"test/", "t\u0435st/".encode())),
        NOT_OURS, "not of this log",
    ),
    "a line more in the checkpoint": (
        note(lambda text: text.replace(b"=\n\n", b"=\nmore\n\n")), NOT_OURS, None,
    ),
    "a second signature of the key that is wrong": (note(second_signature), NOT_OURS, None),
    "a checkpoint of no records": (size(b"0"), NOT_OURS, "the first 0 records are not those"),
    "a size with a sign": (size(b"+330"), NOT_OURS, NO_NOTE),
    "a size with a zero before": (size(b"0330"), NOT_OURS, NO_NOTE),
    "a size in other digits": (size("\u0663\u0663\u0660".encode()), NOT_OURS, NO_NOTE),
    "a size of many digits": (size(b"9" * 5000), NOT_OURS, NO_NOTE),
}  # fmt: skip

# The verifier that is handed out does not look at these.
BESIDE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a pipe for a tile": (pipe(tile), "not a tile of 256 hashes"),
    "a folder for a tile": (folder(tile), "not a tile of 256 hashes"),
    "a tile that is too short": (to(tile, lambda data: data[:-32]), "not a tile of 256 hashes"),
    "a tile that is too long": (to(tile, lambda data: data + bytes(32)), "not a tile of 256"),
    "an endless tile": (grown(tile), "not a tile of 256 hashes"),
    "a pipe for a snapshot": (pipe(snapshot), "the snapshot cannot be read: not a file"),
    "an endless snapshot": (grown(snapshot), "the snapshot cannot be read: it holds more"),
    "a pipe for the persons": (pipe(persons), "the table of persons was changed"),
    "endless persons": (grown(persons), "the table of persons was changed"),
    "a pipe for a bundle": (pipe(bundle), "cannot be read: not a file"),
    "an endless bundle": (grown(bundle), "cannot be read: it holds more"),
    "a pipe for side objects": (pipe(objects), NO_FILE),
}

HARMLESS: dict[str, Callable[[Path], Any]] = {
    "a sealed segment sealed anew": sealed_as(zstandard.compress),
    "another name of a segment": lambda state: (state / "more").hardlink_to(last(state)),
    "a tile that is absent": lambda state: tile(state).unlink(),
    "a tile of records to come": lambda state: tile(state).with_name("009").write_bytes(b"x"),
    "signatures of twenty others": note(
        lambda text: (
            text + b"".join(b"\xe2\x80\x94 w%d.example %b\n" % (n, b"A" * 92) for n in range(20))
        )
    ),
    "side objects that go on for ever": grown(objects),
    "files of other names": lambda state: (state / "ledger" / "x\u202e\n.seg").write_bytes(b""),
    "a segment in digits of another script": lambda state: (
        state / "ledger" / ("\u0660" * 20 + ".seg")
    ).write_bytes(b""),
}


@pytest.mark.parametrize("kind", LOG)
def test_it_is_found_by_both(world: World, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    tamper, says, to_others = LOG[kind]
    tamper(world.state)

    shown = verified(world)
    judged = verifier.main(["--key", world.key, str(world.ledger)])

    assert shown.exit_code == judged == 20
    assert says in shown.stderr
    assert (to_others or says) in capsys.readouterr().err


@pytest.mark.parametrize("kind", BESIDE)
def test_it_is_found_beside(world: World, kind: str) -> None:
    tamper, says = BESIDE[kind]
    tamper(world.state)

    shown = verified(world)

    assert shown.exit_code == 20
    assert says in shown.stderr
    assert verifier.main(["--key", world.key, str(world.ledger)]) == 0


@pytest.mark.parametrize("kind", HARMLESS)
def test_it_changes_nothing(world: World, kind: str) -> None:
    HARMLESS[kind](world.state)

    assert verified(world).exit_code == 0
    assert verifier.main(["--key", world.key, str(world.ledger)]) == 0


def test_the_one_file_waits_for_nothing_either(world: World) -> None:
    pipe(last)(world.state)

    judged = outside(world, world.ledger)

    assert judged.returncode == 20
    assert "Traceback" not in judged.stderr


@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "grown"])
def test_a_start_refuses_what_is_no_segment(world: World, kind: str) -> None:
    sample.stands(world.state)
    {"pipe": pipe, "folder": folder, "link": link, "grown": grown}[kind](last)(world.state)

    with pytest.raises(LedgerBroken):
        Ledger.open(*ledger_paths(world.state), sample.settings())


KEYS = ("ledger.key", "ledger.origin", "ledger.signed", "ledger.marks", "ledger.place")


@pytest.mark.parametrize(
    ("name", "how"),
    # Text behind a key in PEM form is a remark.
    [*product(KEYS, ("pipe", "link", "empty")), *product(KEYS[1:], ("long",))],
)
def test_a_start_refuses_what_is_not_as_it_was_beside_the_key(
    world: World, name: str, how: str
) -> None:
    sample.stands(world.state)
    path = first(f"keys/{name}")
    does = {"empty": to(path, lambda _: b""), "long": to(path, lambda data: data + b"x" * 50)}
    {"pipe": pipe(path), "link": link(path), **does}[how](world.state)

    with pytest.raises(LedgerBroken):
        Ledger.open(*ledger_paths(world.state), HERE)


ODD = {
    "pipe": pipe, "socket": socket_, "folder": folder, "device": device, "loop": loop,
    "grown": grown, "not UTF-8": lambda of: to(of, lambda data: b"\xff" + data),
}  # fmt: skip


@pytest.mark.parametrize(("name", "how"), [*product(KEYS[:4], ODD)])
def test_whoever_reads_what_is_beside_the_key_says_what_is_wrong(
    world: World, name: str, how: str
) -> None:
    sample.stands(world.state)
    ODD[how](first(f"keys/{name}"))(world.state)

    shown = run("verify", "--state", world.state)

    # Text before a key in PEM form is a remark.
    is_remark = (name, how) == ("ledger.key", "not UTF-8")
    assert isinstance(shown.exception, LedgerBroken) is not is_remark
    assert is_remark or f"keys/{name}" in str(shown.exception)
    if not is_remark:
        with pytest.raises(LedgerBroken, match=rf"keys/{name}: .*[^:]\Z"):
            Ledger.open(*ledger_paths(world.state), HERE)


@pytest.mark.parametrize("of", [last, sealed])
@pytest.mark.parametrize("how", ["pipe", "socket", "folder", "device", "loop"])
def test_an_export_names_what_is_no_segment(
    world: World, tmp_path: Path, of: Callable[[Path], Path], how: str
) -> None:
    name = of(world.state).name
    ODD[how](of)(world.state)

    shown = run("export", "--state", world.state, "--out", tmp_path / "out")

    # Which ends the command with 20.
    assert isinstance(shown.exception, LedgerBroken)
    assert name in str(shown.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("how", ["pipe", "folder", "device", "loop", "grown"])
def test_an_index_that_is_no_file_is_made_anew_or_done_without(world: World, how: str) -> None:
    assert run("show", "id-0", "--state", world.state).exit_code == 0
    ODD[how](first("ledger/index.db"))(world.state)

    assert run("show", "id-0", "--state", world.state).exit_code == 0


@pytest.mark.parametrize("name", KEYS[:4])
def test_a_start_refuses_what_others_may_write_beside_the_key(world: World, name: str) -> None:
    sample.stands(world.state)
    first(f"keys/{name}")(world.state).chmod(0o666)

    with pytest.raises(LedgerBroken):
        Ledger.open(*ledger_paths(world.state), HERE)


def test_a_start_refuses_another_file_of_its_last_start(world: World) -> None:
    sample.stands(world.state)
    start = first("keys/*.start")(world.state)
    start.rename(start.with_name("kept"))
    start.write_bytes(b"")

    with pytest.raises(LedgerBroken):
        Ledger.open(*ledger_paths(world.state), HERE)


@pytest.mark.parametrize(
    ("extra", "code"),
    [("AAAA", 0), ("", 0), ("!!", 20), ("AAA", 20), ("AAAA ", 20), ("AAB=", 20), ("AA\nAA", 20)],
)
def test_what_a_receipt_says_beside_is_base64_or_it_is_none(
    world: World, tmp_path: Path, extra: str, code: int
) -> None:
    made = run("prove", "id-0", "--state", world.state, "-o", tmp_path)
    assert made.exit_code == 0
    (receipt,) = tmp_path.glob("*.tlog-proof")
    (record,) = tmp_path.glob("*.json")
    receipt.write_text(receipt.read_text().replace("index ", f"extra {extra}\nindex ", 1))

    told = ["--receipt", str(receipt), "--record", str(record)]

    assert verifier.main(["--key", world.key, *told]) == code


def test_a_record_without_an_end_is_no_record(world: World, tmp_path: Path) -> None:
    assert run("prove", "id-0", "--state", world.state, "-o", tmp_path).exit_code == 0
    (receipt,) = tmp_path.glob("*.tlog-proof")
    record = tmp_path / "endless"
    record.touch()
    os.truncate(record, HUGE)

    shown = run("prove", "--check", receipt, "--record", record, "--key", world.key)

    assert shown.exit_code == 20
    assert "larger than any such file is" in shown.stderr
