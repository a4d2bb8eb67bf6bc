"""A run of the ledger is alive while it holds the advisory lock of its id."""

from __future__ import annotations

from contextlib import AbstractContextManager

from psycopg import sql

from influxops.plugin import LedgerError, LockBusy, RunContext
from influxops_postgres.connection.advisory_locks import hold, key_of, take
from influxops_postgres.connection.connection import Connection
from influxops_postgres.connection.pool import IdleConnections
from influxops_postgres.ledger.settings import PostgresLedgerSettings

#: A machine that is gone without a word is noticed after a minute, and not after two hours: until
#: then its run seems to be alive. It also keeps what is in between from forgetting the connection.
_KEEPALIVE = sql.SQL(
    "SET LOCAL tcp_keepalives_idle = 30; SET LOCAL tcp_keepalives_interval = 10; "
    "SET LOCAL tcp_keepalives_count = 3; SET LOCAL application_name = {name}"
)


def run_key(namespace: str, run: str) -> int:
    """Return the key of the lock that a run holds for as long as it is alive."""
    return key_of("run", namespace, run)


def liveness(
    settings: PostgresLedgerSettings, context: RunContext, idle: IdleConnections
) -> AbstractContextManager[None]:
    """Return a context in which this run is alive in the ledger. It waits for no other run."""
    location = settings.parameters().text
    return hold(
        settings,
        context,
        lambda connection: _take(connection, settings, context, location),
        primary="have the ledger's section lead to the primary",
        broke=LedgerError(
            f"{location}: the connection by which this run lives in the ledger broke during the "
            "run",
            hint="run it again: another one may have claimed its tenants",
        ),
        idle=idle,
    )


def _take(
    connection: Connection, settings: PostgresLedgerSettings, context: RunContext, location: str
) -> None:
    connection.execute(_KEEPALIVE.format(name=f"influxops {context.id}"))
    if not take(connection, run_key(settings.namespace, context.id)):
        raise LockBusy(f"{location}: another run has the id {context.id}", hint="run it again")
