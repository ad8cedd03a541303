"""What a person at a terminal sees of the database: psql's own output, word for word.

One psql for each statement, so that what it prints and what it complains of keep their order. Where
there is no psql, psycopg asks and its answer is laid out alike; `NAME` says which of the two it is.
"""

import shutil
import subprocess
from dataclasses import dataclass

import psycopg

from examples.postgres_local import binaries

_BUNDLED = binaries()
_PSQL = shutil.which("psql", path=str(_BUNDLED)) or shutil.which("psql")
NAME = "psql" if _PSQL else "psycopg (there is no psql here)"


@dataclass(frozen=True)
class Login:
    """Where somebody logs in, and as whom."""

    port: int
    user: str
    password: str
    database: str = "erp"
    host: str = "127.0.0.1"


@dataclass(frozen=True)
class Said:
    """What came on the terminal; an error of the statement is part of it."""

    text: str
    is_refused: bool


def typed(login: Login, statement: str) -> Said:
    """Return what `statement` prints."""
    return _psql(login, statement) if _PSQL else _psycopg(login, statement)


def _psql(login: Login, statement: str) -> Said:
    assert _PSQL is not None
    asked = [_PSQL, "-X", "-P", "pager=off", "-h", login.host, "-p", str(login.port)]
    asked += ["-U", login.user, "-d", login.database, "-c", statement]
    # Of the reader's own settings (PGSERVICE, ~/.pgpass, ~/.postgresql) none may have a say here.
    clean = {"HOME": "/nonexistent", "LC_ALL": "C", "PGCLIENTENCODING": "UTF8"}
    clean["PGPASSWORD"] = login.password
    done = subprocess.run(asked, env=clean, capture_output=True, text=True, check=False)
    return Said((done.stdout + done.stderr).rstrip(), is_refused=done.returncode != 0)


def _psycopg(login: Login, statement: str) -> Said:
    with psycopg.connect(
        host=login.host, port=login.port, user=login.user, password=login.password,
        dbname=login.database, autocommit=True,
    ) as connection:  # fmt: skip
        try:
            asked = connection.execute(statement.encode())
        except psycopg.Error as error:
            told = error.diag
            parts = {"ERROR": told.message_primary, "DETAIL": told.message_detail}
            text = "\n".join(f"{word}:  {part}" for word, part in parts.items() if part)
            return Said(text, is_refused=True)
        names = [column.name for column in asked.description or ()]
        rows = [tuple(map(str, row)) for row in asked.fetchall()]
        lines = [" " + " | ".join(each) for each in (names, *rows)]
        end = "(1 row)" if len(rows) == 1 else f"({len(rows)} rows)"
        return Said("\n".join([*lines, end]), is_refused=False)
