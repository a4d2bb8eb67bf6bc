"""What `influxops doctor` looks at on every PostgreSQL server."""

from __future__ import annotations

import time

from msgspec import Struct
from psycopg import sql

from influxops.plugin import Check
from influxops_postgres.connection.connection import Connection

#: Seconds that the clocks of the server and of this machine may differ: a marker's time is this
#: machine's, the ledger's times are the server's, and what is due is computed here.
_CLOCK = 5

_SERVER = sql.SQL("""
SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby,
       current_setting('transaction_read_only') = 'on' AS read_only,
       extract(epoch FROM clock_timestamp())::float8 AS clock
""")


class ServerChecks(Struct, frozen=True):
    """What a server is like."""

    connection: Check
    clock: Check
    is_standby: bool
    is_read_only: bool  # whether this transaction is


def check_server(connection: Connection, location: str) -> ServerChecks:
    """Ask a server, at `iot@db.example/iotcloud`, for its version, its role and its time."""
    before = time.time()
    row = connection.execute(_SERVER).fetchone()
    after = time.time()
    assert row is not None, "a SELECT without FROM gives one row"
    # The server read its clock at some time between these two.
    apart = max(before - row["clock"], row["clock"] - after, 0.0)
    return ServerChecks(
        Check(
            "connection", True, f"{location} answers (PostgreSQL {row['version'].split(' ')[0]})"
        ),
        Check(
            "clock",
            apart <= _CLOCK,
            f"PostgreSQL's and this machine's differ by {apart:.1f} s",
            "" if apart <= _CLOCK else "have both keep time by NTP",
        ),
        row["standby"],
        row["read_only"],
    )
