"""The ledger's schema: numbered plain SQL files, each run in one transaction.

A file names its tables without their schema; what is run before it says which schema that is. The
advisory lock is the transaction's, so that this works through a pooler, and each transaction looks
at the version again once it has it: two installations at once do no harm.
"""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from influxops_postgres.connection import migrations
from influxops_postgres.connection.advisory_locks import key_of
from influxops_postgres.connection.connection import Connection
from influxops_postgres.connection.migrations import Migration

_LOCKED = sql.SQL("LOCK TABLE migrations IN ACCESS EXCLUSIVE MODE;\n")
_DONE = sql.SQL("INSERT INTO migrations (version, name) VALUES ({version}, {name});\n")


def steps() -> tuple[Migration, ...]:
    """Return the steps of the schema, in their order."""
    return migrations.migrations("influxops_postgres.ledger")


def newest() -> int:
    """Return the version of the schema that this program works with."""
    return steps()[-1].version


def script(schema: str, after: int = 0) -> str:
    """Return all that installing runs after a version (0 for none), as a script for psql."""
    parts = (
        f"-- {each.version}: {each.name}\nBEGIN;\n{_text(each, schema)}COMMIT;\n"
        for each in steps()
        if each.version > after
    )
    return "\n".join(parts)


def version(connection: Connection, schema: str) -> int:
    """Return the version of the schema that is there; 0 where there is none."""
    return migrations.version(connection, schema, "migrations")


def install(connection: Connection, schema: str) -> Iterator[Migration]:
    """Run what is missing, each step in a transaction of its own, and yield each that is done."""
    lock = sql.SQL("SELECT pg_advisory_xact_lock({})").format(lock_key(schema))

    def missing() -> Migration | None:
        connection.execute(lock)
        installed = version(connection, schema)
        return next((each for each in steps() if each.version > installed), None)

    def run(step: Migration) -> None:
        connection.execute(_text(step, schema).encode())

    return migrations.upgrade(connection, missing, run)


def lock_key(schema: str) -> int:
    """Return the key of the lock that installations of one schema take."""
    return key_of("install", schema)


def _text(migration: Migration, schema: str) -> str:
    """Return what one step runs between BEGIN and COMMIT."""
    prepare = migrations.prepare(sql.SQL(str(lock_key(schema))), schema).as_string()
    lock = _LOCKED.as_string() if migration.version > 1 else ""
    done = _DONE.format(version=migration.version, name=migration.name).as_string()
    return f"{prepare}{lock}\n{migration.text}\n{done}"
