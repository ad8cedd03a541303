"""The text of the rules that spoke, from the bundle by which it was decided."""

import hmac
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sidecar.policy.archive import unpack
from sidecar.policy.limits import BUNDLE_BYTES_MAX
from sidecar.record import disk
from sidecar.record.audit.beside import BUNDLES
from sidecar.record.disk import DISK
from sidecar.syntax.yaml12 import Document, load_documents
from sidecar.terms.errors import PolicyError, SidecarError


def rule_texts(state: Path, record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and text of each rule that spoke; nothing where the bundle is not at hand."""
    if not record.get("rules"):
        return
    digest = str(record["policy"]["digest"])
    name = f"{digest.removeprefix('sha256:')}.tar"
    path = state / BUNDLES / Path(name).name
    try:
        files, manifest = unpack(name, disk.read_all(DISK, path, BUNDLE_BYTES_MAX))
    except FileNotFoundError:
        return
    except OSError as error:
        yield "bundle", f"NOT AS RECORDED: {disk.why(error)}"
        return
    except PolicyError as error:
        yield "bundle", f"NOT AS RECORDED: {error}"
        return
    if not hmac.compare_digest(manifest.digest.encode(), digest.encode()):
        yield "bundle", "NOT AS RECORDED: another bundle stands under its name"
        return
    texts = dict(_all(files))
    for rule in record["rules"]:
        named = f"{rule['policy']}/{rule['id']}"
        if named in texts:
            yield named, texts[named]


def _all(files: dict[str, bytes]) -> Iterator[tuple[str, str]]:
    """Yield policy/rule and its text for every rule of a bundle."""
    for path, data in files.items():
        if not path.endswith((".yaml", ".yml")):
            continue
        try:
            documents = load_documents(path, data)
        except SidecarError:
            continue
        lines = data.decode("utf-8", "replace").splitlines()
        for document in documents:
            yield from _of(document, lines)


def _of(document: Document, lines: list[str]) -> Iterator[tuple[str, str]]:
    said = document.value
    if not isinstance(said, dict) or said.get("kind") != "Policy":
        return
    policy = said.get("metadata", {}).get("name")
    for number, rule in enumerate(said.get("spec", {}).get("rules", [])):
        place = document.positions.get(("spec", "rules", number))
        if place is not None:
            yield f"{policy}/{rule.get('id')}", _text(lines, *place)


def _text(lines: list[str], line: int, column: int) -> str:
    """Return the node that begins there: the lines that are indented as much as it is."""
    found = [lines[line - 1][column - 1 :]]
    for text in lines[line:]:
        if text.strip() and not text.startswith(" " * (column - 1)):
            break
        found.append(text[column - 1 :])
    return "\n".join(found).rstrip()
