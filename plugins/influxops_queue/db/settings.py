"""What the queue needs of the configuration: a ledger in PostgreSQL."""

from __future__ import annotations

import hashlib

from influxops.engine.engine import Engine
from influxops.errors import ConfigError
from influxops.plugin.cli import how_to_install
from influxops_postgres import PostgresLedgerSettings
from influxops_postgres.connection.listening import BEAT, LIMIT

__all__ = ["BEAT", "CHANNEL", "LIMIT", "queue_ledger", "queue_schema", "short"]

#: On this channel workers are notified that there may be something to do.
CHANNEL = "influxops_queue"
#: The most bytes of a name in PostgreSQL.
_LONGEST_NAME = 63


def queue_ledger(engine: Engine) -> PostgresLedgerSettings:
    """Return the settings of the ledger in whose database the queue is."""
    try:
        import procrastinate  # noqa: F401
    except ImportError:
        raise ConfigError(
            "the queue needs procrastinate, which is not installed",
            hint=how_to_install("queue"),
        ) from None
    ledger = engine.ledger
    if ledger is None:
        raise ConfigError(
            "the queue needs a ledger, and none is configured",
            hint='write [ledger] with kind = "postgres" into the configuration, and run '
            "`influxops ledger install` (`influxops docs ledger`)",
        )
    if ledger.missing is not None:
        raise ledger.missing
    settings = ledger.settings
    if not isinstance(settings, PostgresLedgerSettings):
        raise ConfigError(
            f"the queue needs a ledger in PostgreSQL, and the configured one is {ledger.kind}",
            hint='have [ledger] with kind = "postgres"',
        )
    return settings


def queue_schema(settings: PostgresLedgerSettings) -> str:
    """Return the schema that has the queue's tables, and nothing else."""
    name = f"{settings.schema}_queue"
    if len(name.encode()) > _LONGEST_NAME:
        raise ConfigError(
            f"the queue's schema would be called {name}, which is too long for PostgreSQL",
            hint="give the ledger a schema with a shorter name",
        )
    return name


def short(name: str) -> str:
    """Return a name, cut where it is longer than PostgreSQL takes, and still like no other's."""
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    kept = name.encode()[: _LONGEST_NAME - 13].decode(errors="ignore")
    return f"{kept} {digest}"
