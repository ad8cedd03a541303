"""Other people's schemas, fetched from where packages come from; never a part of this project.

Where one cannot be had the test that wants it is skipped and says so in a line.
"""

import hashlib
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / ".venv" / "fetched"
_FETCH_S_MAX = 60


def file_of(command: list[str], member: str, sha256: str) -> Path:
    """Return a file out of the archive that `command` writes into the working folder.

    Args:
        command: Run in an empty folder; it leaves one archive there.
        member: How the file's name inside the archive ends.
        sha256: Of the file, in hex: another file is none.
    """
    kept = FOLDER / sha256
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        data = _fetched(command, member)
        if hashlib.sha256(data).hexdigest() != sha256:
            pytest.skip(f"{member} is not the file that is known")
        kept.write_bytes(data)
    return kept


def _fetched(command: list[str], member: str) -> bytes:
    folder = FOLDER / f"{hashlib.sha256(member.encode()).hexdigest()[:8]}.archive"
    folder.mkdir(exist_ok=True)
    try:
        subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=_FETCH_S_MAX)
        (archive,) = folder.glob("*.t*gz")
        with tarfile.open(archive) as tar:
            (name,) = (each for each in tar.getnames() if each.endswith(member))
            found = tar.extractfile(name)
            assert found is not None
            return found.read()
    except (OSError, subprocess.SubprocessError, ValueError, tarfile.TarError):
        pytest.skip(f"{command[0]} could not fetch {member}")


def sarif_schema() -> Path:
    """Return the JSON Schema of SARIF 2.1.0 as Microsoft's matchers for it carry it."""
    return file_of(
        ["npm", "pack", "--ignore-scripts", "@microsoft/jest-sarif@1.0.0-beta.0"],
        "/schemas/sarif-2.1.0-rtm.5.json",
        "2d99159ae54a3eea97f81781cff48780548657c35949f4b7f25e99a2ba4de4f8",
    )


def junit_schema() -> Path:
    """Return the XSD of JUnit reports that Jenkins' xUnit plugin has and pytest tests against."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
    return file_of(
        [*pip, "pytest==9.2.0"],
        "/example_scripts/junit-10.xsd",
        "a1a816f58d1bf95ebabf371994df0b9246dee66ea9572fbec4f9296f1b2c0ff6",
    )
