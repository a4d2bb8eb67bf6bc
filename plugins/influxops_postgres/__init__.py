"""Tenants from a device registry in PostgreSQL, and a ledger beside it (psycopg 3)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from influxops_postgres.ledger.plugin import PostgresLedger
    from influxops_postgres.ledger.settings import PostgresLedgerSettings
    from influxops_postgres.source.plugin import PostgresSource
    from influxops_postgres.source.settings import PostgresSettings

__all__ = ["PostgresLedger", "PostgresLedgerSettings", "PostgresSettings", "PostgresSource"]

_MODULES = {
    "PostgresLedger": "ledger.plugin",
    "PostgresLedgerSettings": "ledger.settings",
    "PostgresSettings": "source.settings",
    "PostgresSource": "source.plugin",
}


def __getattr__(name: str) -> Any:
    # A source is used without a ledger as often as with one.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"influxops_postgres.{_MODULES[name]}"), name)
