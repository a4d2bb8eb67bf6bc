"""Tenants from a device registry in PostgreSQL, and a ledger beside it (psycopg 3)."""

from influxops_postgres.ledger import PostgresLedger
from influxops_postgres.settings import PostgresLedgerSettings, PostgresSettings
from influxops_postgres.source import PostgresSource

__all__ = ["PostgresLedger", "PostgresLedgerSettings", "PostgresSettings", "PostgresSource"]
