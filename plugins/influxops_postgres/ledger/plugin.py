"""The plugin `postgres` for a ledger: which tenant is provisioned where, in its own schema."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from influxops.plugin import (
    Check,
    Closing,
    HealthChecks,
    HistoryEntry,
    HistoryQuery,
    Ledger,
    LedgerSnapshot,
    LedgerUpdate,
    Record,
    RecordCounts,
    RouteChanges,
    RunContext,
    TenantQueue,
    hookimpl,
)
from influxops_postgres.ledger.settings import PostgresLedgerSettings

if TYPE_CHECKING:
    from influxops_postgres.connection.pool import IdleConnections

# psycopg is imported by the modules that talk to the server, when one is first talked to.


class PostgresLedger(Ledger, RecordCounts, RouteChanges, TenantQueue, HealthChecks, Closing):
    """Records in PostgreSQL which tenant was provisioned with which database, where."""

    Settings = PostgresLedgerSettings
    settings: PostgresLedgerSettings

    def __init__(self, section: str, settings: PostgresLedgerSettings) -> None:
        super().__init__(section, settings)
        settings.check_password("ledger")
        self._connections: IdleConnections | None = None

    @property
    def _idle(self) -> IdleConnections:
        """The connections of one transaction that the next one takes."""
        from influxops_postgres.connection.pool import IdleConnections

        self._connections = self._connections or IdleConnections()
        return self._connections

    @hookimpl
    def influxops_close(self) -> None:
        """Close the connections that were kept."""
        idle, self._connections = self._connections, None
        if idle is not None:
            idle.close()

    @hookimpl
    def influxops_load_records(
        self, tenants: Collection[str] | None, context: RunContext
    ) -> LedgerSnapshot:
        """Read all, or some tenants' records, in one read-only transaction."""
        from influxops_postgres.ledger import store, transaction

        with transaction.reading(self.settings, context, self._idle) as session:
            return store.memory(session, tenants)

    @hookimpl
    def influxops_claim(self, records: Sequence[Record], context: RunContext) -> Iterable[Record]:
        """Claim tenants for this run, in one transaction."""
        from influxops_postgres.ledger import store, transaction

        return transaction.write(
            self.settings, context, lambda session: store.reserve(session, records), self._idle
        )

    @hookimpl
    def influxops_commit(self, update: LedgerUpdate, context: RunContext) -> Iterable[Record]:
        """Write the results of a run, in one transaction."""
        from influxops_postgres.ledger import store, transaction

        return transaction.write(
            self.settings, context, lambda session: store.record(session, update), self._idle
        )

    @hookimpl
    def influxops_history(self, query: HistoryQuery, context: RunContext) -> Iterable[HistoryEntry]:
        """Read the history, or a part of it."""
        from influxops_postgres.ledger import store, transaction

        with transaction.reading(self.settings, context, self._idle) as session:
            return store.history(session, query)

    @hookimpl
    def influxops_count_by_target(self, context: RunContext) -> Mapping[str, int]:
        """Count the databases that are recorded on each target."""
        from influxops_postgres.ledger import store, transaction

        with transaction.reading(self.settings, context, self._idle) as session:
            return store.counts(session)

    @hookimpl
    def influxops_watch_routes(self, context: RunContext) -> Iterator[int]:
        """Yield the version of the routes, by LISTEN and every few seconds."""
        from influxops_postgres.ledger.routes import watch

        return watch(self.settings, context)

    @hookimpl
    def influxops_enqueue(
        self, tenants: Sequence[str], connection: Any, context: RunContext
    ) -> Awaitable[None] | None:
        """Note in an application's transaction, under a savepoint, that tenants are wanted."""
        from influxops_postgres.ledger.enqueue import enqueue

        return enqueue(self.settings, tenants, connection)

    @hookimpl
    def influxops_session(self, context: RunContext) -> AbstractContextManager[None]:
        """Return a context in which this run is alive in the ledger."""
        from influxops_postgres.ledger.liveness import liveness

        return liveness(self.settings, context, self._idle)

    @hookimpl
    def influxops_check(self, context: RunContext) -> Iterator[Check]:
        """Look at the server, the schema, the rights on it, and the runs that are alive."""
        from influxops_postgres.ledger.checks import checks

        return checks(self.settings, context)
