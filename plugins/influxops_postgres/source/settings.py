"""What the configuration says of a registry in PostgreSQL."""

from __future__ import annotations

import re
from typing import ClassVar

from influxops.plugin import (
    InfluxopsError,
    SettingError,
    SourceError,
    SourceSettings,
    setting,
)
from influxops_postgres.connection.settings import ConnectionSettings

_PART = r'(?:"(?:[^"]|"")+"|[^".]+)'
_TABLE = re.compile(rf"({_PART})(?:\.({_PART}))?")
#: The settings that a query of one's own takes the place of.
_DEFAULT_QUERY = ("table", "column", "where")


def _parse_table(value: str) -> str:
    if _TABLE.fullmatch(value) is None:
        raise ValueError(
            'no name of a table: write table, schema.table, or "a name with a . in it" in '
            "double quotes"
        )
    return value


class PostgresSettings(ConnectionSettings, SourceSettings):
    """A registry in PostgreSQL: how to reach it, and where its tenants are."""

    content: ClassVar[str] = "registry"
    error: ClassVar[type[InfluxopsError]] = SourceError

    lock: str = setting(
        "default",
        description="The name of the lock that keeps runs on one registry database apart, whatever "
        "they read of it. Give registries that share a database and have nothing to do with each "
        "other different names.",
        min_length=1,
    )
    lock_timeout: float = setting(
        10.0, description="Seconds to wait for another run on the same registry.", ge=0
    )
    table: str = setting(
        "device_registry",
        description="Table or view with the tenants, as it is spelt in the database; with "
        "its schema if that is not searched (`iot.device_registry`). A name that has a dot in it "
        "is written in double quotes.",
        parse=_parse_table,
    )
    column: str = setting(
        "tenant_id",
        description="Column with the tenant ids, as it is spelt in the database.",
        min_length=1,
    )
    where: str | None = setting(
        None,
        description="An SQL condition on the table's rows, which you write and which is sent as "
        "it is: `deleted_at IS NULL`.",
        min_length=1,
    )
    query: str | None = setting(
        None,
        description="A SELECT of your own in place of table, column and where. Its column "
        "`tenant_id` is the id; the columns `database`, `retention` and `target` are the tenant's "
        "attributes, NULL meaning the default. A retention may be an `interval` of days and less; "
        "months have no fixed length.",
        min_length=1,
    )

    def check(self) -> None:
        """Refuse a query beside what it takes the place of."""
        declared = self.declared()
        given = [
            f"`{name}`" for name in _DEFAULT_QUERY if getattr(self, name) != declared[name].default
        ]
        if self.query is not None and given:
            raise SettingError(
                f"it excludes {' and '.join(given)}: a query of your own says itself what is read",
                "query",
            )

    @property
    def gives_ids_only(self) -> bool:
        """Whether a tenant of it has no attributes: those come from a query alone."""
        return self.query is None

    @property
    def table_parts(self) -> tuple[str, ...]:
        """The table's name, after that of its schema if one is given; unquoted."""
        match = _TABLE.fullmatch(self.table)
        assert match is not None, "it was parsed"
        return tuple(
            part[1:-1].replace('""', '"') if part.startswith('"') else part
            for part in match.groups()
            if part is not None
        )

    @property
    def what(self) -> str:
        """What is read, in a word or two."""
        return "own query" if self.query is not None else f"{self.table}.{self.column}"

    @property
    def subject(self) -> str:
        """The table; empty for a query."""
        return self.table if self.query is None else ""
