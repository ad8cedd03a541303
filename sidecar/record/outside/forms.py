"""What a log looks like on the disk: a ledger's folder, or the folder of an export.

Sources: C2SP tlog-tiles; sidecar/record/segments/segment.py, by its description.
"""

import hashlib
import hmac
import importlib
import io
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from sidecar.record.outside.notes import (
    Note,
    Tampered,
    Tree,
    Unusable,
    expect,
    expect_file,
    leaf_hash,
    read_file,
)

SEGMENT = re.compile(r"([0-9]{20})\.seg(\.zst)?\Z")
FRAME_BYTES_MAX = 0xFFFF
BEGINS_BATCH = 1 << 31
# Larger than a segment can be: a small file must not fill the memory.
SEGMENT_BYTES_MAX = 256 * 1024 * 1024
# Forms that hold the records' bytes, which are what is proven, where we can read them.
BYTES = ("tiles", "jsonl")


class Leaf(NamedTuple):
    """One record's hash in the tree, and its bytes where they are at hand."""

    where: str
    hash: bytes
    record: bytes | None


def is_ledger(folder: Path) -> bool:
    """Return whether there are segments in `folder`."""
    return folder.is_dir() and any(SEGMENT.match(path.name) for path in folder.iterdir())


def is_export(folder: Path) -> bool:
    """Return whether there are tiles in `folder`, where an export has them."""
    return (folder / "tile").is_dir()


# --- a ledger's folder ---


def crc32c(data: bytes) -> int:
    """Return the Castagnoli CRC, bit by bit: only what no signature covers is asked for it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def unsealed(path: Path) -> bytes:
    """Return what a sealed segment holds."""
    text = "sealed; needs Python 3.14 or `zstandard`, or `sidecar log export --format tiles`"
    for name, read in (("compression.zstd", with_python), ("zstandard", with_package)):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        try:
            data = read_file(path, SEGMENT_BYTES_MAX)
            expect(is_so=end_of_frame(data) == len(data), text="it is not one frame to its end")
            found = read(module, data)
        except (module.ZstdError, ValueError) as error:
            raise Tampered(f"{path.name}: the sealed segment cannot be read: {error}") from None
        if len(found) > SEGMENT_BYTES_MAX:
            raise Tampered(f"{path.name}: the sealed segment is larger than any")
        return found
    raise Unusable(f"{path.name}: {text}")


def end_of_frame(data: bytes) -> int:
    """Return where the frame ends that `data` begins with, -1 for nowhere (RFC 8878 §3.1.1)."""
    if len(data) < 5 or data[:4] != b"\x28\xb5\x2f\xfd":
        return -1
    said = data[4]
    is_single = said >> 5 & 1
    at = 5 + (1 - is_single) + (0, 1, 2, 4)[said & 3] + (is_single, 2, 4, 8)[said >> 6]
    is_last = 0
    while not is_last:
        if at + 3 > len(data):
            return -1
        block = int.from_bytes(data[at : at + 3], "little")
        is_last = block & 1
        at += 3 + (1 if block >> 1 & 3 == 1 else block >> 3)
    return at + (4 if said >> 2 & 1 else 0)


def with_python(module: ModuleType, data: bytes) -> bytes:
    """Decompress with the standard library (Python 3.14)."""
    said = module.get_frame_info(data).decompressed_size
    reader = module.ZstdDecompressor()
    found = bytes(reader.decompress(data, SEGMENT_BYTES_MAX + 1))
    expect(is_so=said == len(found), text="it is not as long as it says")
    return found


def with_package(module: ModuleType, data: bytes) -> bytes:
    """Decompress with the package `zstandard`."""
    said = module.frame_content_size(data)
    reader = module.ZstdDecompressor().stream_reader(io.BytesIO(data))
    found = bytes(reader.read(SEGMENT_BYTES_MAX + 1))
    expect(is_so=said == len(found), text="it is not as long as it says")
    return found


def ledger(folder: Path, note: Note, tree: Tree) -> Iterator[Leaf]:
    """Yield the leaves of a ledger's folder; of what was pruned, from its tiles."""
    names: dict[int, str] = {}
    for name in sorted((path.name for path in folder.iterdir()), reverse=True):
        if match := SEGMENT.match(name):
            names[int(match[1])] = name
    firsts = sorted(names)
    if firsts and firsts[0]:
        yield from pruned(folder / "tiles", firsts[0])
    for first in firsts:
        if first != tree.size:
            raise Tampered(f"{names[first]}: a segment is missing, the one from {tree.size} on")
        path = folder / names[first]
        is_sealed = path.suffix == ".zst"
        data = unsealed(path) if is_sealed else read_file(path, SEGMENT_BYTES_MAX)
        yield from segment(path.name, data, first, note, tree, is_last=first == firsts[-1])


def pruned(folder: Path, count: int) -> Iterator[Leaf]:
    """Yield the hashes of records that are gone."""
    for number in range(-(-count // 256)):
        path = folder / tile_path(0, number)
        for _, one in zip(range(count - number * 256), hashes_of(path, 256), strict=False):
            yield Leaf(str(path), one, None)


def segment(
    name: str, data: bytes, first: int, note: Note, tree: Tree, *, is_last: bool
) -> Iterator[Leaf]:
    """Yield the leaves of one segment."""
    begin = data[:128].ljust(128, b"\0")
    magic, version, zero, said, _, origin, before = struct.unpack_from("<8sIIQQ32s32s", begin)
    zeros, crc_said = any(begin[96:124]), crc32c(data[:124]).to_bytes(4, "little")
    head = (magic, version, zero or zeros, said, origin, crc_said)
    of_log = hashlib.sha256(note.origin.encode()).digest()
    if head != (b"DOORWLOG", 1, 0, first, of_log, data[124:128]):
        raise Tampered(f"{name}: not the header of a segment of this log")
    if not hmac.compare_digest(before, tree.root()):
        raise Tampered(f"{name}: the segment does not follow the records before it")
    at, offsets = 128, list[int]()
    while at < len(data) and data[at : at + 8] != b"DOORWEND":
        length, crc = struct.unpack_from("<II", data.ljust(at + 8, b"\0"), at)
        crc ^= 0xFFFFFFFF if length & BEGINS_BATCH else 0
        record = data[at + 8 : at + 8 + (length & ~BEGINS_BATCH)]
        is_signed = tree.size < note.size
        if not 2 <= len(record) == length & ~BEGINS_BATCH <= FRAME_BYTES_MAX or not (
            is_signed or crc32c(record) == crc
        ):
            raise Tampered(f"{name}:{at}: record {tree.size}: a record is damaged")
        offsets.append(at)
        at += 8 + len(record)
        yield Leaf(f"{name}:{offsets[-1]}", leaf_hash(record), record)
    if at >= len(data) and not is_last:
        raise Tampered(f"{name}:{at}: the segment has no end")
    if at < len(data):
        places = hashlib.sha256(struct.pack(f"<{len(offsets)}I", *offsets)).digest()
        said_end = struct.pack("<QQ32s32s36x", len(offsets), tree.size, tree.root(), places)
        end = b"DOORWEND" + said_end
        if data[at:] != end + crc32c(end).to_bytes(4, "little"):
            raise Tampered(f"{name}:{at}: the segment's end is not that of its records")


# --- the folder that `sidecar log export` wrote (C2SP tlog-tiles) ---


def tile_path(level: int | str, number: int, width: int = 256) -> str:
    """Return where a tile stands."""
    steps = [f"{number % 1000:03d}"]
    while number := number // 1000:
        steps.append(f"x{number % 1000:03d}")
    partial = f".p/{width}" if width < 256 else ""
    return f"tile/{level}/{'/'.join(reversed(steps))}{partial}"


def hashes_of(path: Path, width: int) -> list[bytes]:
    """Return the hashes of a tile."""
    try:
        data = read_file(path, 32 * 256)
    except OSError:
        raise Tampered(f"{path}: the tile is missing") from None
    if len(data) != 32 * width:
        raise Tampered(f"{path}: not a tile of {width} hashes")
    return [data[at : at + 32] for at in range(0, len(data), 32)]


def exported(folder: Path, note: Note, said: dict[str, Any]) -> Iterator[Leaf]:
    """Yield the leaves of an export, each with its record where that was exported."""
    is_whole = said["complete"] and said["format"] in BYTES
    records = lines(folder / "records.jsonl") if said["format"] == "jsonl" else iter(())
    pending = next(records, None)
    for number in range(-(-note.size // 256)):
        width = min(256, note.size - number * 256)
        tile = hashes_of(folder / tile_path(0, number, width), width)
        entries = bundle(folder, number, width, said)
        for seq, one in enumerate(tile, number * 256):
            record, where = entries.get(seq), tile_path("entries", number, width)
            if record is None and pending is not None and pending[0] == seq:
                record, where = pending[1], f"records.jsonl:{pending[2]}"
                pending = next(records, None)
            if record is None and is_whole and seq >= said["first"]:
                raise Tampered(f"record {seq} is missing from the export")
            if record is not None and not hmac.compare_digest(leaf_hash(record), one):
                raise Tampered(f"{where}: record {seq} is not the one that was signed")
            yield Leaf(where, one, record)
    if pending is not None:
        raise Tampered(f"records.jsonl:{pending[2]}: a record out of its order or never signed")


def manifest(folder: Path) -> dict[str, Any]:
    """Return what the export says of itself, when its files are those that it names."""
    path = folder / "manifest.json"
    if not path.exists():
        return {"format": "tiles", "complete": True, "first": 0}
    try:
        read: dict[str, Any] = json.loads(read_file(path, SEGMENT_BYTES_MAX))
        said = {"format": read["format"], "complete": read["complete"], "first": read["first"]}
        said["files"] = read.get("files", {})
        for name, wanted in said["files"].items():
            expect_file(folder / Path(name).name)
            with (folder / Path(name).name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if not hmac.compare_digest(found, wanted):
                raise Tampered(f"{name}: not the file that the manifest names")
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise Tampered("manifest.json: it or a file that it names cannot be read") from None
    return said


def bundle(folder: Path, number: int, width: int, said: dict[str, Any]) -> dict[int, bytes]:
    """Return the records of an entry bundle by their numbers."""
    if said["format"] != "tiles" or (number + 1) * 256 <= said["first"]:
        return {}
    path = folder / tile_path("entries", number, width)
    found, at = dict[int, bytes](), 0
    try:
        data = read_file(path, 256 * (2 + FRAME_BYTES_MAX))
    except OSError:
        raise Tampered(f"{path}: the entry bundle is missing") from None
    while at < len(data):
        length = int.from_bytes(data[at : at + 2], "big")
        found[number * 256 + len(found)] = data[at + 2 : at + 2 + length]
        at += 2 + length
    if at != len(data) or len(found) != width:
        raise Tampered(f"{path}: not an entry bundle of {width} records")
    return found


def lines(path: Path) -> Iterator[tuple[int, bytes, int]]:
    """Yield number in the log, bytes and line of each exported record."""
    expect_file(path)
    with path.open("rb") as file:
        for line, record in enumerate(iter(lambda: file.readline(FRAME_BYTES_MAX + 2), b""), 1):
            try:
                seq = int(json.loads(record)["log"]["seq"])
            except (ValueError, KeyError, TypeError):
                raise Tampered(f"{path.name}:{line}: not a record") from None
            yield seq, record.removesuffix(b"\n"), line


def upper_tiles(folder: Path, size: int) -> None:
    """Compare the tiles above the lowest level with what stands below them."""
    level = 1
    while count := size >> 8 * level:
        for number in range(-(-count // 256)):
            width = min(256, count - number * 256)
            path = folder / tile_path(level, number, width)
            below = range(number * 256, number * 256 + width)
            wanted = [tile_root(folder / tile_path(level - 1, one)) for one in below]
            if hashes_of(path, width) != wanted:
                raise Tampered(f"{path}: the tile is not that of the records")
        level += 1


def tile_root(path: Path) -> bytes:
    """Return the hash over a full tile."""
    tree = Tree()
    for one in hashes_of(path, 256):
        tree.append(one)
    return tree.root()
