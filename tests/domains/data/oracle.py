"""Asks a real PostgreSQL which columns it checks for each statement, without executing any.

    make oracle SCHEMA=schema.sql STATEMENTS=statements.sql > cases.jsonl

`debug_print_parse` shows the analysed tree of `PREPARE name AS statement`: each relation with the
privileges and the columns of it that are checked (RTEPermissionInfo, PostgreSQL 16 and later).
A line of the answer is a case of the conformance data: what is read and written, and the
catalogue that it was resolved against.
"""

import contextlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg

from examples.postgres_local import LocalPostgres

# Attribute numbers are stored from the lowest system column on; 0 is the whole row.
_LOWEST = -7
_SYSTEM = {-1: "ctid", -2: "xmin", -3: "cmin", -4: "xmax", -5: "cmax", -6: "tableoid"}
_WRITES = 1 | 4 | 8
_PERMISSION = re.compile(
    r"\{RTEPERMISSIONINFO :relid (\d+) :inh \w+ :requiredPerms (\d+) :checkAsUser \d+ "
    r":selectedCols \(b([ \d]*)\) :insertedCols \(b([ \d]*)\) :updatedCols \(b([ \d]*)\)\}"
)
_COLUMNS = """
select c.oid::int8, n.nspname || '.' || c.relname, array_agg(a.attname::text order by a.attnum),
       array_agg(a.attnum::int order by a.attnum)
from pg_class c join pg_namespace n on n.oid = relnamespace
left join pg_attribute a on attrelid = c.oid and attnum > 0 and not attisdropped
where c.relkind in ('r', 'v', 'm', 'p', 'f', 'S', 't') group by 1, 2
"""

Case = dict[str, Any]


class Oracle:
    """A connection that says what PostgreSQL checks."""

    def __init__(self, server: LocalPostgres, schema: str) -> None:
        self._connection = psycopg.connect(
            host=server.host, port=server.port, user=server.superuser, password=server.password,
            dbname="postgres", autocommit=True, prepare_threshold=None,
        )  # fmt: skip
        self._connection.execute(schema.encode())
        self._trees: list[str] = []
        self._connection.add_notice_handler(self._heard)
        self._connection.execute("set debug_pretty_print = off")
        self._connection.execute("set client_min_messages = log")
        self._connection.execute("set debug_print_parse = on")
        self.refresh()

    def refresh(self) -> None:
        """Learn the relations anew, after a change of them."""
        found = self._connection.execute(_COLUMNS).fetchall()
        self._relations = {
            row[0]: (row[1], dict(zip(row[3], row[2], strict=True))) for row in found
        }
        path = self._connection.execute("select current_schemas(true)").fetchone()
        assert path is not None
        self.path: list[str] = path[0]

    @property
    def catalog(self) -> dict[str, list[str]]:
        """Return `schema.table` → columns, without PostgreSQL's own."""
        return {
            name: list(columns.values())
            for name, columns in self._relations.values()
            if name.partition(".")[0] not in ("pg_catalog", "pg_toast", "information_schema")
        }

    def _heard(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.message_primary == "parse tree:":
            self._trees.append(" ".join((diagnostic.message_detail or "").split()))

    def ask(self, statement: str) -> Case | None:
        """Return what is read and written, None for what PostgreSQL refuses or is no query."""
        with contextlib.suppress(psycopg.Error):
            self._connection.execute("deallocate asked")
        self._trees.clear()
        with contextlib.suppress(psycopg.Error):
            # Why binary: sent so, a text of two statements is refused; else the second would run,
            # and the tree of one alone would be seen.
            self._connection.execute(b"prepare asked as " + statement.encode(), binary=True)
        # The tree of PREPARE itself comes first.
        tree = self._trees[-1] if len(self._trees) > 1 else ""
        if not tree or "{QUERY :commandType 6" in tree:
            return None
        return self._case(statement, tree)

    def _case(self, statement: str, tree: str) -> Case:
        read: dict[str, set[str]] = {}
        write: dict[str, set[str]] = {}
        used: dict[str, list[str]] = {}
        for oid, perms, *columns in _PERMISSION.findall(tree):
            name, known = self._relations[int(oid)]
            used[name] = list(known.values())
            selected, inserted, updated = (_names(text, known) for text in columns)
            read.setdefault(name, set()).update(selected)
            if int(perms) & _WRITES:
                write.setdefault(name, set()).update(inserted | updated)
        return {
            "sql": statement,
            "path": self.path,
            "catalog": used,
            "read": {name: sorted(columns) for name, columns in read.items()},
            "write": {name: sorted(columns) for name, columns in write.items()},
        }

    def close(self) -> None:
        """Leave."""
        self._connection.close()


def _names(bits: str, known: dict[int, str]) -> set[str]:
    named = {0: "*", **_SYSTEM, **known}
    return {named[int(bit) + _LOWEST] for bit in bits.split()}


@contextlib.contextmanager
def oracle(schema: str) -> Iterator[Oracle]:
    """Start a PostgreSQL with `schema`, and end it."""
    with LocalPostgres() as server:
        asked = Oracle(server, schema)
        try:
            yield asked
        finally:
            asked.close()


def statements(text: str) -> list[str]:
    """Return the statements of a file: each ends with a semicolon at the end of its line."""
    return [part.strip() for part in re.split(r";[ \t]*(?:\n|\Z)", text) if part.strip()]


def main(arguments: Sequence[str]) -> None:
    """Write a case a line for the statements of a file."""
    try:
        schema, asked = (Path(name).read_text("utf-8") for name in arguments)
    except (OSError, ValueError) as error:
        sys.exit(f"usage: make oracle SCHEMA=schema.sql STATEMENTS=statements.sql ({error})")
    with oracle(schema) as found:
        for at, statement in enumerate(statements(asked)):
            case = found.ask(statement)
            told = case if case is not None else {"sql": statement, "refused": True}
            sys.stdout.write(json.dumps({"id": f"own-{at}", **told}) + "\n")


__all__ = ["Case", "Oracle", "main", "oracle", "statements"]

if __name__ == "__main__":
    main(sys.argv[1:])
