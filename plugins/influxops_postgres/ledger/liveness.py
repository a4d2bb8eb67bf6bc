"""A run of the ledger lives while it holds the advisory lock of its id.

The lock belongs to a transaction on a connection of its own, as the registry's does (lock.py): it
goes with the process, however that ends, and holds through a pooler.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from psycopg import sql

from influxops.plugin import Context, LedgerError, LockBusy, SourceError
from influxops_postgres.connection.advisory_locks import begin, kept, take
from influxops_postgres.connection.connection import Connection, Kept, connect
from influxops_postgres.connection.conninfo import resolve
from influxops_postgres.connection.settings import PostgresLedgerSettings
from influxops_postgres.ledger.transaction import run_key

#: A machine that is gone without a word is noticed after a minute, and not after two hours: until
#: then its run seems to live. It also keeps what stands between from forgetting the connection.
_KEEPALIVE = sql.SQL(
    "SET LOCAL tcp_keepalives_idle = 30; SET LOCAL tcp_keepalives_interval = 10; "
    "SET LOCAL tcp_keepalives_count = 3; SET LOCAL application_name = {name}"
)


@contextlib.contextmanager
def living(
    settings: PostgresLedgerSettings, context: Context, again: Kept | None = None
) -> Iterator[None]:
    """Let this run live in the ledger. It waits for nobody.

    Args:
        settings: The ledger's.
        context: The run.
        again: Has connections, and keeps this one, where there are any to be kept.

    Raises:
        LockBusy: When another run has this one's id.
        LedgerError: When there is no lock to be had: on a standby, or without a connection. On
            leaving, when the connection broke meanwhile, and the lock with it.
        Interrupted: When the run is over.
    """
    place = resolve(settings).text
    try:
        connection = again.take(settings, context) if again is not None else None
        connection = connection or connect(settings, context)
    except SourceError as error:
        raise LedgerError(error.message, hint=error.remedy) from error
    with kept(
        connection,
        context,
        lambda connection: _take(connection, settings, context, place),
        lambda why, hint: LedgerError(f"{place}: no lock: {why}", hint=hint),
        LedgerError(
            f"{place}: the connection by which this run lives in the ledger broke during the run",
            hint="run it again: what it had in its hands may have been taken by another one",
        ),
        again,
    ):
        yield


def _take(
    connection: Connection, settings: PostgresLedgerSettings, context: Context, place: str
) -> None:
    if begin(connection):
        raise LedgerError(
            f"{place} is a standby, and a standby holds no locks",
            hint="have the ledger's section lead to the primary",
        )
    connection.execute(_KEEPALIVE.format(name=f"influxops {context.id}"))
    if not take(connection, run_key(settings.namespace, context.id)):
        raise LockBusy(f"{place}: another run has the id {context.id}", hint="run it again")
