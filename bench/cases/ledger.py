"""The ledger in PostgreSQL: claim, record, read and the history of many tenants."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from msgspec.structs import replace

from bench.place import Place, inside
from bench.values import column
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

TITLE = "the ledger, tenants"

T = TypeVar("T")


def run(place: Place, tenants: int) -> None:
    """Measure each step once."""
    with place.database() as database:
        parts = {
            "host": database.server.host,
            "port": database.server.port,
            "database": database.name,
            "statement_timeout": 0,
        }
        ledger = PostgresLedger("", PostgresLedgerSettings.parse(parts))
        assert list(installing(ledger.settings, RunContext()))
        steps(place, ledger, tenants)


def steps(place: Place, ledger: PostgresLedger, tenants: int) -> None:
    """Claim, record and read all of them, and one."""
    context, now = RunContext(), datetime.now(UTC)
    first = "tenant-0000001"
    new = [
        Record(
            f"tenant-{n:07}", State.ALLOCATED, f"telemetry_tenant-{n:07}", "eu1", identity="uuid"
        )
        for n in range(tenants)
    ]

    def timed(what: str, work: Callable[[], T]) -> T:
        found: list[T] = []
        place.figure(TITLE, what, column(tenants), [inside(lambda: found.append(work()))])
        return found[0]

    with ledger.influxops_session(context):
        taken = timed("claim all", lambda: list(ledger.influxops_claim(new, context)))
        timed("claim all, refused", lambda: ledger.influxops_claim(new, context))
        made = LedgerUpdate(
            tuple(
                replace(each, state=State.READY, created_at=now, last_seen_at=now) for each in taken
            ),
            entries=tuple(HistoryEntry(Event.CREATED, each.tenant, "eu1") for each in taken),
        )
        ready = timed("record all as made", lambda: ledger.influxops_commit(made, context))
        assert len([*ready]) == tenants
        seen = LedgerUpdate(tuple(replace(each, last_seen_at=now) for each in ready))
        timed("record all as seen", lambda: ledger.influxops_commit(seen, context))
    timed("read all", lambda: ledger.influxops_load_records(None, context))
    timed("read one", lambda: ledger.influxops_load_records([first], context))
    timed("the whole history", lambda: ledger.influxops_history(HistoryQuery(), context))
    one = HistoryQuery(tenants=[first])
    timed("the history of one", lambda: ledger.influxops_history(one, context))
