"""The ledger's schema: numbered plain SQL files, each run in one transaction.

A file names its tables without their schema; what is run before it says which schema that is. The
advisory lock is the transaction's, so that this works through a pooler, and each transaction looks
at the version again once it has it: two installations at once do no harm.
"""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from influxops.runtime.sql_migrations import Migration, migrations
from influxops_postgres.commit import confirmed
from influxops_postgres.session import Connection

_PACKAGE = "influxops_postgres"

#: What each transaction begins with.
_PREPARE = sql.SQL("""\
SELECT pg_advisory_xact_lock({key});
DO $influxops$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = {name}) THEN
    CREATE SCHEMA {schema};
  END IF;
END $influxops$;
SET LOCAL search_path = {schema};
""")
_LOCKED = sql.SQL("LOCK TABLE migrations IN ACCESS EXCLUSIVE MODE;\n")
_DONE = sql.SQL("INSERT INTO migrations (version, name) VALUES ({version}, {name});\n")

_IS_THERE = sql.SQL("""
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = {name} AND c.relname = 'migrations') AS there
""")
_VERSION = sql.SQL("SELECT coalesce(max(version), 0) AS version FROM {schema}.migrations")


def newest() -> int:
    """Return the version of the schema that this program works with."""
    return migrations(_PACKAGE)[-1].version


def script(schema: str, after: int = 0) -> str:
    """Return all that installing runs, as a script for psql.

    Args:
        schema: The schema's name.
        after: The version that is there already; 0 for none.
    """
    parts = (
        f"-- {each.version}: {each.name}\nBEGIN;\n{_text(each, schema)}COMMIT;\n"
        for each in migrations(_PACKAGE)
        if each.version > after
    )
    return "\n".join(parts)


def version(connection: Connection, schema: str) -> int:
    """Return the version of the schema that is there; 0 where there is none."""
    there = connection.execute(_IS_THERE.format(name=schema)).fetchone()
    if not (there and there["there"]):
        return 0
    row = connection.execute(_VERSION.format(schema=sql.Identifier(schema))).fetchone()
    assert row is not None, "an aggregate gives one row"
    return int(row["version"])


def install(connection: Connection, schema: str) -> Iterator[Migration]:
    """Run what is missing, each step in a transaction of its own.

    Yields:
        Each step, once it is done.
    """
    for each in migrations(_PACKAGE):
        with confirmed(connection):
            connection.execute(sql.SQL("SELECT pg_advisory_xact_lock({})").format(lock_key(schema)))
            if version(connection, schema) >= each.version:
                continue
            connection.execute(_text(each, schema).encode())
        yield each


def lock_key(schema: str) -> int:
    """Return the key of the lock that installations of one schema take."""
    from influxops_postgres.lock import key_of

    return key_of("install", schema)


def _text(migration: Migration, schema: str) -> str:
    """Return what one step runs between BEGIN and COMMIT."""
    name, quoted = sql.Literal(schema), sql.Identifier(schema)
    key = sql.SQL(str(lock_key(schema)))
    prepare = _PREPARE.format(key=key, name=name, schema=quoted).as_string()
    lock = _LOCKED.as_string() if migration.version > 1 else ""
    done = _DONE.format(version=migration.version, name=migration.name).as_string()
    return f"{prepare}{lock}\n{migration.text}\n{done}"
