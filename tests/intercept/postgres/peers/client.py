"""Drivers of Python through the listener; run by itself, since it brings packages of its own.

Says `ok NAME` or `no NAME: why` for each thing tried. Told by its arguments: a port, and a file of
certificates or nothing for no TLS.
"""

# mypy: ignore-errors
# What it imports is not installed where types are checked.
import asyncio
import io
import ssl
import sys
import threading
from collections.abc import Callable
from decimal import Decimal

import aiopg
import django
import pg8000.dbapi
import pg8000.native
import psycopg2
import psycopg2.extras
from django.conf import settings
from psycopg2 import errors

PORT, CA = int(sys.argv[1]), sys.argv[2]
KEY, ODD = "swk_bot-key", "\u00e9\U0001f600'\\"
OPEN = "SELECT amount FROM finance.expenses WHERE id = %s"
CLOSED = "SELECT salary FROM hr.compensation"
ALL = "SELECT id FROM finance.expenses ORDER BY id"
LONG = "SELECT count(*) FROM " + ", ".join(f"finance.expenses {name}" for name in "abcde")
DSN = f"host=127.0.0.1 port={PORT} user=expense-bot password={KEY} dbname=postgres"
TLS = f" sslmode=verify-full sslrootcert={CA}" if CA else ""


def it(name: str) -> Callable[[Callable[[], None]], None]:
    """Run what stands below, and say how it went."""

    def run(work: Callable[[], None]) -> None:
        said = f"ok {name}"
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is asked for
            said = f"no {name}: {type(error).__name__} {error}"
        sys.stdout.write(" ".join(said.split()) + "\n")

    return run


def refused(work: Callable[[], object], kind: type[Exception] = errors.InsufficientPrivilege):
    try:
        work()
    except kind:
        return
    raise AssertionError(f"not {kind.__name__}")


@it("psycopg2 asks, is refused and goes on")
def _():
    with psycopg2.connect(DSN + TLS) as connection:
        cursor = connection.cursor()
        for number in range(1, 8):
            cursor.execute(OPEN, (number,))
            assert cursor.fetchone() == (number * 10,)
        refused(lambda: cursor.execute(CLOSED))
        refused(lambda: cursor.execute(OPEN, (3,)), errors.InFailedSqlTransaction)
        connection.rollback()
        cursor.execute(OPEN, (3,))
        refused(lambda: cursor.execute("SELECT 1; SELECT 2"))


@it("psycopg2 has transactions of all kinds")
def _():
    connection = psycopg2.connect(DSN + TLS)
    for level in ("SERIALIZABLE", "REPEATABLE READ", "READ COMMITTED"):
        connection.set_session(isolation_level=level, readonly=True, deferrable=True)
        connection.cursor().execute(OPEN, (1,))
        connection.commit()
    connection.set_session(isolation_level="SERIALIZABLE", readonly=None, autocommit=True)
    for is_reading in (True, False):
        connection.set_session(readonly=is_reading, deferrable=is_reading, autocommit=True)
        connection.cursor().execute("SET search_path TO public")
    connection.cursor().execute("DELETE FROM scratch WHERE note = 'nobody'")
    connection.set_client_encoding("UTF8")
    connection.reset()
    connection.close()


@it("psycopg2 reads by cursors")
def _():
    with psycopg2.connect(DSN + TLS) as connection:
        with connection.cursor("some") as some:
            some.itersize = 7
            some.execute(ALL)
            assert len(list(some)) == 100
        with connection.cursor("back", scrollable=True) as back:
            back.execute(ALL)
            back.scroll(50)
            assert back.fetchone() == (51,)
        kept = connection.cursor("kept", withhold=True)
        kept.execute(ALL)
        connection.commit()
        assert len(kept.fetchmany(3)) == 3
        kept.close()


@it("psycopg2 writes many rows")
def _():
    with psycopg2.connect(DSN + TLS) as connection:
        cursor = connection.cursor()
        rows = [("many", number) for number in range(250)]
        into = "INSERT INTO scratch (note, amount) VALUES %s"
        psycopg2.extras.execute_values(cursor, into, rows)
        cursor.executemany("INSERT INTO scratch VALUES (%s, %s)", rows[:10])
        cursor.execute("DELETE FROM scratch WHERE note = 'many'")
        assert cursor.rowcount == 260


@it("psycopg2 copies both ways")
def _():
    with psycopg2.connect(DSN + TLS) as connection:
        cursor, out = connection.cursor(), io.StringIO()
        cursor.copy_expert("COPY finance.expenses TO STDOUT", out)
        assert out.getvalue().count("\n") == 100
        cursor.copy_from(io.StringIO("copied\t1\n"), "scratch")
        lines = io.StringIO("note,amount\ncopied,2\n")
        cursor.copy_expert("COPY scratch (note, amount) FROM STDIN WITH CSV HEADER", lines)
        cursor.execute("DELETE FROM scratch WHERE note = 'copied'")
        assert cursor.rowcount == 2


@it("psycopg2 cancels")
def _():
    connection = psycopg2.connect(DSN + TLS)
    timer = threading.Timer(0.3, connection.cancel)
    timer.start()
    refused(lambda: connection.cursor().execute(LONG), errors.QueryCanceled)
    timer.join()
    connection.close()


@it("psycopg2 keeps types")
def _():
    with psycopg2.connect(DSN + TLS) as connection:
        psycopg2.extras.register_default_jsonb(connection)
        psycopg2.extras.HstoreAdapter.get_oids(connection)
        cursor = connection.cursor()
        values = (ODD, Decimal("1.5"), ["a", "b,\"'"], psycopg2.extras.Json({"a": [1]}), b"\0\xff'")
        into = "INSERT INTO things (name, amount, tags, doc, raw) VALUES (%s, %s, %s, %s, %s)"
        cursor.execute(into, values)
        cursor.execute("SELECT name, amount, tags, doc, raw FROM things WHERE name = %s", (ODD,))
        *found, raw = cursor.fetchone()
        assert [*found, bytes(raw)] == [ODD, Decimal("1.5"), ["a", "b,\"'"], {"a": [1]}, b"\0\xff'"]
        cursor.execute("DELETE FROM things")


@it("psycopg2 is refused what is not for a sidecar")
def _():
    connection = psycopg2.connect(DSN + TLS)
    # A large object is written by FunctionCall.
    refused(lambda: connection.lobject(0, "w"), psycopg2.Error)
    connection.rollback()
    connection.tpc_begin(connection.xid(1, "a", "b"))
    connection.cursor().execute(OPEN, (1,))
    refused(connection.tpc_prepare)
    connection.close()
    walsender = psycopg2.extras.LogicalReplicationConnection
    refused(lambda: walsender(DSN + TLS), psycopg2.OperationalError)


@it("libpq asks in every way that a server may answer")
def _():
    ways = ["require_auth=scram-sha-256", "gssencmode=prefer", "target_session_attrs=read-write"]
    ways += ["target_session_attrs=prefer-standby", "application_name=a keepalives=1"]
    ways += ["options='-c statement_timeout=9s --jit=off'"]
    ways += ["sslnegotiation=direct"] if CA else ["sslmode=allow", "sslmode=prefer"]
    for way in ways:
        psycopg2.connect(f"{DSN}{TLS} {way}").close()


@it("libpq ends where a channel must be bound")
def _():
    way = f"{DSN}{TLS} channel_binding=require"
    refused(lambda: psycopg2.connect(way), psycopg2.OperationalError)


PG8000 = {
    "user": "expense-bot", "password": KEY, "host": "127.0.0.1", "port": PORT,
    "database": "postgres", "ssl_context": ssl.create_default_context(cafile=CA) if CA else None,
}  # fmt: skip


@it("pg8000 asks, writes and copies")
def _():
    connection = pg8000.dbapi.connect(**PG8000)
    cursor = connection.cursor()
    for number in range(1, 6):
        cursor.execute(OPEN, (number,))
        assert cursor.fetchone()[0] == number * 10
    refused(lambda: cursor.execute(CLOSED), pg8000.dbapi.DatabaseError)
    connection.rollback()
    cursor.executemany("INSERT INTO scratch VALUES (%s, %s)", [("pg8000", 1)] * 10)
    cursor.execute("COPY scratch FROM STDIN", stream=io.BytesIO(b"pg8000\t1\n"))
    cursor.execute("DELETE FROM scratch WHERE note = 'pg8000'")
    assert cursor.rowcount == 11
    connection.commit()
    connection.close()


@it("pg8000 prepares")
def _():
    connection = pg8000.native.Connection(**PG8000)
    prepared = connection.prepare("SELECT amount FROM finance.expenses WHERE id = :id")
    assert [int(prepared.run(id=number)[0][0]) for number in (1, 2, 3)] == [10, 20, 30]
    prepared.close()
    connection.close()


@it("aiopg has a pool")
def _():
    async def work():
        async with aiopg.create_pool(DSN + TLS) as pool, pool.acquire() as connection:
            cursor = await connection.cursor()
            await cursor.execute(OPEN, (3,))
            assert await cursor.fetchone() == (30,)
            cursor.close()

    asyncio.run(work())


DATABASE = {
    "ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "expense-bot",
    "PASSWORD": KEY, "HOST": "127.0.0.1", "PORT": PORT,
    "OPTIONS": {"sslmode": "verify-full", "sslrootcert": CA} if CA else {},
}  # fmt: skip
settings.configure(DATABASES={"default": DATABASE}, INSTALLED_APPS=[])
django.setup()

from django.core.management import call_command  # noqa: E402 - only once it is set up
from django.db import connection as site  # noqa: E402
from django.db import models, transaction, utils  # noqa: E402


class Thing(models.Model):
    name = models.TextField()
    flag = models.BooleanField(null=True)

    class Meta:
        app_label, db_table, managed = "x", "things", False


class Widget(models.Model):
    label = models.CharField(max_length=9, db_index=True)

    class Meta:
        app_label, db_table = "x", "widgets"


def within_a_savepoint() -> None:
    with transaction.atomic():
        site.cursor().execute(CLOSED)


@it("Django asks and writes")
def _():
    Thing.objects.bulk_create([Thing(name=str(number)) for number in range(20)])
    Thing.objects.update_or_create(name="one", defaults={"flag": False})
    assert Thing.objects.filter(name__icontains="ON").count() == 1
    assert len(list(Thing.objects.all().iterator(chunk_size=5))) == 21
    with transaction.atomic():
        assert Thing.objects.select_for_update().first() is not None
        refused(within_a_savepoint, utils.ProgrammingError)
        assert Thing.objects.count() == 21
    Thing.objects.all().delete()


@it("Django looks at tables")
def _():
    out = io.StringIO()
    call_command("inspectdb", "things", stdout=out)
    assert "class Things(models.Model)" in out.getvalue(), out.getvalue()


@it("Django makes and drops a table")
def _():
    with site.schema_editor() as editor:
        editor.create_model(Widget)
    with site.schema_editor() as editor:
        editor.delete_model(Widget)
