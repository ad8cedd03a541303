"""A site in front of a real database with one table, `things`, and a login to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from examples.postgres_local import LocalPostgres
from sidecar.syntax.yaml12 import dump, load_documents
from tests.bench.postgres import PASSWORD
from tests.e2e.harness import BUNDLE, Sidecar, Site, short_folder

_CATALOGUE = "catalog/erp.yaml"
_KNOWN = ("notes: {columns: [note]}", "things: {columns: [id, value]}")


@contextmanager
def site_of_things(
    server: LocalPostgres, upstream: dict[str, Any] | None = None, **config: Any
) -> Iterator[Site]:
    """Make a site with a listener `db` before `server`; its words beside those that it needs."""
    reached = {
        "url": f"postgres://127.0.0.1:{server.port}/postgres",
        "name": "erp",
        "credential": {"user": "bench", "password": {"file": "secret"}},
        **(upstream or {}),
    }
    listener = {"name": "db", "protocol": "postgres", "bind": "127.0.0.1:0", "upstream": reached}
    with short_folder() as folder:
        (folder / "secret").write_text(PASSWORD)
        site = Site.made(folder, [listener])
        (found,) = load_documents(site.config.name, site.config.read_bytes())
        site.config.write_text(dump({**found.value, **config}))
        site.put(_CATALOGUE, BUNDLE[_CATALOGUE].replace(*_KNOWN))
        yield site


def login(site: Site, sidecar: Sidecar) -> str:
    """Return what a client of libpq is told to get in."""
    return (
        f"host=127.0.0.1 port={sidecar.port('db')} user=client password={site.key} dbname=postgres"
    )
