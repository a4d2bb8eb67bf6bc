"""The steps of a schema: numbered plain SQL files in a package, each run in one transaction."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any, LiteralString, TypeVar

import psycopg
from msgspec import Struct
from psycopg import sql
from psycopg.rows import tuple_row

from influxops_postgres.connection.commit import confirmed

S = TypeVar("S")
_Connection = psycopg.Connection[Any]

_EXISTS = sql.SQL(
    "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = {schema} AND c.relname = {table})"
)
_VERSION = sql.SQL("SELECT coalesce(max(version), 0) FROM {table}")
_PREPARE = sql.SQL("""\
SELECT pg_advisory_xact_lock({key});
DO {quote} BEGIN
  IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = {name}) THEN
    CREATE SCHEMA {schema};
  END IF;
END {quote};
SET LOCAL search_path = {schema};
""")


class Migration(Struct, frozen=True):
    """One step of a schema."""

    version: int
    name: str  # what it is about, as its file is called
    text: str  # plain SQL


@functools.cache
def migrations(package: str) -> tuple[Migration, ...]:
    """Return all steps in a package's folder `migrations` (`0001_ledger.sql`), in their order."""
    found = []
    for file in files(package).joinpath("migrations").iterdir():
        number, _, name = file.name.removesuffix(".sql").partition("_")
        if file.name.endswith(".sql"):
            found.append(Migration(int(number), name, file.read_text(encoding="utf-8")))
    return tuple(sorted(found, key=lambda each: each.version))


def dollar_quote(*texts: str) -> sql.SQL:
    """Return a dollar quote that none of the texts has which it is put around."""
    quote: LiteralString = "$influxops$"
    while any(quote in text for text in texts):
        quote = quote[:-1] + "_$"
    return sql.SQL(quote)


def prepare(key: sql.Composable, schema: str) -> sql.Composed:
    """Return what a transaction begins with that makes a missing schema, or upgrades one.

    Args:
        key: Of the advisory lock that all of them wait for.
    """
    name, quoted = sql.Literal(schema), sql.Identifier(schema)
    return _PREPARE.format(key=key, quote=dollar_quote(schema), name=name, schema=quoted)


def has_table(connection: _Connection, schema: str, table: str) -> bool:
    """Return whether a schema has a table, for which no right on either is needed."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_EXISTS.format(schema=schema, table=table)).fetchone()
    return bool(row and row[0])


def version(connection: _Connection, schema: str, table: str) -> int:
    """Return the newest version that a table of migrations records; 0 where there is no table."""
    if not has_table(connection, schema, table):
        return 0
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_VERSION.format(table=sql.Identifier(schema, table))).fetchone()
    assert row is not None, "an aggregate gives one row"
    return int(row[0])


def upgrade(
    connection: _Connection, missing: Callable[[], S | None], run: Callable[[S], object]
) -> Iterator[S]:
    """Run the steps that a schema lacks, each in its own transaction; yield each once committed.

    Each is committed before the next one: a value that a step adds to a type cannot be used in the
    same transaction. `missing` waits for others that upgrade the same schema, by an advisory lock
    of the transaction, and returns the next step, or None; `run` runs and records it. The
    connection is in autocommit mode.
    """
    while True:
        with confirmed(connection):
            step = missing()
            if step is None:
                return
            run(step)
        yield step
