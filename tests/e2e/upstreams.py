"""What stands behind the proxies of a sidecar: an API that counts, a database; a site with both."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from examples.postgres_local import LocalPostgres
from tests.e2e.harness import Site

PASSWORD = "erp-secret"


class Api:
    """An upstream that counts what reaches it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.port = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Api"]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Who calls may be killed.
        with suppress(ConnectionError):
            while line := await reader.readline():
                self.seen.append(line.decode().split(" ")[1])
                while (await reader.readline()).strip():
                    pass
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()


def erp_role(database: LocalPostgres) -> LocalPostgres:
    """Give the database what the sidecar logs in as, once."""
    database.psql(
        f"CREATE ROLE erp LOGIN PASSWORD '{PASSWORD}'; CREATE TABLE notes(note text);"
        "GRANT ALL ON notes TO erp"
    )
    return database


def site_with_doors(folder: Path, database: LocalPostgres, api: Api) -> Site:
    secret = folder / "erp.password"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    credential = {"user": "erp", "password": {"file": "erp.password"}}
    url = f"postgres://127.0.0.1:{database.port}/postgres"
    erp = {"name": "erp", "protocol": "postgres", "bind": "127.0.0.1:0"}
    front = {"name": "api", "protocol": "http", "bind": "127.0.0.1:0"}
    return Site.made(
        folder,
        [
            {**front, "upstream": {"url": f"http://127.0.0.1:{api.port}"}},
            {**erp, "upstream": {"url": url, "credential": credential}},
        ],
    )
