"""How long the ledger in PostgreSQL takes for many tenants: read, reserve, record, history.

python bench/ledger.py [TENANTS]

The processor seconds are this process's; the rest of the time is the server's and the waiting.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parents[1]))

from influxops.plugin import (
    Event,
    HistoryEntry,
    HistoryQuery,
    LedgerUpdate,
    Record,
    RunContext,
    State,
)
from influxops_postgres import PostgresLedger, PostgresLedgerSettings
from influxops_postgres.ledger.transaction import installing
from tests.pg import new_database, postgres_server

T = TypeVar("T")


def timed(what: str, work: Callable[[], T]) -> T:
    wall, own = time.perf_counter(), time.process_time()
    result = work()
    wall, own = time.perf_counter() - wall, time.process_time() - own
    print(f"{what:44} {wall:6.2f} s, of which here {own:5.2f} s of processor")
    return result


def run(ledger: PostgresLedger, tenants: int) -> None:
    context, now = RunContext(), datetime.now(UTC)
    new = [
        Record(
            f"tenant-{n:07}", State.ALLOCATED, f"telemetry_tenant-{n:07}", "eu1", identity="uuid"
        )
        for n in range(tenants)
    ]
    with ledger.influxops_session(context):
        taken = timed("reserve all, new", lambda: list(ledger.influxops_claim(new, context)))
        timed("reserve all, refused", lambda: ledger.influxops_claim(new, context))
        made = LedgerUpdate(
            tuple(
                replace(each, state=State.READY, created_at=now, last_seen_at=now) for each in taken
            ),
            entries=tuple(HistoryEntry(Event.CREATED, each.tenant, "eu1") for each in taken),
        )
        ready = timed("record all, an entry each", lambda: ledger.influxops_commit(made, context))
        seen = LedgerUpdate(tuple(replace(each, last_seen_at=now) for each in ready))
        timed("record all, seen again", lambda: ledger.influxops_commit(seen, context))
    timed("read all", lambda: ledger.influxops_load_records(None, context))
    timed("read one", lambda: ledger.influxops_load_records(["tenant-0000001"], context))
    timed("the whole history", lambda: ledger.influxops_history(HistoryQuery(), context))
    one = HistoryQuery(tenants=["tenant-0000001"])
    timed("the history of one", lambda: ledger.influxops_history(one, context))


def main() -> None:
    tenants = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with postgres_server() as server, new_database(server) as database:
        parts = {
            "host": server.host,
            "port": server.port,
            "database": database.name,
            "statement_timeout": 0,
        }
        ledger = PostgresLedger("", PostgresLedgerSettings.parse(parts))
        assert list(installing(ledger.settings, RunContext()))
        print(f"{tenants:,} tenants")
        run(ledger, tenants)


if __name__ == "__main__":
    main()
