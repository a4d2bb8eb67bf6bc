"""The plugin `postgres`: the tenants of a device registry."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from influxops.plugin import (
    Check,
    Closing,
    Finding,
    HealthChecks,
    RegistryLock,
    RunContext,
    Source,
    Tenant,
    TenantLookup,
    hookimpl,
)
from influxops_postgres.source.settings import PostgresSettings

if TYPE_CHECKING:
    from influxops_postgres.connection.pool import IdleConnections

# psycopg is imported by the modules that talk to the server, when one is first talked to.


class PostgresSource(Source, TenantLookup, RegistryLock, HealthChecks, Closing):
    """Reads tenants from PostgreSQL."""

    Settings = PostgresSettings
    settings: PostgresSettings

    def __init__(self, section: str, settings: PostgresSettings) -> None:
        super().__init__(section, settings)
        settings.check_password(f"source {section}")
        self._idle: IdleConnections | None = None

    @hookimpl
    def influxops_tenants(self, context: RunContext) -> Iterable[Tenant | Finding]:
        """Read every tenant, in one read-only transaction."""
        from influxops_postgres.source.registry import read
        from influxops_postgres.source.transaction import reading

        with reading(self.settings, context) as session:
            return list(read(session))

    @hookimpl
    def influxops_get_tenants(self, ids: Collection[str], context: RunContext) -> Iterable[Tenant]:
        """Look up single tenants, in one read-only transaction."""
        from influxops_postgres.connection.pool import IdleConnections
        from influxops_postgres.source.lookup import find
        from influxops_postgres.source.transaction import reading

        self._idle = self._idle or IdleConnections()
        with reading(self.settings, context, self._idle, row_security=True) as session:
            return find(session, ids)

    @hookimpl
    def influxops_check(self, context: RunContext) -> Iterator[Check]:
        """Look at the server, the table, the rights on it, and the tenants."""
        from influxops_postgres.source.checks import checks

        return checks(self.settings, context)

    @hookimpl
    def influxops_lock(self, context: RunContext) -> AbstractContextManager[None]:
        """Return the registry's advisory lock, which a standby does not have."""
        from influxops_postgres.source.run_lock import run_lock

        return run_lock(self.settings, context)

    @hookimpl
    def influxops_close(self) -> None:
        """Close the connection that was kept."""
        if self._idle is not None:
            self._idle.close()
            self._idle = None
