"""What pages cost PostgreSQL, in rows that its plans touch: no clock is asked."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from bench.cases.pages import fill_tables
from influxops.config.load import load_config
from influxops.engine.engine import Engine
from influxops_devserver.postgres import EmbeddedPostgres
from influxops_web.db import history, queries
from influxops_web.db.connect import Database, DatabaseLocation, locate_database
from influxops_web.db.queries import Missing, TenantFilter
from tests.integration.command import Cli
from tests.pg import TestDatabase, new_database
from tests.web.conftest import REGISTRY, install, write_config

FEW, MANY = 1000, 10_000
EU1_READ = datetime(2100, 1, 1, tzinfo=UTC)

Asks = Callable[[Database], Awaitable[object]]


class Counting(Database, frozen=True):
    """A database that adds up the rows that the plans of its queries touch."""

    touched: list[int]

    async def rows(
        self, query: str, values: Mapping[str, Any] | Sequence[Any] = (), **parts: sql.Composable
    ) -> list[dict[str, Any]]:
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {query}"
        ((plan,),) = [each.values() for each in await super().rows(explain, values, **parts)]
        self.touched.append(_touched(plan[0]["Plan"]))
        return await super().rows(query, values, **parts)


def _touched(node: Mapping[str, Any]) -> int:
    own = sum(
        node.get(name, 0)
        for name in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter")
    )
    below = sum(_touched(each) for each in node.get("Plans", ()))
    return below + int(own * node["Actual Loops"])


@pytest.fixture(scope="module")
def sizes(
    tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres
) -> Iterator[list[tuple[int, TestDatabase, DatabaseLocation]]]:
    """The service's tables with few tenants, and with ten times as many."""
    with new_database(postgres) as few, new_database(postgres) as many:
        found = []
        for number, db in ((FEW, few), (MANY, many)):
            folder: Path = tmp_path_factory.mktemp("cost")
            db.execute(REGISTRY)
            cli = Cli(folder, {"DSN": db.conninfo})
            write_config(cli, "http://127.0.0.1:9")
            install(cli)
            fill_tables(db.conninfo, number, "uuid")
            with (
                patch.dict(os.environ, {"DSN": db.conninfo}),
                Engine(load_config(folder / "influxops.toml")) as engine,
            ):
                found.append((number, db, locate_database(engine)))
        yield found


def touched(db: TestDatabase, location: DatabaseLocation, asks: Asks) -> int:
    """Return how many rows it takes to answer."""

    async def ask() -> int:
        connection = await psycopg.AsyncConnection.connect(
            db.conninfo, autocommit=True, row_factory=dict_row
        )
        async with connection:
            counting = Counting(connection, location, [])
            await asks(counting)
            return sum(counting.touched)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    "asks",
    [
        lambda database: queries.tenant(database, "t77"),
        lambda database: history.history(database, "t77"),
        lambda database: history.run(database, "run0", 0),
        lambda database: history.audited(database, "", None),
        lambda database: history.audited(database, "t77", None),
        lambda database: queries.missing(database, Missing(["t7"], {"eu1": EU1_READ})),
    ],
    ids=["tenant", "its history", "one run", "audit", "audit of one", "missing"],
)
def test_a_page_of_few_things_touches_as_many_rows_among_many_tenants(
    sizes: list[tuple[int, TestDatabase, DatabaseLocation]], asks: Asks
) -> None:
    few, many = (touched(db, location, asks) for _, db, location in sizes)
    assert many <= 2 * few + 1000, (few, many)


def held(number: int, *, all_there: bool) -> queries.Held:
    names = [f"telemetry_t{n}" for n in range(1, number + 1)]
    return {"eu1": (names if all_there else names[:1], EU1_READ)}


@pytest.mark.parametrize(
    "asks",
    [
        lambda database, number: queries.tenants(database, TenantFilter()),
        lambda database, number: queries.tenants(database, TenantFilter(is_descending=True)),
        lambda database, number: queries.tenants(database, TenantFilter(search="t77")),
        lambda database, number: queries.tenants(database, TenantFilter(state="ready")),
        lambda database, number: queries.tenants(
            database,
            TenantFilter(
                state="missing",
                missing=Missing([f"t{n}" for n in range(1, number + 1)], {"eu1": EU1_READ}),
            ),
        ),
        lambda database, number: queries.tenants(database, TenantFilter(sort="due", has_due=True)),
        lambda database, number: queries.registered_tenants(database, TenantFilter(), 50),
        lambda database, number: queries.targets(database),
        lambda database, number: queries.waiting(database, 50),
        lambda database, number: history.runs(database, None),
        lambda database, number: queries.gone(database, held(number, all_there=True)),
        lambda database, number: queries.gone(database, held(number, all_there=False)),
    ],
    ids=[
        "tenants",
        "from the last",
        "searched",
        "by state",
        "all missing",
        "due",
        "api",
        "targets",
        "waiting",
        "runs",
        "none is missing",
        "all but one are missing",
    ],
)
def test_what_counts_all_tenants_touches_each_a_few_times_and_never_each_with_each(
    sizes: list[tuple[int, TestDatabase, DatabaseLocation]],
    asks: Callable[[Database, int], Awaitable[object]],
) -> None:
    for number, db, location in sizes:
        found = touched(db, location, lambda database, number=number: asks(database, number))  # type: ignore[misc]
        assert found <= 15 * number + 2000, (number, found)


def test_the_tenants_whose_databases_are_gone_are_found_and_no_others(
    sizes: list[tuple[int, TestDatabase, DatabaseLocation]],
) -> None:
    number, db, location = sizes[0]

    async def ask() -> tuple[Missing, Missing, queries.TenantPage]:
        connection = await psycopg.AsyncConnection.connect(
            db.conninfo, autocommit=True, row_factory=dict_row
        )
        async with connection:
            database = Database(connection, location)
            names, _ = held(number, all_there=True)["eu1"]
            some = await queries.gone(database, {"eu1": (names[2:], EU1_READ)})
            old = datetime(2000, 1, 1, tzinfo=UTC)
            none = await queries.gone(database, {"eu1": (names[2:], old)})
            shown = await queries.tenants(database, TenantFilter(state="missing", missing=some))
            return some, none, shown

    some, none, shown = asyncio.run(ask())
    assert sorted(some.tenants) == ["t1", "t2"]
    assert none.tenants == [], "what the ledger has is newer"
    assert ([row.tenant for row in shown.rows], shown.total) == (["t1", "t2"], 2)
