"""What the configuration says of a ledger in PostgreSQL."""

from __future__ import annotations

from typing import ClassVar

from influxops.plugin import InfluxopsError, LedgerError, LedgerSettings, setting
from influxops_postgres.connection.settings import ConnectionSettings

#: The most bytes of a name in PostgreSQL; it cuts off what is longer.
_LONGEST_NAME = 63


def _parse_schema(value: str) -> str:
    if "\0" in value or len(value.encode()) > _LONGEST_NAME:
        raise ValueError(f"no name of a schema: it has at most {_LONGEST_NAME} bytes")
    if {"$", "%"}.intersection(value):
        raise ValueError("no name of a schema that influxops makes: it has a $ or a %")
    if value.startswith("pg_") or value == "information_schema":
        raise ValueError("this name is PostgreSQL's own; choose another one")
    return value


class PostgresLedgerSettings(ConnectionSettings, LedgerSettings):
    """A ledger in PostgreSQL: how to reach it, and which schema it has."""

    content: ClassVar[str] = "ledger"
    error: ClassVar[type[InfluxopsError]] = LedgerError

    schema: str = setting(
        "influxops",
        description="The schema that holds the ledger's tables and nothing else; "
        "`influxops ledger install` makes it.",
        min_length=1,
        parse=_parse_schema,
    )

    @property
    def what(self) -> str:
        """The schema, in words."""
        return f"schema {self.schema}"

    @property
    def subject(self) -> str:
        """The schema."""
        return self.schema
