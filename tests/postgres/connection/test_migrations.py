"""What the steps of a schema begin with."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from influxops.config.settings import InvalidSettings
from influxops_postgres import PostgresLedgerSettings
from influxops_postgres.connection import migrations
from tests.pg import TestDatabase


@pytest.mark.parametrize("name", ["plain", "a $influxops$; b", "$influxops$ $influxops_$", "\"'"])
def test_a_schema_may_be_called_what_quotes_the_block_that_makes_it(
    db: TestDatabase, name: str
) -> None:
    with psycopg.connect(db.conninfo) as connection:
        for _ in range(2):
            connection.execute(migrations.prepare(sql.SQL("1"), name))
        row = connection.execute("SELECT current_schema()").fetchone()
    assert row == (name,)


@pytest.mark.parametrize("name", ["$user", "a $influxops$; b", "50%"])
def test_a_ledgers_schema_has_neither_dollar_nor_percent(name: str) -> None:
    with pytest.raises(InvalidSettings, match=r"it has a \$ or a %"):
        PostgresLedgerSettings.parse({"schema": name})
