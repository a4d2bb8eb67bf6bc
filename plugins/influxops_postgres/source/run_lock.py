"""One run at a time on one registry database.

The lock's key comes from the setting `lock` alone, so that runs meet whatever tables, queries and
targets they are configured with.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager

from psycopg import sql

from influxops.plugin import Hint, LockBusy, RunContext, SourceError
from influxops_postgres.connection.advisory_locks import hold, key_of, take
from influxops_postgres.connection.connection import Connection
from influxops_postgres.source.settings import PostgresSettings

#: Seconds between two tries.
_AGAIN = 0.25
#: Seconds that are not worth another try.
_TOO_LITTLE = 0.02
# What this user may not see of another's session is NULL there.
_HOLDER = sql.SQL("""
SELECT l.pid, a.usename AS user, nullif(a.application_name, '') AS application,
       host(a.client_addr) AS address, to_char(a.xact_start AT TIME ZONE 'UTC',
                                               'YYYY-MM-DD HH24:MI:SS "UTC"') AS since
  FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND (l.classid::bigint << 32) | l.objid::bigint = %(key)s
""")


def lock_key(name: str) -> int:
    """Return the key of the lock of a name, the same in every version of influxops.

    The database is not in it: PostgreSQL keeps the advisory locks of each database apart.
    """
    return key_of("lock", name)


def run_lock(settings: PostgresSettings, context: RunContext) -> AbstractContextManager[None]:
    """Return a context in which this run holds the registry's lock."""
    location = settings.parameters().text
    return hold(
        settings,
        context,
        lambda connection: _take(connection, settings, context, location),
        primary="read the registry's primary where several runs may meet",
        broke=SourceError(f"{location}: the connection with the lock broke during the run"),
    )


def _take(
    connection: Connection, settings: PostgresSettings, context: RunContext, location: str
) -> None:
    key = lock_key(settings.lock)
    until = time.monotonic() + settings.lock_timeout
    while not take(connection, key):
        left = context.time_left(until - time.monotonic())
        if left is None or left <= _TOO_LITTLE:
            raise LockBusy(
                f"another run holds the lock of {location}: {_holder(connection, key)}",
                hint=Hint.setting("lock_timeout", "wait for it to end, or raise {}"),
            )
        context.sleep(min(_AGAIN, 0.9 * left))


def _holder(connection: Connection, key: int) -> str:
    row = connection.execute(_HOLDER, {"key": key}).fetchone()
    if row is None:
        return "it was given back just now"
    words = [row["application"] or "a session", f"(pid {row['pid']}"]
    words += [f"user {row['user']}"] if row["user"] else []
    words += [f"from {row['address']}"] if row["address"] else []
    words += [f"since {row['since']}"] if row["since"] else []
    return " ".join(words[:1]) + " " + ", ".join(words[1:]) + ")"
