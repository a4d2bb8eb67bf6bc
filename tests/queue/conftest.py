"""A PostgreSQL and stand-ins for InfluxDB 3, with a ledger and a queue."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.command import Cli
from tests.integration.conftest import _pool, cli, db, postgres, proxied, stand_in
from tests.pg import TestDatabase

__all__ = ["_pool", "cli", "db", "postgres", "proxied", "stand_in"]

#: Writes a configuration with a registry, a ledger and a target, and installs ledger and queue.
Queued = Callable[..., Cli]

CONFIG = """
[sources.registry]
kind = "postgres"
{source}

[ledger]
kind = "postgres"
{ledger}

[targets.eu1]
kind = "influxdb3"
url = "{url}"
"""


@pytest.fixture
def queued(cli: Cli, db: TestDatabase) -> Queued:
    def give(
        *options: str, source: str = "", ledger: str = "", url: str = "http://127.0.0.1:9"
    ) -> Cli:
        cli.config(CONFIG.format(source=source, ledger=ledger, url=url))
        for command in (["ledger", "install"], ["queue", "install", *options]):
            done = cli(*command)
            assert done.code == 0, done.all
        return cli

    return give
