"""Compares the catalogue in force with the database, for as long as the sidecar serves it.

A column that the database has and the catalogue has not would leave through `*` without a label.
So what differs goes with every call of that listener, and the parser refuses what would take it
along (`catalogue.drift`). Until the first comparison nothing is known; a database that cannot be
asked keeps what was last known of it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from sidecar.domains.data.catalogue import DataCatalogue, Relations
from sidecar.domains.data.catalogue.owned import OwnType, drift_name
from sidecar.domains.data.catalogue.types import is_type
from sidecar.runtime.catalog.fresh import definition
from sidecar.runtime.catalog.read import Database, Login, connected, read_database, read_state
from sidecar.runtime.catalog.types import OwnType as Now
from sidecar.runtime.catalog.write import visible
from sidecar.terms.call import Json
from sidecar.terms.domain import Catalogue
from sidecar.terms.errors import SidecarError

_log = logging.getLogger("sidecar.catalogue")
# How soon a new catalogue is compared with the database as it was read last.
LOOK_S: Final = 1.0
# As many names as a line or a record can hold.
TOLD_MAX: Final = 16
EVERYTHING: Final = "*"

Drift = dict[str, Json]
# Told of an upstream, its drift, and whether that is another than was told before; returns whether
# that is on record.
Tell = Callable[[str, Drift, bool], Awaitable[bool]]


def relations_for(catalogues: Mapping[str, Catalogue], upstream: str) -> Relations:
    """Return what statements for `upstream` are resolved against, of a bundle's catalogues."""
    catalogue = catalogues["data"]
    assert isinstance(catalogue, DataCatalogue)
    return catalogue.relations(upstream)


def drift_of(database: Database, relations: Relations) -> Drift:
    """Return where a database differs: relation → columns that the catalogue has not; `*` is all.

    What the catalogue does not list is refused anyway. A column that is gone moves those behind it,
    so what goes by place means others. One of another type is one that the catalogue has not: masks
    and checks go by the type.
    """
    found: Drift = {}
    for key, table in relations.tables.items():
        now = database.relations.get((key.schema, key.table))
        if now is None:
            continue
        is_other = now.query is not None and bool(table.definition)
        if is_other and definition(now.query or "") != table.definition:
            found[key.id] = [EVERYTHING]
            continue
        kept = [name for name in table.columns if name in now.columns]
        other = [name for name in kept if not is_type(table.types.get(name), now.columns[name])]
        if list(now.columns) != list(table.columns) or other:
            found[key.id] = sorted({*(now.columns.keys() - table.columns.keys()), *other})
    return found | _types_drift(database, relations)


def _types_drift(database: Database, relations: Relations) -> Drift:
    """Return the types of the database's own that are no longer as the catalogue says.

    What nothing is cast to, and of which no field is read, is not compared.
    """
    return {
        drift_name(key): [EVERYTHING]
        for key, own in relations.types.items()
        if not own.is_unread
        and (own.kind == "enum" or own.base or own.fields)
        and _is_other(own, database.types.get(key))
    }


def _is_other(own: OwnType, now: Now | None) -> bool:
    """Return whether a type has become another one, or runs more when a value of it is made."""
    if now is None or now.runs_own or now.kind != own.kind:
        return True
    has_more = bool(now.checks) and now.checks != own.checks
    is_made_of_other = own.base != now.base or list(own.fields.items()) != list(now.fields.items())
    return has_more or (own.kind != "enum" and is_made_of_other)


class Watched(msgspec.Struct, frozen=True):
    """One database that is served.

    Args:
        upstream: As resources carry it.
        login: As whom it is asked.
        every_s: How often.
    """

    upstream: str
    login: Login
    every_s: float


class Watch:
    """Keeps the drift of one database; `found` is what calls carry."""

    def __init__(self, watched: Watched, relations: Callable[[], Relations], tell: Tell) -> None:
        self._watched = watched
        self._relations = relations
        self._tell = tell
        self._database: Database | None = None
        self._state = ""
        self._compared = ""
        self._failed = False
        self._told: Drift = {}
        self.found: Drift = {}

    async def run(self) -> None:
        """Compare at once and every so often, and whenever the catalogue is another one."""
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        while True:
            if loop.time() >= next_s:
                next_s = loop.time() + self._watched.every_s
                await self._ask()
            await self.compare()
            await asyncio.sleep(min(LOOK_S, self._watched.every_s))

    async def _ask(self) -> None:
        try:
            async with connected(self._watched.login) as connection:
                state = await read_state(connection)
                if state != self._state:
                    self._database = await read_database(connection)
                    self._state, self._compared = state, ""
        except SidecarError as error:
            if not self._failed:
                _log.warning("upstream `%s`: drift is not known: %s", self._watched.upstream, error)
            self._failed = True
        else:
            self._failed = False

    async def compare(self) -> None:
        """Compare what was read last with the catalogue in force, and tell what is not told yet."""
        relations = self._relations()
        if self._database is None:
            return
        if self._compared != relations.identity:
            self._compared = relations.identity
            found = drift_of(self._database, relations)
            has_changed, self.found = found != self.found, found
            if has_changed:
                self._say(found)
        elif self.found == self._told:
            return
        # What is found goes with calls at once; a ledger that refuses is asked again the next time.
        told = self.found
        if await self._tell(self._watched.upstream, told, told != self._told):
            self._told = told

    def _say(self, found: Drift) -> None:
        # Whoever may create a table says what it is called.
        named = visible(", ".join(sorted(found)[:TOLD_MAX]))
        if found:
            text = "upstream `%s`: %d relations are not as the catalogue says: %s"
            _log.warning(text, self._watched.upstream, len(found), named)
        else:
            _log.info("upstream `%s` is as the catalogue says", self._watched.upstream)


class Watches:
    """The databases that one process serves."""

    def __init__(self, relations: Callable[[str], Relations], tell: Tell) -> None:
        self._relations = relations
        self._tell = tell
        self._watches: list[Watch] = []

    def add(self, watched: Watched) -> Callable[[], Drift]:
        """Watch a database from `run` on; return what says how it differs."""
        watch = Watch(watched, lambda: self._relations(watched.upstream), self._tell)
        self._watches.append(watch)
        return lambda: watch.found

    async def run(self) -> None:
        """Compare for ever."""
        await asyncio.gather(*(watch.run() for watch in self._watches))
