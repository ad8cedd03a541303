"""What a start looks at before it believes a ledger: where that stands, and what is beside it.

A table of persons that is deleted is made anew, and names nobody of before; so is the key of
inputs, under which no digest of before can be compared and no sealed value opened. A sign beside
each key says that there was one, however long ago. What is gone is told, for nothing else would
miss it.
"""

import logging
from pathlib import Path
from typing import Final

from sidecar.record import disk
from sidecar.record.disk import Io
from sidecar.record.inputs.secrets import secrets_path
from sidecar.record.keeping.outside import Outside
from sidecar.record.keeping.told import News
from sidecar.record.persons import persons_paths
from sidecar.record.persons.keyfile import keep_sign, sign_of
from sidecar.record.proof import place
from sidecar.record.proof.identity import Identity
from sidecar.record.segments.segment import segment_names

_log = logging.getLogger("sidecar.ledger")
ABSENT: Final = "ledger.beside_absent"


def looked_around(folder: Path, who: Identity, outside: Outside) -> list[News]:
    """Return what there is to tell of where a ledger stands, and of what is beside it.

    Raises:
        LedgerBroken: It stood elsewhere.
    """
    io, key_file = outside.io, who.key_file
    for path in (key_file, persons_paths(folder.parent)[1], secrets_path(folder.parent)):
        if path.exists():
            # What is half made of a key that is not there yet is being made.
            disk.remove_left(io, path)
    if outside.machine is None:
        return []
    news: list[News] = []
    place.check(io, folder, key_file, outside.machine, is_marked=who.marks is not None)
    if place.known(io, key_file) is None and segment_names(io.names(folder)):
        _log.warning("%s: nobody says where the ledger stood; it stands here from now on", folder)
        news.append((place.UNKNOWN, {}))
    place.keep(io, folder, key_file, outside.machine, outside.random_bytes)
    if gone := _absent(io, folder.parent):
        _log.error("gone from beside the ledger: %s", ", ".join(gone))
        news.append((ABSENT, {"files": gone}))
    return news


def _absent(io: Io, state: Path) -> list[str]:
    """Return which files were beside the ledger and are gone; each is told once."""
    table, key = persons_paths(state)
    inputs = secrets_path(state)
    told: list[str] = []
    for of, files in ((key, (table, key)), (inputs, (inputs,))):
        gone = [path.name for path in files if not path.exists()]
        if not gone:
            # Those of before there were signs have one from now on.
            keep_sign(io, of)
        elif sign_of(of).exists():
            told += gone
            io.unlink(sign_of(of))
    return told
