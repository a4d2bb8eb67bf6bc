"""A PostgreSQL and stand-ins for InfluxDB 3, with a ledger and a queue."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql

from influxops_devserver.postgres import EmbeddedPostgres
from tests.integration.command import Cli
from tests.pg import TestDatabase, installed, new_database

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
def db(request: pytest.FixtureRequest, postgres: EmbeddedPostgres) -> Iterator[TestDatabase]:
    """A database of the test's own, with a ledger and a queue where it is `queued`."""
    commands = ("ledger install", "queue install") if "queued" in request.fixturenames else ()
    with new_database(postgres, installed(postgres, *commands)) as database:
        yield database


@pytest.fixture
def queued(cli: Cli, db: TestDatabase) -> Queued:
    def give(
        *options: str, source: str = "", ledger: str = "", url: str = "http://127.0.0.1:9"
    ) -> Cli:
        cli.config(CONFIG.format(source=source, ledger=ledger, url=url))
        another = [["ledger", "install"], ["queue", "install"]] if ledger else []
        for command in [*another, *([["queue", "install", *options]] if options else [])]:
            done = cli(*command)
            assert done.code == 0, done.all
        return cli

    return give


_numbers = itertools.count(1)


@pytest.fixture
def role(db: TestDatabase) -> Iterator[Callable[..., str]]:
    """Make users with the password `x` and some rights, which are gone after the test."""
    made: list[str] = []
    with psycopg.connect(db.superuser_conninfo, autocommit=True) as connection:

        def make(*statements: str) -> str:
            name = f"user_{os.getpid()}_{next(_numbers)}"
            user = sql.Identifier(name)
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(user))
            made.append(name)
            for statement in statements:
                connection.execute(sql.SQL(statement).format(role=user))
            return name

        yield make
        for name in made:
            connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(name)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
