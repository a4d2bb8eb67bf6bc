"""Tenants from a device registry in PostgreSQL (psycopg 3)."""

from influxops_postgres.settings import PostgresSettings
from influxops_postgres.source import PostgresSource

__all__ = ["PostgresSettings", "PostgresSource"]
