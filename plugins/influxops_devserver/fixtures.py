"""Servers for the tests of plugins and applications, as fixtures of pytest.

A conftest.py takes them by `pytest_plugins = ["influxops_devserver.fixtures"]`. They need the extra
`demo`.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from influxops_devserver.postgres import EmbeddedPostgres
from influxops_devserver.testing import StandIn, running_postgres, running_stand_in


@pytest.fixture(scope="session")
def influxdb3() -> Iterator[StandIn]:
    """Give a stand-in for InfluxDB 3 at `influxdb3.url`, with room for any number of databases."""
    with running_stand_in(max_databases=None, max_tables=None) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """Give a PostgreSQL on a free port of this machine."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """Give the connection string of an empty database, which is gone after the test."""
    name = sql.Identifier("test")
    with psycopg.connect(postgres_server.superuser_conninfo(), autocommit=True) as connection:
        owner = sql.Identifier(postgres_server.user)
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, owner))
        yield postgres_server.conninfo("test")
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
