"""The plugin `postgres`: the tenants of a device registry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager

from influxops import Check, Finding, Run, Tenant, hookimpl
from influxops_postgres.parameters import check_password
from influxops_postgres.settings import PostgresSettings

# psycopg is imported by the modules that talk to the server, when one is first talked to.


class PostgresSource:
    """Reads tenants from PostgreSQL.

    Args:
        section: The name of its section, `source:registry`.
        settings: What the section says.

    Raises:
        ConfigError: When the default password would go to another machine.
    """

    Settings = PostgresSettings

    def __init__(self, section: str, settings: PostgresSettings) -> None:
        check_password(settings, section)
        self._section = section
        self._settings = settings

    @hookimpl
    def influxops_tenants(self, run: Run) -> Iterable[Tenant | Finding]:
        """Read every tenant, in one read-only transaction."""
        from influxops_postgres.registry import read
        from influxops_postgres.session import reading

        with reading(self._settings, run) as session:
            return list(read(session))

    @hookimpl
    def influxops_check(self, run: Run) -> Iterator[Check]:
        """Look at the server, the table, the rights on it, and the tenants."""
        from influxops_postgres.checks import checks

        return checks(self._settings, run)

    @hookimpl
    def influxops_lock(self, run: Run) -> AbstractContextManager[None]:
        """Give the registry's advisory lock, which a standby does not have."""
        from influxops_postgres.lock import held

        return held(self._settings, run)
