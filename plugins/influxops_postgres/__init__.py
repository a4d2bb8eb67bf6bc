"""Tenants from a device registry in PostgreSQL, and a ledger beside it (psycopg 3)."""

from influxops_postgres.connection.settings import PostgresLedgerSettings, PostgresSettings
from influxops_postgres.ledger.plugin import PostgresLedger
from influxops_postgres.source.plugin import PostgresSource

__all__ = ["PostgresLedger", "PostgresLedgerSettings", "PostgresSettings", "PostgresSource"]
