"""Tenants from a device registry in PostgreSQL, and a ledger beside it (psycopg 3)."""

from influxops_postgres.ledger.plugin import PostgresLedger
from influxops_postgres.ledger.settings import PostgresLedgerSettings
from influxops_postgres.source.plugin import PostgresSource
from influxops_postgres.source.settings import PostgresSettings

__all__ = ["PostgresLedger", "PostgresLedgerSettings", "PostgresSettings", "PostgresSource"]
