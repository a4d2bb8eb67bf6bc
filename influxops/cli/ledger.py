"""What commands that need a ledger share."""

from __future__ import annotations

from influxops.engine.engine import Engine
from influxops.errors import ConfigError
from influxops.plugin_host.ledger import LedgerHandle


def needs_ledger(engine: Engine) -> LedgerHandle:
    """Return the configured ledger.

    Raises:
        ConfigError: When there is none, or its secret is missing.
    """
    if engine.ledger is None:
        raise ConfigError(
            "no ledger is configured",
            hint='write [ledger] with kind = "postgres" into the configuration, and run '
            "`influxops ledger install` (docs/ledger.md)",
        )
    if engine.ledger.missing is not None:
        raise engine.ledger.missing
    return engine.ledger
