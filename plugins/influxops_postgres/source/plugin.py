"""The plugin `postgres`: the tenants of a device registry."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from influxops.plugin import Check, Context, Finding, Source, Tenant, hookimpl
from influxops_postgres.connection.conninfo import check_password
from influxops_postgres.connection.settings import PostgresSettings

if TYPE_CHECKING:
    from influxops_postgres.connection.connection import Kept

# psycopg is imported by the modules that talk to the server, when one is first talked to.


class PostgresSource(Source):
    """Reads tenants from PostgreSQL.

    Raises:
        ConfigError: When the default password would go to another machine.
    """

    Settings = PostgresSettings
    settings: PostgresSettings

    def __init__(self, section: str, settings: PostgresSettings) -> None:
        super().__init__(section, settings)
        check_password(settings, f"source {section}")
        self._kept: Kept | None = None

    @hookimpl
    def influxops_tenants(self, context: Context) -> Iterable[Tenant | Finding]:
        """Read every tenant, in one read-only transaction."""
        from influxops_postgres.connection.connection import reading
        from influxops_postgres.source.registry import read

        with reading(self.settings, context) as session:
            return list(read(session))

    @hookimpl
    def influxops_find(self, ids: Collection[str], context: Context) -> Iterable[Tenant]:
        """Look up single tenants, in one read-only transaction."""
        from influxops_postgres.connection.connection import Kept, reading
        from influxops_postgres.source.lookup import find

        self._kept = self._kept or Kept()
        with reading(self.settings, context, self._kept) as session:
            return find(session, ids)

    @hookimpl
    def influxops_check(self, context: Context) -> Iterator[Check]:
        """Look at the server, the table, the rights on it, and the tenants."""
        from influxops_postgres.source.checks import checks

        return checks(self.settings, context)

    @hookimpl
    def influxops_lock(self, context: Context) -> AbstractContextManager[None]:
        """Return the registry's advisory lock, which a standby does not have."""
        from influxops_postgres.connection.advisory_locks import held

        return held(self.settings, context)

    @hookimpl
    def influxops_close(self) -> None:
        """Close the connection that was kept."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None
